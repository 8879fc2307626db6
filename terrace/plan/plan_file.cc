// Plans as JSON. Every field is checked for type and range while reading: damage is Error(bad_file), never a crash.
#include "terrace/plan/plan_file.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "terrace/core/error.h"

namespace terrace {
namespace {

using Json = nlohmann::ordered_json;

Json index(u32 i) { return i == kNone ? Json() : Json(i); }

template <class T, class F>
Json list(const T& items, F&& item) {
  Json a = Json::array();
  for (const auto& x : items) a.push_back(item(x));
  return a;
}

Json placement(const Placement& p) {
  return {{"value", index(p.value)},
          {"rows", {p.row_begin, p.row_end}},
          {"tier", p.tier},
          {"offset", p.offset},
          {"bytes", p.bytes.count},
          {"birth", p.birth},
          {"death", p.death},
          {"body", index(p.body)},
          {"use", static_cast<int>(p.use)},
          {"owner", static_cast<int>(p.owner)},
          {"file", index(p.file)},
          {"pad", {p.pad_before, p.pad_after}}};
}

Json operand(const Operand& o) {
  return {o.value == kNone ? Json() : Json(o.value), o.placement, o.axis, o.begin, o.end};
}

Json step(const Plan& p, const Graph& g, const Body& b, u32 id) {
  const Step& s = b.steps[id];
  Json j{{"id", id}, {"kind", s.kind == StepKind::compute ? "compute" : s.gather ? "gather" : "move"}};
  j["op"] = s.node < g.nodes().size() ? Json(g.node(s.node).op->name) : Json();
  j["unit"] = s.kind == StepKind::compute ? Json(s.unit) : Json();
  j["kernel"] = s.kernel < p.kernels.size() ? Json(p.kernels[s.kernel]) : Json();
  j["lane"] = s.lane == Lane::compute ? "compute" : "io";
  j["reads"] = list(b.reads(s), operand);
  j["writes"] = list(b.writes(s), operand);
  j["after"] = list(b.after(s), [](const Edge& e) { return Json{e.kind == Edge::done ? "done" : "released", e.of}; });
  j["bytes"] = s.payload.count;
  j["seconds"] = s.seconds.value;
  j["link"] = s.link;
  j["workers"] = s.workers;
  j["node"] = index(s.node);
  j["scratch"] = index(s.scratch);
  j["block"] = index(s.block);
  return j;
}

Json body(const Plan& p, const Graph& g, const Body& b) {
  Json j{{"name", b.name}, {"once", b.once}};
  j["symbols"] = list(b.symbols, [](const Interval& i) { return Json{i.lo, i.hi}; });
  j["typical"] = b.typical;
  if (!b.goals.empty()) j["goals"] = b.goals;
  j["steps"] = Json::array();
  for (u32 i = 0; i < b.steps.size(); ++i) j["steps"].push_back(step(p, g, b, i));
  return j;
}

}  // namespace

std::string plan_to_json(const Plan& p, const Graph& g) {
  Json j{{"schema", 1}, {"kind", "plan"}, {"plan_machine", p.machine}, {"graph", p.graph_fingerprint}};
  j["smallest_budget_bytes"] = p.smallest_budget.count;
  j["tiers"] = p.tiers;
  j["budget"] = list(p.budget, [](const TierBudget& b) { return Json{{"tier", b.tier}, {"bytes", b.bytes.count}}; });
  j["reserves"] = list(p.reserves, [](const Reserve& r) {
    return Json{{"name", r.name}, {"tier", r.tier}, {"bytes", r.bytes.count}, {"source", r.source}};
  });
  j["arenas"] = list(p.arenas, [](const Arena& a) { return Json{{"tier", a.tier}, {"bytes", a.bytes.count}}; });
  j["files"] = list(p.files, [](const PlanFile& f) { return Json{{"path", f.path}, {"bytes", f.bytes.count}}; });
  j["kernels"] = p.kernels;
  j["workers"] = p.workers;
  j["io_depth"] = p.io_depth;
  j["granule"] = p.granule;
  j["core_cache_bytes"] = p.core_cache.count;
  j["placements"] = list(p.placements, placement);
  j["stream"] = list(p.stream, [](const StreamBlock& b) { return Json{b.from, b.to}; });
  j["bodies"] = list(p.bodies, [&](const Body& b) { return body(p, g, b); });
  return j.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
}

namespace {

/// A JSON value and where it stands, for messages.
class Reader {
 public:
  Reader(const Json& j, std::string where, std::string_view origin)
      : j_(j), where_(std::move(where)), origin_(origin) {}

  [[noreturn]] void fail(const std::string& what) const {
    throw Error(ErrorKind::bad_file, what, fmt::format("{}: {}", origin_, where_),
                "write the plan again with `terrace plan --out`");
  }
  Reader at(const char* key) const {
    if (!j_.is_object()) fail("is not an object");
    const auto it = j_.find(key);
    if (it == j_.end()) fail(fmt::format("lacks {}", key));
    return {*it, where_.empty() ? key : where_ + "." + key, origin_};
  }
  bool has(const char* key) const { return j_.is_object() && j_.contains(key); }
  /// An object with exactly these keys.
  const Reader& only(std::initializer_list<std::string_view> keys) const {
    if (!j_.is_object()) fail("is not an object");
    for (const auto& item : j_.items())
      if (std::find(keys.begin(), keys.end(), item.key()) == keys.end()) fail("has an unknown key " + item.key());
    return *this;
  }
  std::size_t size() const {
    if (!j_.is_array()) fail("is not a list");
    return j_.size();
  }
  Reader item(std::size_t i) const {
    if (i >= size()) fail("is too short");
    return {j_[i], fmt::format("{}[{}]", where_, i), origin_};
  }
  Reader pair(std::size_t i, std::size_t n = 2) const {
    if (size() != n) fail(fmt::format("needs {} entries", n));
    return item(i);
  }
  template <class F>
  void each(F&& f) const {
    for (std::size_t i = 0; i < size(); ++i) f(item(i));
  }

  u64 number(u64 max = ~u64{0} >> 1, u64 min = 0) const {
    if (!j_.is_number_unsigned()) fail("is not a whole number");
    const u64 n = j_.get<u64>();
    if (n > max || n < min) fail(fmt::format("{} is not in {}..{}", n, min, max));
    return n;
  }
  template <class T>
  T as(u64 max = static_cast<u64>(std::numeric_limits<T>::max())) const {
    return static_cast<T>(number(max));
  }
  u32 index() const { return j_.is_null() ? kNone : as<u32>(kNone - 1); }
  double seconds() const {
    if (!j_.is_number()) fail("is not a number");
    const double x = j_.get<double>();
    if (!std::isfinite(x) || x < 0) fail("is not a time");
    return x;
  }
  bool flag() const {
    if (!j_.is_boolean()) fail("is not true or false");
    return j_.get<bool>();
  }
  std::string text() const {
    if (!j_.is_string()) fail("is not a text");
    return j_.get<std::string>();
  }
  u32 one_of(std::initializer_list<std::string_view> names) const {
    const std::string t = text();
    const auto it = std::find(names.begin(), names.end(), t);
    if (it == names.end()) fail("is an unknown name: " + t);
    return static_cast<u32>(it - names.begin());
  }
  bool null() const { return j_.is_null(); }
  std::int8_t axis() const {
    if (j_.is_number_integer() && !j_.is_number_unsigned() && j_.get<i64>() == -1) return -1;
    return as<std::int8_t>(kMaxRank - 1);
  }

 private:
  const Json& j_;
  std::string where_;
  std::string_view origin_;
};

Bytes bytes(const Reader& n) { return Bytes{n.number()}; }

Placement read_placement(const Reader& n) {
  n.only({"value", "rows", "tier", "offset", "bytes", "birth", "death", "body", "use", "owner", "file", "pad"});
  Placement p;
  p.value = n.at("value").index();
  p.row_begin = n.at("rows").pair(0).as<i64>();
  p.row_end = n.at("rows").pair(1).as<i64>();
  p.tier = n.at("tier").as<TierId>();
  p.offset = n.at("offset").number();
  p.bytes = bytes(n.at("bytes"));
  p.birth = n.at("birth").as<u32>();
  p.death = n.at("death").as<u32>();
  p.body = n.at("body").index();
  p.use = static_cast<Use>(n.at("use").number(kUses - 1));
  p.owner = static_cast<Owner>(n.at("owner").number(1));
  p.file = n.at("file").index();
  p.pad_before = n.at("pad").pair(0).as<u32>();
  p.pad_after = n.at("pad").pair(1).as<u32>();
  return p;
}

std::uint16_t read_operands(const Reader& n, Body& b) {
  n.each([&](const Reader& o) {
    b.operands.push_back(
        {o.pair(0, 5).index(), o.item(1).as<u32>(), o.item(3).as<i64>(), o.item(4).as<i64>(), o.item(2).axis()});
  });
  if (n.size() > kMaxOperands) n.fail("has too many operands");
  return static_cast<std::uint16_t>(n.size());
}

Step read_step(const Reader& n, const Plan& p, Body& b) {
  n.only({"id", "kind", "op", "unit", "kernel", "lane", "reads", "writes", "after", "bytes", "seconds", "link",
          "workers", "node", "scratch", "block"});
  if (n.at("id").number() != b.steps.size()) n.fail("is out of order");
  Step s;
  const u32 kind = n.at("kind").one_of({"compute", "move", "gather"});
  s.kind = kind == 0 ? StepKind::compute : StepKind::move;
  s.gather = kind == 2;
  s.lane = n.at("lane").one_of({"compute", "io"}) == 0 ? Lane::compute : Lane::io;
  if (!n.at("op").null()) n.at("op").text();
  if (kind == 0) s.unit = n.at("unit").as<UnitId>();
  if (!n.at("kernel").null()) {
    const std::string name = n.at("kernel").text();
    const auto it = std::find(p.kernels.begin(), p.kernels.end(), name);
    if (it == p.kernels.end()) n.fail("names a kernel that the plan does not list: " + name);
    s.kernel = static_cast<u32>(it - p.kernels.begin());
  }
  s.first_operand = static_cast<u32>(b.operands.size());
  s.n_reads = read_operands(n.at("reads"), b);
  s.n_writes = read_operands(n.at("writes"), b);
  s.first_edge = static_cast<u32>(b.edges.size());
  if (n.at("after").size() > 0xffff) n.fail("waits for too many steps");
  n.at("after").each([&](const Reader& e) {
    b.edges.push_back({e.pair(0).one_of({"done", "released"}) == 0 ? Edge::done : Edge::released, e.item(1).as<u32>()});
  });
  s.n_edges = static_cast<std::uint16_t>(n.at("after").size());
  s.payload = bytes(n.at("bytes"));
  s.seconds = Seconds{n.at("seconds").seconds()};
  s.link = n.at("link").as<LinkId>();
  s.workers = static_cast<std::uint16_t>(n.at("workers").number(1024, 1));
  s.node = n.at("node").index();
  s.scratch = n.at("scratch").index();
  s.block = n.at("block").index();
  return s;
}

Body read_body(const Reader& n, const Plan& p) {
  n.only({"name", "once", "symbols", "typical", "goals", "steps"});
  Body b;
  b.name = n.at("name").text();
  b.once = n.at("once").flag();
  n.at("symbols").each([&](const Reader& i) { b.symbols.push_back({i.pair(0).as<i64>(), i.item(1).as<i64>()}); });
  n.at("typical").each([&](const Reader& i) { b.typical.push_back(i.as<i64>()); });
  if (n.has("goals")) n.at("goals").each([&](const Reader& i) { b.goals.push_back(i.as<ValueId>()); });
  b.steps.reserve(n.at("steps").size());
  n.at("steps").each([&](const Reader& s) { b.steps.push_back(read_step(s, p, b)); });
  return b;
}

/// Nesting is bounded before anything is built, so that a crafted text cannot exhaust the stack.
bool too_deep(std::string_view text) {
  int depth = 0;
  bool quoted = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (quoted) {
      if (c == '\\')
        ++i;
      else
        quoted = c != '"';
    } else if (c == '"')
      quoted = true;
    else if ((c == '[' || c == '{') && ++depth > 32)
      return true;
    else if (c == ']' || c == '}')
      --depth;
  }
  return false;
}

}  // namespace

Plan plan_from_json(std::string_view text, std::string_view origin) {
  const Json j = too_deep(text) ? Json(Json::value_t::discarded) : Json::parse(text, nullptr, false);
  const Reader n(j, "", origin);
  if (j.is_discarded()) n.fail("is not JSON");
  if (n.at("schema").number() != 1 || n.at("kind").text() != "plan") n.fail("is not a plan of schema 1");
  Plan p;
  p.machine = n.at("plan_machine").text();
  p.graph_fingerprint = n.at("graph").number(~u64{0});
  p.smallest_budget = bytes(n.at("smallest_budget_bytes"));
  n.at("tiers").each([&](const Reader& t) { p.tiers.push_back(t.text()); });
  if (p.tiers.empty() || p.tiers.size() > 8) n.fail("needs one to eight tiers");
  n.at("budget").each([&](const Reader& b) {
    p.budget.push_back({b.only({"tier", "bytes"}).at("tier").as<TierId>(), bytes(b.at("bytes"))});
  });
  n.at("reserves").each([&](const Reader& r) {
    r.only({"name", "tier", "bytes", "source"});
    p.reserves.push_back({r.at("name").text(), r.at("tier").as<TierId>(), bytes(r.at("bytes")), r.at("source").text()});
  });
  n.at("arenas").each([&](const Reader& a) {
    p.arenas.push_back({a.only({"tier", "bytes"}).at("tier").as<TierId>(), bytes(a.at("bytes"))});
  });
  n.at("files").each([&](const Reader& f) {
    p.files.push_back({f.only({"path", "bytes"}).at("path").text(), bytes(f.at("bytes"))});
  });
  n.at("kernels").each([&](const Reader& k) { p.kernels.push_back(k.text()); });
  p.workers = static_cast<int>(n.at("workers").number(1024, 1));
  p.io_depth = static_cast<int>(n.at("io_depth").number(1024, 1));
  p.granule = static_cast<u32>(n.at("granule").number(1 << 24, 1));
  p.core_cache = bytes(n.at("core_cache_bytes"));
  n.at("placements").each([&](const Reader& x) { p.placements.push_back(read_placement(x)); });
  n.at("stream").each([&](const Reader& b) { p.stream.push_back({b.pair(0).as<u32>(), b.item(1).as<u32>()}); });
  n.at("bodies").each([&](const Reader& b) { p.bodies.push_back(read_body(b, p)); });
  return p;
}

}  // namespace terrace
