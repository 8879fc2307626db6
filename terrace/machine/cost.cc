#include "terrace/machine/cost.h"

#include <fmt/format.h>
#include <algorithm>
#include <cmath>

#include "terrace/core/error.h"

namespace terrace {
namespace {

constexpr double kBitsPerByte = 8;

/// The entries of `unit` named `name`: the nearest one at or below `threads`, and the nearest one at or above.
struct Bracket {
  const UnitRate *below = nullptr, *above = nullptr;
  explicit operator bool() const { return below || above; }
};

Bracket bracket(const Unit& unit, std::string_view name, int threads) {
  Bracket b;
  for (const UnitRate& r : unit.rates) {
    if (r.kernel != name) continue;
    if (r.threads <= threads && (!b.below || r.threads > b.below->threads)) b.below = &r;
    if (r.threads >= threads && (!b.above || r.threads < b.above->threads)) b.above = &r;
  }
  return b;
}

/// `get` of the rates around `threads`: linear between two, never more than measured beyond the last,
/// in proportion below the first. Zero in either means that the file does not say.
template <class Get>
double at_threads(const Bracket& b, int threads, Get get) {
  if (!b.above) return get(*b.below);
  const double hi = get(*b.above);
  if (b.above->threads == threads) return hi;
  if (!b.below) return hi * threads / b.above->threads;
  const double lo = get(*b.below);
  if (lo <= 0 || hi <= 0) return 0;
  return lo + (hi - lo) * (threads - b.below->threads) / (b.above->threads - b.below->threads);
}

Bracket find_rate(const Machine& m, const Unit& unit, const Work& w) {
  for (std::string_view name : {w.kernel, w.op, w.op_class})
    if (Bracket b = bracket(unit, name, w.threads)) return b;
  if (unit.rates.empty())
    throw Error(ErrorKind::bad_file, fmt::format("unit '{}' has no rate", unit.id), "machine " + m.name,
                fmt::format("add a [[unit.rate]] with kernel = \"{}\"", w.op_class.empty() ? w.op : w.op_class));
  return bracket(unit, unit.rates.front().kernel, w.threads);
}

double log_position(double x, double lo, double hi) { return std::log(x / lo) / std::log(hi / lo); }

/// Rate at `block` among the entries of one depth; between two, rate and block both in the logarithm; flat outside.
double rate_at_depth(const Link& link, int depth, double block) {
  const LinkRate *below = nullptr, *above = nullptr;
  for (const LinkRate& r : link.rates) {
    if (r.depth != depth) continue;
    const auto size = static_cast<double>(r.block.count);
    if (size <= block && (!below || r.block > below->block)) below = &r;
    if (size >= block && (!above || r.block < above->block)) above = &r;
  }
  if (!below) return above->rate.value;
  if (!above || below->block == above->block) return below->rate.value;
  const auto lo = static_cast<double>(below->block.count), hi = static_cast<double>(above->block.count);
  // Geometric: as long as a larger block takes longer in the table, it does in between.
  return below->rate.value * std::pow(above->rate.value / below->rate.value, log_position(block, lo, hi));
}

std::optional<double> energy(double bytes, const std::optional<double>& pj_per_bit) {
  if (bytes <= 0) return 0.0;
  if (!pj_per_bit) return std::nullopt;
  return bytes * kBitsPerByte * *pj_per_bit * 1e-12;
}

}  // namespace

Seconds compute_seconds(const Machine& m, UnitId id, const Work& w) {
  const Unit& unit = m.units.at(id);
  const Bracket b = find_rate(m, unit, w);
  const double peak = at_threads(b, w.threads, [&](const UnitRate& r) {
    return w.single_row && r.vector_peak.value > 0 ? r.vector_peak.value : r.peak.value;
  });
  double stream = at_threads(b, w.threads, [](const UnitRate& r) { return r.stream.value; });
  if (stream <= 0) stream = tier_read_rate(m, unit.near, w.threads).value;
  const auto bytes = static_cast<double>((w.read + w.written).count);
  const double arithmetic = w.flops > 0 ? w.flops / peak : 0;
  const double traffic = bytes > 0 ? bytes / stream : 0;
  const double seconds = std::max(arithmetic, traffic);
  if (!std::isfinite(seconds))
    throw Error(ErrorKind::bad_file, fmt::format("unit '{}' has no usable rate for '{}'", unit.id, w.kernel),
                "machine " + m.name, "give peak_ops and the near tier's read_Bps");
  return unit.step_overhead + Seconds{seconds};
}

Seconds move_seconds(const Machine& m, LinkId link, Bytes bytes, int depth) {
  if (bytes.count == 0) return Seconds{};
  return bytes / link_rate(m, link, bytes, depth);
}

BytesPerSecond link_rate(const Machine& m, LinkId id, Bytes block, int depth) {
  const Link& link = m.links.at(id);
  if (link.rates.empty()) return link.rate;
  int below = 0, above = 0;  // measured depths around `depth`
  for (const LinkRate& r : link.rates) {
    if (r.depth <= depth && r.depth > below) below = r.depth;
    if (r.depth >= depth && (above == 0 || r.depth < above)) above = r.depth;
  }
  const auto size = static_cast<double>(std::max<u64>(block.count, 1));
  if (below == 0) return BytesPerSecond{rate_at_depth(link, above, size)};
  const double lo = rate_at_depth(link, below, size);
  if (above == 0 || above == below) return BytesPerSecond{lo};
  return BytesPerSecond{lo + log_position(depth, below, above) * (rate_at_depth(link, above, size) - lo)};
}

BytesPerSecond tier_read_rate(const Machine& m, TierId id, int threads) {
  const Tier& tier = m.tiers.at(id);
  const auto& by = tier.read_Bps_by_threads;
  if (by.empty() || threads < 1) return tier.read;
  return BytesPerSecond{by[std::min(static_cast<std::size_t>(threads), by.size()) - 1]};
}

std::optional<double> access_joules(const Machine& m, TierId id, Bytes read, Bytes written) {
  const AccessEnergy& e = m.tiers.at(id).energy;
  const auto r = energy(static_cast<double>(read.count), e.read_pj_per_bit);
  const auto w = energy(static_cast<double>(written.count), e.write_pj_per_bit);
  if (!r || !w) return std::nullopt;
  return *r + *w;
}

std::optional<double> link_joules(const Machine& m, LinkId id, Bytes bytes) {
  return energy(static_cast<double>(bytes.count), m.links.at(id).pj_per_bit);
}

std::optional<double> compute_joules(const Machine& m, UnitId id, const Work& w) {
  if (w.flops <= 0) return 0.0;
  const Bracket b = find_rate(m, m.units.at(id), w);
  const UnitRate& r = b.above ? *b.above : *b.below;
  if (!r.pj_per_op) return std::nullopt;
  return w.flops * *r.pj_per_op * 1e-12;
}

Bytes transferred_bytes(const Machine& m, TierId id, u64 offset, Bytes bytes) {
  if (bytes.count == 0) return Bytes{};
  const u64 granule = std::max<u64>(m.tiers.at(id).granule.count, 1);
  return Bytes{round_up(offset + bytes.count, granule) - round_down(offset, granule)};
}

}  // namespace terrace
