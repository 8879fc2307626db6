#include "terrace/program/model.h"

#include <fmt/format.h>

#include <cmath>

#include "terrace/core/error.h"
#include "terrace/core/utf8.h"

namespace terrace {
namespace {

// Far above any model there is; keeps products of sizes inside 63 bits and graphs inside memory.
constexpr u64 kMaxWidth = 1 << 20, kMaxLayers = 4096, kMaxContext = 1 << 24;

class Reader {
 public:
  explicit Reader(const io::GgufFile& file) : file_(file) {}

  i64 size(const std::string& key, u64 max, std::optional<u64> otherwise = std::nullopt) const {
    const std::optional<u64> v = file_.get_uint("llama." + key);
    if (!v && !otherwise) fail(key, "is missing");
    const u64 x = v.value_or(otherwise.value_or(0));
    if (x == 0 || x > max) fail(key, fmt::format("is {}, not in 1..{}", x, max));
    return static_cast<i64>(x);
  }
  double real(const std::string& key, std::optional<double> otherwise = std::nullopt) const {
    const std::optional<double> v = file_.get_float("llama." + key);
    if (!v && !otherwise) fail(key, "is missing");
    const double x = v.value_or(otherwise.value_or(0));
    if (!std::isfinite(x) || x <= 0) fail(key, "is no positive number");
    return x;
  }
  void refuse(const std::string& key, std::string_view what) const {
    if (file_.find("llama." + key)) fail(key, fmt::format("{} is not supported", what));
  }
  [[noreturn]] void fail(const std::string& key, const std::string& what) const {
    const io::GgufEntry* e = file_.find("llama." + key);
    throw Error(ErrorKind::bad_file, "llama." + key + " " + what,
                e ? fmt::format("{}, byte {}", file_.path(), e->offset) : file_.path(),
                "the model is damaged or of a kind that is not supported: terrace inspect shows its keys");
  }

 private:
  const io::GgufFile& file_;
};

nn::LlamaConfig read_config(const io::GgufFile& file) {
  const Reader r(file);
  nn::LlamaConfig c;
  c.layers = r.size("block_count", kMaxLayers);
  c.width = r.size("embedding_length", kMaxWidth);
  c.ffn = r.size("feed_forward_length", kMaxWidth);
  c.heads = r.size("attention.head_count", 4096);
  c.kv_heads = r.size("attention.head_count_kv", 4096, static_cast<u64>(c.heads));
  c.context = r.size("context_length", kMaxContext);
  if (c.heads > c.width) r.fail("attention.head_count", "is more than embedding_length");
  if (c.heads % c.kv_heads != 0) r.fail("attention.head_count_kv", "does not divide the number of heads");
  c.head_dim = r.size("attention.key_length", 4096, static_cast<u64>(c.width / c.heads));
  if (r.size("attention.value_length", 4096, static_cast<u64>(c.head_dim)) != c.head_dim)
    r.fail("attention.value_length", "differs from attention.key_length, which is not supported");
  c.rope_dims = r.size("rope.dimension_count", 4096, static_cast<u64>(c.head_dim));
  if (c.rope_dims > c.head_dim || c.rope_dims % 2 != 0) r.fail("rope.dimension_count", "is odd or above the head size");
  c.rope_base = r.real("rope.freq_base", 10000.0);
  c.norm_eps = r.real("attention.layer_norm_rms_epsilon");
  r.refuse("rope.scaling.type", "RoPE scaling");
  r.refuse("rope.scale_linear", "RoPE scaling");
  r.refuse("expert_count", "a mixture of experts");
  const io::GgufTensor* table = file.find_tensor("token_embd.weight");
  if (!table || table->spec.shape.rank != 2)
    throw Error(ErrorKind::bad_file, "has no matrix token_embd.weight", file.path());
  c.vocabulary = table->spec.shape[0].value;
  if (file.find_tensor("rope_freqs.weight"))
    throw Error(ErrorKind::bad_file, "tensor rope_freqs.weight (scaled RoPE) is not supported", file.path());
  return c;
}

}  // namespace

Model open_model(const std::string& path) {
  io::GgufFile file(path);
  const std::optional<std::string> arch = file.get_string("general.architecture");
  if (!arch)
    throw Error(ErrorKind::bad_file, "has no general.architecture", path,
                "is it a model, or only a vocabulary or adapter?");
  if (*arch != "llama")
    throw Error(ErrorKind::bad_file, fmt::format("architecture \"{}\" is not supported", without_controls(*arch)), path,
                "supported: llama");
  nn::LlamaConfig config = read_config(file);
  return Model{std::move(file), config};
}

nn::SpecOf specs_of(const Model& model) {
  return [&model](std::string_view name) -> const TensorSpec* {
    const io::GgufTensor* t = model.file.find_tensor(name);
    return t ? &t->spec : nullptr;
  };
}

Graph build_graph(const Model& model, const nn::LlamaOptions& options) {
  try {
    return nn::llama(model.config, options, specs_of(model));
  } catch (const Error& e) {
    if (e.kind() != ErrorKind::bad_file) throw;
    throw Error(e.kind(), e.where() + " " + e.message(), model.file.path(), e.hint());
  }
}

Bytes header_bytes(const io::GgufFile& f) {
  u64 n = f.entries().capacity() * sizeof(io::GgufEntry) + f.tensors().capacity() * sizeof(io::GgufTensor);
  for (const io::GgufTensor& t : f.tensors()) n += t.name.size() + 16;
  for (const io::GgufEntry& e : f.entries()) {
    n += e.key.size() + 16;
    if (const auto* s = std::get_if<std::string>(&e.scalar)) n += s->size();
  }
  return Bytes{n + (64 << 10)};
}

std::vector<Placement> weight_places(const Graph& graph, const Model& model, TierId disk) {
  std::vector<Placement> places;
  for (ValueId v = 0; v < graph.values().size(); ++v) {
    if (graph.value(v).kind != ValueKind::weight) continue;
    const io::GgufTensor* t = model.file.find_tensor(graph.value(v).name);
    Placement p;
    p.value = v;
    p.tier = disk;
    p.owner = Owner::file;
    p.use = Use::weights;
    p.file = 0;
    p.offset = t->offset;
    p.bytes = Bytes{t->bytes};
    places.push_back(p);
  }
  return places;
}

}  // namespace terrace
