// Files that are large in one way each, so that what a reader allocates for one thing shows: fuzzers keep to small
// ones. With the address sanitizer the limits of live_bytes.h hold here too.
#include <cstdio>
#include <functional>
#include <string>
#include <vector>

#include "fuzz/gguf_subject.h"
#include "fuzz/machine_subject.h"
#include "fuzz/safetensors_subject.h"
#include "support/gguf_writer.h"

namespace terrace::fuzz {
namespace {

using test::GgufWriter;
using Strings = std::vector<std::string>;

void tokenizer(GgufWriter& w, const Strings& tokens, const Strings& merges, std::int32_t type = 1) {
  w.kv_string("tokenizer.ggml.model", "gpt2");
  w.kv_string("tokenizer.ggml.pre", "gpt-2");
  w.kv_strings("tokenizer.ggml.tokens", tokens);
  w.kv_i32s("tokenizer.ggml.token_type", std::vector<std::int32_t>(tokens.size(), type));
  w.kv_strings("tokenizer.ggml.merges", merges);
}

/// Letters that tell `n` from other numbers: as short as they can be.
std::string name(std::size_t n) {
  std::string s;
  do s += static_cast<char>('!' + n % 90);
  while ((n /= 90) != 0);
  return s;
}

Strings names(std::size_t n) {
  Strings s;
  for (std::size_t i = 0; i < n; ++i) s.push_back(name(i));
  return s;
}

const std::vector<std::function<void(GgufWriter&)>> kGguf = {
    [](GgufWriter& w) {
      for (std::size_t i = 0; i < 4096; ++i) w.kv_bool(name(i), true);
    },
    [](GgufWriter& w) {
      for (std::size_t i = 0; i < 100000; ++i) w.kv_bool(name(i), true);
    },
    [](GgufWriter& w) { w.set_counts(0, 4096), w.data_raw(std::vector<std::byte>(60000)); },
    [](GgufWriter& w) { w.set_counts(30000, 0), w.data_raw(std::vector<std::byte>(1000000)); },
    [](GgufWriter& w) {
      w.set_alignment(8), w.kv_u32("general.alignment", 8);
      for (std::size_t i = 0; i < 20000; ++i) w.tensor(name(i), {1}, test::kF32, std::vector<std::byte>(4));
    },
    [](GgufWriter& w) {
      for (int i = 0; i < 30; ++i) w.kv_string(name(static_cast<std::size_t>(i)), std::string(65536, 'x'));
    },
    [](GgufWriter& w) { w.kv_string(std::string(65535, 'k'), std::string(3000000, 'x')); },
    [](GgufWriter& w) { tokenizer(w, Strings(200000), {}); },
    [](GgufWriter& w) { tokenizer(w, names(100000), {}, 3); },
    [](GgufWriter& w) { tokenizer(w, Strings(100000, "</s>"), {}, 4); },
    [](GgufWriter& w) {
      tokenizer(w, {"a", "b", "ab"}, Strings(100000, "a b"));
    },
    [](GgufWriter& w) {
      tokenizer(w, {std::string(1000000, 'a'), "a", std::string(2000000, 'b')}, {});
    },
    [](GgufWriter& w) {
      tokenizer(w, {std::string(1000000, 'a'), "a"}, {}, 3);
    },
    [](GgufWriter& w) {
      const std::string half(500000, 'a');
      tokenizer(w, {"a", half, half + half}, {half + " " + half});
    },
    [](GgufWriter& w) {
      const std::string half(500000, 'a');
      tokenizer(w, {"a"}, {half + " " + half});
    },
    [](GgufWriter& w) {
      std::string t;
      while (t.size() < 65000) t += "<|im_start|>system\\n";
      w.kv_string("tokenizer.chat_template", t + "{<|im_end|>");
    },
};

std::string repeated(const std::string& s, std::size_t n) {
  std::string all;
  for (std::size_t i = 0; i < n; ++i) all += s;
  return all;
}

std::vector<std::string> machines() {
  const std::string head =
      "schema = 1\n[machine]\nname = \"m\"\n[source.S]\ncite = \"c\"\nstatus = \"vendor\"\n[[tier]]\nid = \"a\"\nkind "
      "= "
      "\"dram\"\ncapacity_bytes = 1\nread_Bps = 1\nsource = \"S\"\n";
  const std::string unit = "[[unit]]\nid=\"u\"\nkind=\"simd\"\nnear=\"a\"\nsource=\"S\"\n";
  std::string keys, rates, sections;
  for (std::size_t i = 0; i < 100000; ++i) keys += "a" + std::to_string(i) + "=1\n";
  for (std::size_t i = 0; i < 1024; ++i) rates += "[[unit.rate]]\nkernel=\"" + std::to_string(i) + "\"\npeak_ops=1\n";
  for (std::size_t i = 0; i < 60000; ++i) sections += "[source.s" + std::to_string(i) + "]\n";
  return {keys,
          sections,
          "a = [" + repeated("1,", 500000) + "]\n",
          "a = [" + repeated("[],", 300000) + "]\n",
          "a = [" + repeated("{},", 300000) + "]\n",
          "a = {" + repeated("a=1,", 200000) + "a=1}\n",
          "a = " + std::string(1000000, '[') + "\n",
          "a = " + repeated("{a=", 300000) + "\n",
          "a = \"" + repeated("\\n", 500000) + "\"\n",
          repeated("#\n", 500000),
          repeated("[[tier]]\n", 100000),
          head + repeated("[tier.energy]\n", 70000),
          head + unit + rates,
          head + unit + "rate = [" + repeated("{kernel=\"k\",peak_ops=1},", 40000) + "]\n",
          head + unit + repeated("[[unit.rate]]\nkernel=\"k\"\npeak_ops=1\n", 20000),
          head + "read_Bps_by_threads = [" + repeated("1,", 4096) + "]\n" + unit};
}

/// Headers of safetensors files; all tensors are empty.
std::vector<std::string> safetensors() {
  std::string tensors, short_keys, long_values;
  for (std::size_t i = 0; i < 40000; ++i) {
    const std::string quoted = (i ? ",\"" : "\"") + std::to_string(i) + "\"";
    tensors += quoted + ":{\"dtype\":\"F16\",\"shape\":[0],\"data_offsets\":[0,0]}";
    short_keys += quoted + ":\"\"";
    if (i < 30) long_values += quoted + ":\"" + std::string(100000, 'x') + "\"";
  }
  return {"{" + tensors + "}",
          "{\"__metadata__\":{" + short_keys + "}}",
          "{\"__metadata__\":{" + long_values + "}}",
          "{\"__metadata__\":{" + short_keys + "}," + tensors + "}",
          "{\"__metadata__\":{\"k\":\"" + repeated("\\u20ac", 300000) + "\"}}",
          "{\"" + std::string(3000000, 'k') + "\":{}}",
          "{" + std::string(3000000, ' ') + "}",
          "{}" + std::string(3000000, ' '),
          "{" + repeated("\"a\":", 500000),
          "{\"a\":{\"shape\":[" + repeated("1,", 500000) + "1]}}"};
}

}  // namespace
}  // namespace terrace::fuzz

int main() {
  using namespace terrace::fuzz;
  for (const auto& make : kGguf) {
    terrace::test::GgufWriter w;
    make(w);
    use_gguf(w.bytes(), "aaaa </s> !\" " + std::string(10000, 'a'));
  }
  for (const std::string& text : machines()) use_machine(text);
  for (const std::string& header : safetensors()) {
    terrace::test::ByteSink file;
    file.text(header);
    use_safetensors(file.bytes());
  }
  std::puts("large files: all within their limits");
}
