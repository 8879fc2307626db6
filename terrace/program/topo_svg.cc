// The same picture as topo_text, as SVG: nested rounded boxes, the hotter the nearer to the units.
#include <algorithm>

#include "terrace/core/utf8.h"
#include "terrace/program/topo.h"
#include "terrace/program/topo_parts.h"

namespace terrace {
namespace {

using namespace topo;

constexpr int kWidth = 760, kMargin = 24, kLine = 26, kGap = 46, kInset = 18;

std::string facts(const Tier& t) {
  std::string s = bytes_text(t.capacity.count);
  if (t.instances > 1) s = fmt::format("{} x {}", t.instances, s);
  if (t.read.value > 0) s += fmt::format(", read {}", rate_text(t.read.value));
  if (t.write.value > 0) s += fmt::format(", write {}", rate_text(t.write.value));
  if (t.latency.value > 0) s += ", " + time_text(t.latency.value);
  return s;
}

std::string facts(const Unit& u) {
  double peak = 0;
  for (const UnitRate& r : u.rates) peak = std::max(peak, r.peak.value);
  return fmt::format("{} thread{}, up to {}", u.threads, u.threads == 1 ? "" : "s", ops_text(peak));
}

/// A box with a title at the left and facts at the right of its first line.
struct Frame {
  std::string title, text, fill, stroke;
  std::vector<Frame> inner;
  int height() const {
    int h = kLine + 14;
    for (const Frame& f : inner) h += f.height() + 10;
    return h;
  }
};

void draw(const Frame& f, int x, int y, int width, std::string& out) {
  out += fmt::format("<rect x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\" rx=\"9\" fill=\"{}\" stroke=\"{}\"/>\n", x, y,
                     width, f.height(), f.fill, f.stroke);
  out += fmt::format("<text x=\"{}\" y=\"{}\" class=\"t\">{}</text>\n", x + 14, y + 25, for_xml(f.title));
  out += fmt::format("<text x=\"{}\" y=\"{}\" class=\"f\">{}</text>\n", x + width - 14, y + 25, for_xml(f.text));
  int at = y + kLine + 12;
  for (const Frame& i : f.inner) {
    draw(i, x + kInset, at, width - 2 * kInset, out);
    at += i.height() + 10;
  }
}

Frame frame_of(const Machine& m, TierId id) {
  const Tier& t = m.tier(id);
  Frame box{fmt::format("{} ({}{})", t.id, t.kind, t.persistent ? ", files" : ""),
            facts(t),
            t.persistent ? "#eef1f4" : "#e8f1fb",
            t.persistent ? "#8b98a5" : "#3b78b8",
            {}};
  std::vector<Frame> content;
  for (const Unit& u : m.units)
    if (u.near == id) content.push_back({fmt::format("{} ({})", u.id, u.kind), facts(u), "#ffe3c7", "#c8691c", {}});
  if (!content.empty() && m.units[0].near == id) {
    std::vector<const Tier*> caches;
    for (const Tier& c : m.tiers)
      if (c.hardware) caches.push_back(&c);
    std::stable_sort(caches.begin(), caches.end(), [](auto* a, auto* b) { return a->capacity < b->capacity; });
    for (const Tier* c : caches) content = {Frame{c->id, facts(*c), "#fff6dd", "#c9a227", std::move(content)}};
  }
  box.inner = std::move(content);
  return box;
}

}  // namespace

std::string topo_svg(const Machine& m) {
  std::vector<TierId> order;
  for (std::size_t i = 0; i < m.tiers.size(); ++i)
    if (!m.tiers[i].hardware) order.push_back(static_cast<TierId>(i));
  const auto rank = [&](TierId t) {
    const bool unit = std::any_of(m.units.begin(), m.units.end(), [&](const Unit& u) { return u.near == t; });
    return m.tiers[t].persistent ? 2 : unit ? 0 : 1;
  };
  std::stable_sort(order.begin(), order.end(), [&](TierId a, TierId b) { return rank(a) < rank(b); });

  std::string body;
  int y = 64;
  for (std::size_t i = 0; i < order.size(); ++i) {
    const Frame f = frame_of(m, order[i]);
    draw(f, kMargin, y, kWidth - 2 * kMargin, body);
    y += f.height();
    if (i + 1 == order.size()) break;
    const TierId next = order[i + 1];
    const int top = y;
    for (const Link& l : m.links) {
      const TierId other = l.from == next ? l.to : l.to == next ? l.from : kNoTier;
      const auto at = std::find(order.begin(), order.end(), other);
      if (other == kNoTier || at > order.begin() + static_cast<std::ptrdiff_t>(i)) continue;
      const int row = y + kGap / 2 + 5;
      std::string text = fmt::format("{} to {}: {}", m.tier(l.from).id, m.tier(l.to).id, rate_text(l.rate.value));
      if (l.latency.value > 0) text += ", " + time_text(l.latency.value);
      const bool up = l.from == next;
      body += fmt::format("<path d=\"M{} {} v{}\" class=\"a\" marker-end=\"url(#h)\"/>\n", kMargin + 40,
                          up ? y + kGap - 6 : y + 6, up ? 12 - kGap : kGap - 12);
      body += fmt::format("<text x=\"{}\" y=\"{}\" class=\"l\">{}</text>\n", kMargin + 62, row, for_xml(text));
      y += kGap;
    }
    if (y == top) y += kGap / 2;
  }
  return fmt::format(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {0} {1}\" width=\"{0}\" height=\"{1}\" "
      "font-family=\"Helvetica, Arial, 'DejaVu Sans', sans-serif\">\n"
      "<style>.t{{font-size:15px;font-weight:bold;fill:#1d2733}}.f{{font-size:13px;fill:#3c4a58;text-anchor:end}}"
      ".l{{font-size:13px;fill:#1d2733}}.a{{stroke:#1d2733;stroke-width:2;fill:none}}</style>\n"
      "<defs><marker id=\"h\" markerWidth=\"8\" markerHeight=\"8\" refX=\"5\" refY=\"4\" orient=\"auto\">"
      "<path d=\"M0 0 L8 4 L0 8 z\" fill=\"#1d2733\"/></marker></defs>\n"
      "<rect width=\"{0}\" height=\"{1}\" fill=\"#ffffff\"/>\n"
      "<text x=\"{2}\" y=\"40\" font-size=\"16\" font-weight=\"bold\" fill=\"#1d2733\">{3}</text>\n{4}</svg>\n",
      kWidth, y + kMargin, kMargin,
      for_xml(m.processor.empty() ? m.name : fmt::format("{}: {}", m.name, m.processor.substr(0, 60))), body);
}

}  // namespace terrace
