#include "terrace/program/topo.h"

#include <algorithm>

#include "terrace/program/topo_parts.h"

namespace terrace {
namespace topo {

namespace {
/// Three significant digits with a unit out of `names`, each `step` times the one before.
template <std::size_t N>
std::string scaled(double v, const char* const (&names)[N], double step) {
  std::size_t i = 0;
  for (; i + 1 < N && v >= step * 0.9995; ++i) v /= step;
  return fmt::format("{:.{}f} {}", v, v >= 99.95 || v == static_cast<double>(static_cast<i64>(v)) ? 0 : 1, names[i]);
}
}  // namespace

std::string bytes_text(u64 bytes) {
  static constexpr const char* kNames[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
  return scaled(static_cast<double>(bytes), kNames, 1024);
}
std::string rate_text(double v) {
  static constexpr const char* kNames[] = {"B/s", "kB/s", "MB/s", "GB/s", "TB/s"};
  return scaled(v, kNames, 1000);
}
std::string time_text(double seconds) {
  static constexpr const char* kNames[] = {"ns", "us", "ms", "s"};
  return scaled(seconds * 1e9, kNames, 1000);
}
std::string ops_text(double v) {
  static constexpr const char* kNames[] = {"op/s", "kop/s", "Mop/s", "Gop/s", "Top/s"};
  return scaled(v, kNames, 1000);
}

}  // namespace topo

namespace {

using namespace topo;

constexpr std::size_t kWidth = 76;

/// The best figure of a unit in arithmetic: what it is worth at most.
double best_peak(const Unit& u) {
  double best = 0;
  for (const UnitRate& r : u.rates) best = std::max(best, r.peak.value);
  return best;
}

/// Printable ASCII, cut to `n` characters.
std::string plain(std::string s, std::size_t n) {
  for (char& c : s)
    if (static_cast<unsigned char>(c) < 0x20 || static_cast<unsigned char>(c) >= 0x7f) c = '?';
  if (s.size() > n) s = s.substr(0, n - 2) + "..";
  return s;
}

std::string tier_facts(const Tier& t) {
  std::string s = bytes_text(t.capacity.count);
  if (t.instances > 1) s = fmt::format("{} x {}", t.instances, s);
  if (t.read.value > 0) s += "   read " + rate_text(t.read.value);
  if (t.write.value > 0) s += "   write " + rate_text(t.write.value);
  if (t.latency.value > 0) s += "   " + time_text(t.latency.value);
  return s;
}

std::string unit_facts(const Unit& u) {
  std::string s = fmt::format("{} thread{}", u.threads, u.threads == 1 ? "" : "s");
  if (const double p = best_peak(u); p > 0) s += "   up to " + ops_text(p);
  if (u.step_overhead.value > 0) s += "   " + time_text(u.step_overhead.value) + " a step";
  return s;
}

/// Lines of text in a box of `width` columns, borders included.
class Box {
 public:
  explicit Box(std::size_t width) : width_(width) {}
  void line(const std::string& s = {}) { body_.push_back(plain(s, width_ - 4)); }
  void row(const std::string& left, const std::string& right) {
    const std::size_t room = width_ - 4;
    if (left.size() + 2 + right.size() > room) {
      line(left);
      line("    " + right);
      return;
    }
    line(left + std::string(room - left.size() - right.size(), ' ') + right);
  }
  void put(const Box& inner) {
    for (const std::string& s : inner.lines()) body_.push_back(s);
  }
  std::vector<std::string> lines() const {
    std::vector<std::string> out{edge()};
    for (const std::string& s : body_) out.push_back("| " + s + std::string(width_ - 4 - s.size(), ' ') + " |");
    out.push_back(edge());
    return out;
  }

 private:
  std::string edge() const { return "+" + std::string(width_ - 2, '-') + "+"; }
  std::size_t width_;
  std::vector<std::string> body_;
};

/// Units of a tier and the caches between: the innermost box holds the units.
Box near_box(const Machine& m, TierId near, const std::vector<const Tier*>& caches, std::size_t width) {
  if (caches.empty()) {
    Box units(width);
    for (const Unit& u : m.units)
      if (u.near == near) units.row(fmt::format("{} ({})", u.id, u.kind), unit_facts(u));
    return units;
  }
  Box box(width);
  box.row(caches.front()->id, tier_facts(*caches.front()));
  box.put(near_box(m, near, {caches.begin() + 1, caches.end()}, width - 4));
  return box;
}

bool has_unit(const Machine& m, TierId t) {
  return std::any_of(m.units.begin(), m.units.end(), [&](const Unit& u) { return u.near == t; });
}

/// Caches, the one nearest to memory first; only unit 0's tier shows them.
std::vector<const Tier*> cache_list(const Machine& m) {
  std::vector<const Tier*> out;
  for (const Tier& t : m.tiers)
    if (t.hardware) out.push_back(&t);
  std::stable_sort(out.begin(), out.end(), [](const Tier* a, const Tier* b) { return a->capacity > b->capacity; });
  return out;
}

Box tier_box(const Machine& m, TierId id) {
  const Tier& t = m.tier(id);
  Box box(kWidth);
  box.row(fmt::format("{} ({}{})", t.id, t.kind, t.persistent ? ", files" : ""), tier_facts(t));
  if (has_unit(m, id)) {
    const auto caches = !m.units.empty() && m.units[0].near == id ? cache_list(m) : std::vector<const Tier*>{};
    box.put(near_box(m, id, caches, kWidth - 4));
  }
  return box;
}

/// Tiers from the units outwards: main memory, other volatile tiers, files.
std::vector<TierId> tier_order(const Machine& m) {
  std::vector<TierId> order;
  for (std::size_t i = 0; i < m.tiers.size(); ++i)
    if (!m.tiers[i].hardware) order.push_back(static_cast<TierId>(i));
  const auto rank = [&](TierId t) { return m.tiers[t].persistent ? 2 : has_unit(m, t) ? 0 : 1; };
  std::stable_sort(order.begin(), order.end(), [&](TierId a, TierId b) { return rank(a) < rank(b); });
  return order;
}

std::string link_facts(const Machine& m, const Link& l) {
  std::string s = fmt::format("{} -> {}  {}", m.tier(l.from).id, m.tier(l.to).id, rate_text(l.rate.value));
  if (l.latency.value > 0) s += "  " + time_text(l.latency.value);
  return s;
}

}  // namespace

std::string topo_text(const Machine& m, std::string_view tree) {
  std::string out = plain(m.name, 60);
  if (!m.processor.empty()) out += ": " + plain(m.processor, 90);
  out += '\n';
  const auto order = tier_order(m);
  for (std::size_t i = 0; i < order.size(); ++i) {
    for (const std::string& s : tier_box(m, order[i]).lines()) out += s + '\n';
    // Every link is drawn once: above the outer one of its two tiers.
    if (i + 1 == order.size()) break;
    const TierId next = order[i + 1];
    for (const Link& l : m.links) {
      const TierId other = l.from == next ? l.to : l.to == next ? l.from : kNoTier;
      const auto at = std::find(order.begin(), order.end(), other);
      if (other == kNoTier || at > order.begin() + static_cast<std::ptrdiff_t>(i)) continue;
      out += fmt::format("      {}  {}\n", l.from == next ? "^" : "v", link_facts(m, l));
    }
  }
  if (const std::string t = tree_text(tree); !t.empty()) out += "\n" + t;
  return out;
}

}  // namespace terrace
