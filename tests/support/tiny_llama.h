// A small random model of the llama architecture as a GGUF file, with a real vocabulary.
#pragma once

#include <algorithm>
#include <fstream>
#include <string>
#include <utility>
#include <vector>

#include "support/gguf_writer.h"
#include "support/random_graph.h"
#include "terrace/io/gguf.h"

namespace terrace::testing {

struct TinyLlama {
  i64 layers = 2, width = 64, ffn = 160, heads = 2, kv_heads = 1, context = 256;
  bool tied = true;
  u64 seed = 1;
  /// Of the matrices of the layers, taken in turn; the embedding has the first.
  std::vector<test::GgmlType> types = {test::kQ8_0, test::kQ4_0, test::kQ4_1, test::kF16, test::kF32};
  std::string architecture = "llama";
  std::uint32_t odd_type = 0;  ///< of the first matrix, if not 0: one that is not supported
};

inline TensorSpec spec_of(test::GgmlType type, i64 rows, i64 columns) {
  TensorSpec s{DType::f32, Layout::dense, {Dim(rows), Dim(columns)}};
  if (type == test::kF16) s.dtype = DType::f16;
  if (type == test::kQ8_0) s.layout = Layout::q8_0;
  if (type == test::kQ4_0) s.layout = Layout::q4_0;
  if (type == test::kQ4_1) s.layout = Layout::q4_1;
  return s;
}

/// Copies all keys of a GGUF file that begin with "tokenizer.".
inline void copy_vocabulary(test::GgufWriter& to, const std::string& from) {
  const io::GgufFile file(from);
  std::ifstream in(from, std::ios::binary);
  for (const io::GgufEntry& e : file.entries()) {
    if (!e.key.starts_with("tokenizer.")) continue;
    std::vector<std::byte> bytes(e.bytes);
    in.seekg(static_cast<std::streamoff>(e.offset));
    in.read(reinterpret_cast<char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
    test::ByteSink value;
    if (e.type == io::GgufType::string) value.put<std::uint64_t>(e.bytes);
    if (e.type == io::GgufType::array) value.put(static_cast<std::uint32_t>(e.element)).put<std::uint64_t>(e.count);
    value.raw(bytes);
    to.kv_raw(e.key, static_cast<std::uint32_t>(e.type), value.bytes());  // the enumerators have GGUF's numbers
  }
}

/// The same bytes for the same arguments everywhere.
inline void write_tiny_llama(const std::string& path, const TinyLlama& m) {
  test::GgufWriter w;
  const i64 vocabulary = 49152, head = m.width / m.heads, kv = head * m.kv_heads;
  w.kv_string("general.architecture", m.architecture);
  const auto size = [&](const char* key, i64 v) { w.kv_u32(m.architecture + "." + key, static_cast<u32>(v)); };
  size("block_count", m.layers);
  size("embedding_length", m.width);
  size("feed_forward_length", m.ffn);
  size("attention.head_count", m.heads);
  size("attention.head_count_kv", m.kv_heads);
  size("context_length", m.context);
  size("rope.dimension_count", head);
  w.kv_f32(m.architecture + ".attention.layer_norm_rms_epsilon", 1e-5f);
  copy_vocabulary(w, std::string(TERRACE_TEST_DATA) + "/tokenizer/smollm-vocab.gguf");
  u64 seed = m.seed * 1000;
  std::size_t turn = 0;
  const auto matrix = [&](const std::string& name, i64 rows, i64 columns, test::GgmlType type) {
    const auto bytes = random_weight(spec_of(type, rows, columns), seed++);
    const std::uint32_t number = m.odd_type && turn == 1 ? m.odd_type : static_cast<std::uint32_t>(type);
    w.tensor(name, {static_cast<u64>(rows), static_cast<u64>(columns)}, number, bytes);
  };
  const auto next = [&] { return m.types[turn++ % m.types.size()]; };
  const auto norm = [&](const std::string& name) {
    w.tensor(name, {static_cast<u64>(m.width)}, test::kF32,
             random_weight({DType::f32, Layout::dense, {Dim(m.width)}}, seed++));
  };
  matrix("token_embd.weight", vocabulary, m.width, m.types[0]);
  for (i64 i = 0; i < m.layers; ++i) {
    const std::string p = "blk." + std::to_string(i) + ".";
    norm(p + "attn_norm.weight");
    matrix(p + "attn_q.weight", m.width, m.width, next());
    matrix(p + "attn_k.weight", kv, m.width, next());
    matrix(p + "attn_v.weight", kv, m.width, next());
    matrix(p + "attn_output.weight", m.width, m.width, next());
    norm(p + "ffn_norm.weight");
    matrix(p + "ffn_gate.weight", m.ffn, m.width, next());
    matrix(p + "ffn_up.weight", m.ffn, m.width, next());
    matrix(p + "ffn_down.weight", m.width, m.ffn, next());
  }
  norm("output_norm.weight");
  if (!m.tied) matrix("output.weight", vocabulary, m.width, m.types[1 % m.types.size()]);
  w.save(path);
}

}  // namespace terrace::testing
