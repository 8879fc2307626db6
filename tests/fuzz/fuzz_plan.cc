// Any text as a plan: an Error, or a plan that can be verified; and one that passes is carried out, with the right
// bits.
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "fuzz/plan_subject.h"
#include "terrace/core/error.h"
#include "terrace/plan/plan_file.h"
#include "terrace/plan/verify.h"
#include "terrace/run/host_engine.h"

namespace {

using namespace terrace;

struct Subject : testing::PlanSubject {
  std::string path;  ///< of a file in memory with the weights
  std::vector<float> outputs;

  Subject() {
    std::vector<std::byte> bytes(by_hand.files[0].bytes.count);
    for (const Placement& w : weights) {
      const auto one = testing::random_weight(hand.graph.value(w.value).spec, w.value);
      std::copy(one.begin(), one.end(), bytes.begin() + static_cast<std::ptrdiff_t>(w.offset));
    }
    const int fd = ::memfd_create("fuzz_plan", MFD_CLOEXEC);
    if (fd < 0 || ::write(fd, bytes.data(), bytes.size()) != static_cast<ssize_t>(bytes.size())) std::abort();
    path = "/proc/self/fd/" + std::to_string(fd);
    outputs = run(by_hand);
    if (outputs.empty()) std::abort();
  }

  bool sound(const Plan& p) const { return verify(hand.graph, machine, p, weights).empty(); }

  /// The output after a prompt and after two single tokens; nothing if the plan has no body for one of them.
  std::vector<float> run(Plan p) const {
    for (PlanFile& f : p.files) f.path = path;  // no other file is opened, whatever the plan says
    HostOptions o;
    o.direct = false;
    o.io = IoMode::pread;
    HostEngine e(hand.graph, p, kernels, o);
    for (u32 b = 0; b < p.bodies.size(); ++b)
      if (p.bodies[b].once) e.run(b, {});
    std::vector<float> all;
    const i32 ids[] = {3, 15, 0, 7, 7};
    const i64 steps[][2] = {{3, 0}, {1, 3}, {1, 4}};  // n, pos
    for (const auto& symbols : steps) {
      const u32 b = p.body_for(symbols);
      if (b == kNone) return {};
      const InputBinding in{hand.ids, std::as_bytes(std::span(ids).subspan(static_cast<std::size_t>(symbols[1]),
                                                                           static_cast<std::size_t>(symbols[0])))};
      e.run(b, Bindings{symbols, {&in, 1}});
      const auto* f = reinterpret_cast<const float*>(e.output(hand.o).data);
      all.insert(all.end(), f, f + symbols[0] * 64);
    }
    return all;
  }
};

const Subject& subject() {
  static const Subject s;
  return s;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const Subject& s = subject();
  Plan plan;
  try {
    plan = plan_from_json({reinterpret_cast<const char*>(data), size}, "fuzz");
  } catch (const Error& e) {
    if (e.kind() != ErrorKind::bad_file) std::abort();
    return 0;
  }
  if (!s.sound(plan)) return 0;
  to_text(plan, s.hand.graph, true);
  std::vector<float> outputs;
  try {
    outputs = s.run(plan);
  } catch (const Error&) {
    return 0;  // an engine need not be able to carry out every sound plan
  }
  if (!outputs.empty() && std::memcmp(outputs.data(), s.outputs.data(), outputs.size() * sizeof(float)) != 0)
    std::abort();  // verified, and yet wrong
  return 0;
}

/// Changes a number or moves one from elsewhere, or takes a list's item away: changed bytes alone rarely leave JSON.
extern "C" std::size_t LLVMFuzzerCustomMutator(std::uint8_t* data, std::size_t size, std::size_t most, unsigned seed) {
  std::mt19937 random(seed);
  std::string text(reinterpret_cast<const char*>(data), size);
  const auto digit = [&](std::size_t i) { return text[i] >= '0' && text[i] <= '9'; };
  std::vector<std::pair<std::size_t, std::size_t>> numbers, lists;  // begin, length; innermost lists
  for (std::size_t i = 0, open = 0; i < text.size(); ++i) {
    if (text[i] == '[') open = i + 1;
    if (text[i] == ']' && open) lists.emplace_back(open, i - open), open = 0;
    if (!digit(i) || (i > 0 && (digit(i - 1) || text[i - 1] == '.'))) continue;
    std::size_t end = i;
    while (end < text.size() && digit(end)) ++end;
    numbers.emplace_back(i, end - i);
  }
  if (numbers.empty() || lists.empty()) return size;
  const auto [at, length] = numbers[random() % numbers.size()];
  const auto [from, other] = numbers[random() % numbers.size()];
  const auto [list, list_length] = lists[random() % lists.size()];
  const std::string old = text.substr(at, length);
  constexpr const char* kEdges[] = {"null", "0",     "1",          "2",          "4",  "63",
                                    "512",  "65535", "2147483647", "4294967295", "-1", "18446744073709551615"};
  const std::uint64_t value = length < 19 ? std::strtoull(old.c_str(), nullptr, 10) : 0;
  constexpr std::uint64_t kSteps[] = {1, 4, 64, 256, 512, 4096};
  const std::uint64_t step = kSteps[random() % std::size(kSteps)];
  switch (random() % 6) {
    case 0: text.replace(at, length, kEdges[random() % std::size(kEdges)]); break;
    case 1: text.replace(at, length, text.substr(from, other)); break;
    case 2: text.replace(at, length, std::to_string(value + step)); break;
    case 3: text.replace(at, length, std::to_string(value > step ? value - step : value + 1)); break;
    case 4: text.erase(list, list_length); break;
    default: text.replace(list, list_length, text.substr(lists[random() % lists.size()].first, list_length)); break;
  }
  const std::size_t n = std::min(most, text.size());
  std::memcpy(data, text.data(), n);
  return n;
}
