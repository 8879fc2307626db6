#include "terrace/program/export.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <functional>
#include <optional>

#include "terrace/core/error.h"
#include "terrace/io/checkpoint.h"
#include "terrace/io/gguf_writer.h"
#include "terrace/kernels/half.h"
#include "terrace/nn/llama_training.h"
#include "terrace/program/llama_task.h"
#include "terrace/program/tensor_floats.h"

namespace terrace {
namespace {

using Append = std::function<void(std::span<const std::byte>)>;

[[noreturn]] void refuse(std::string what, std::string where, std::string hint) {
  throw Error(ErrorKind::usage, std::move(what), std::move(where), std::move(hint));
}

std::vector<float> floats_of(const io::Checkpoint& c, const io::SafeTensor& t) {
  if (t.spec.dtype != DType::f32) throw Error(ErrorKind::bad_file, "is no f32 tensor", c.file().path() + ", " + t.name);
  std::vector<float> f(t.bytes / 4);
  c.read(t, std::as_writable_bytes(std::span(f)));
  return f;
}

const io::SafeTensor& weight_of(const io::Checkpoint& c, const std::string& name) {
  const io::SafeTensor* t = c.file().find(name);
  if (!t) throw Error(ErrorKind::bad_file, fmt::format("has no tensor {}", name), c.file().path());
  return *t;
}

/// Adapters of a checkpoint, as its metadata describes them; none if all parameters were trained.
std::optional<nn::Lora> lora_of(const io::Checkpoint& c) {
  if (!c.file().metadata("lora.rank")) return {};
  nn::Lora l;
  const std::string_view rank = c.metadata("lora.rank"), alpha = c.metadata("lora.alpha");
  std::string_view targets = c.metadata("lora.targets");
  const auto whole = [](std::string_view text, auto& to) {
    const auto r = std::from_chars(text.data(), text.data() + text.size(), to);
    return r.ec == std::errc() && r.ptr == text.data() + text.size();
  };
  if (!whole(rank, l.rank) || !whole(alpha, l.alpha) || l.rank < 1 || !std::isfinite(l.alpha))
    throw Error(ErrorKind::bad_file, "its adapters have no sound rank and alpha", c.file().path());
  l.targets.clear();
  while (!targets.empty()) {
    const std::size_t end = std::min(targets.find(' '), targets.size());
    l.targets.emplace_back(targets.substr(0, end));
    targets.remove_prefix(std::min(end + 1, targets.size()));
  }
  return l;
}

/// Floats in the type that is asked for.
void append_as(DType type, std::span<const float> f, const std::string& name, const Append& append) {
  if (type == DType::f32) return append(std::as_bytes(f));
  std::vector<std::uint16_t> halves(f.size());
  for (std::size_t i = 0; i < f.size(); ++i) {
    halves[i] = float_to_half(f[i]);
    if (!std::isfinite(half_to_float(halves[i])))
      throw Error(ErrorKind::failure, fmt::format("has {}, which does not fit into f16", f[i]), name, "--type f32");
  }
  append(std::as_bytes(std::span(halves)));
}

/// A llama run's model: the base file, and what the checkpoint changes in it.
class Llama {
 public:
  Llama(const io::Checkpoint& checkpoint, const ExportOptions& options)
      : checkpoint_(checkpoint), options_(options), lora_(lora_of(checkpoint)), model_(open(options.base)) {
    const std::string sha256 = sha256_of(model_.file);
    if (sha256 != checkpoint.metadata("base_sha256"))
      throw Error(ErrorKind::bad_file,
                  fmt::format("is not the file that the run began with, {}: its SHA-256 is {}",
                              checkpoint.metadata("base_name"), sha256),
                  options.base, "give that file with --base");
    if (lora_) places_ = nn::lora_places(model_.config, *lora_);
  }

  const std::optional<nn::Lora>& lora() const { return lora_; }
  const io::GgufFile& base() const { return model_.file; }

  /// What the model's tensors become. `dense`: none stays as it lies in the base file.
  std::vector<io::NewGgufTensor> tensors(bool dense) const {
    std::vector<io::NewGgufTensor> all;
    for (const io::GgufTensor& t : base().tensors()) {
      TensorSpec spec = t.spec;
      if (is_changed(t.name) || dense)
        spec = {spec.shape.rank > 1 ? options_.type : DType::f32, Layout::dense, spec.shape};
      all.push_back({t.name, spec});
    }
    return all;
  }

  /// The bytes of all of them, in order.
  void write(std::span<const io::NewGgufTensor> tensors, const Append& append) const {
    for (const io::NewGgufTensor& t : tensors) {
      const io::GgufTensor& from = *base().find_tensor(t.name);
      if (t.spec == from.spec && !is_changed(t.name))
        copy(from, append);
      else if (!lora_)
        append_as(t.spec.dtype, floats_of(checkpoint_, trained(from)), t.name, append);
      else
        merge(from, t.spec.dtype, append);
    }
  }

 private:
  static Model open(const std::string& base) {
    if (base.empty()) refuse("needs the model that the run began with", "--base", "--base MODEL.gguf");
    return open_model(base);
  }
  bool is_changed(const std::string& name) const {
    if (!lora_) return true;
    return std::any_of(places_.begin(), places_.end(), [&](const nn::LoraPlace& p) { return p.weight == name; });
  }
  const io::SafeTensor& trained(const io::GgufTensor& t) const {
    const io::SafeTensor& s = weight_of(checkpoint_, t.name);
    if (!(s.spec.shape == t.spec.shape))
      throw Error(ErrorKind::bad_file, fmt::format("{} has another shape than the model's", t.name),
                  checkpoint_.file().path());
    return s;
  }
  void copy(const io::GgufTensor& t, const Append& append) const {
    std::vector<std::byte> piece(64 << 10);
    for (u64 at = 0; at < t.bytes; at += piece.size()) {
      const auto part = std::span(piece).first(std::min<u64>(piece.size(), t.bytes - at));
      base().file().read(t.offset + at, part);
      append(part);
    }
  }
  /// W + scale B A, in double, some rows at a time; a matrix without an adapter as it is.
  void merge(const io::GgufTensor& t, DType type, const Append& append) const {
    const i64 columns = t.spec.columns({}), rows = t.spec.rows({}), rank = lora_->rank;
    std::vector<float> a, b;
    if (is_changed(t.name)) {
      a = floats_of(checkpoint_, weight_of(checkpoint_, t.name + ".lora_a"));
      b = floats_of(checkpoint_, weight_of(checkpoint_, t.name + ".lora_b"));
      if (a.size() != static_cast<std::size_t>(rank * columns) || b.size() != static_cast<std::size_t>(rank * rows))
        throw Error(ErrorKind::bad_file, fmt::format("the adapter of {} has another shape than the matrix", t.name),
                    checkpoint_.file().path());
    }
    const i64 at_once = std::max<i64>(1, (1 << 16) / columns);
    std::vector<float> w;
    std::vector<double> sum(static_cast<std::size_t>(columns));
    for (i64 first = 0; first < rows; first += at_once) {
      const i64 some = std::min(at_once, rows - first);
      w.resize(static_cast<std::size_t>(some * columns));
      read_floats(base(), t, first, w);
      for (i64 r = 0; r < some && !a.empty(); ++r) {
        std::fill(sum.begin(), sum.end(), 0.0);
        for (i64 i = 0; i < rank; ++i) {
          const auto by = static_cast<double>(b[static_cast<std::size_t>((first + r) * rank + i)]);
          for (i64 c = 0; c < columns; ++c)
            sum[static_cast<std::size_t>(c)] += by * static_cast<double>(a[static_cast<std::size_t>(i * columns + c)]);
        }
        for (i64 c = 0; c < columns; ++c) {
          float& x = w[static_cast<std::size_t>(r * columns + c)];
          x = static_cast<float>(static_cast<double>(x) + lora_->scale() * sum[static_cast<std::size_t>(c)]);
        }
      }
      append_as(type, w, t.name, append);
    }
  }

  const io::Checkpoint& checkpoint_;
  const ExportOptions& options_;
  std::optional<nn::Lora> lora_;
  Model model_;
  std::vector<nn::LoraPlace> places_;
};

/// The checkpoint's own metadata, without the hashes of what else was in it.
io::Metadata metadata_of(const io::Checkpoint& c) {
  io::Metadata m;
  c.file().each_metadata([&](std::string_view key, std::string_view value) {
    if (!key.starts_with("sha256.") && !key.starts_with("terrace.") && key != "weights_sha256") m.emplace(key, value);
  });
  return m;
}

i64 write_parameters(const io::Checkpoint& c, const std::string& out) {
  std::vector<io::NamedSpec> specs;
  for (const io::SafeTensor& t : c.file().tensors())
    if (c.is_weight(t)) specs.push_back({t.name, t.spec});
  io::SafeTensorsWriter file(out, specs, metadata_of(c));
  std::vector<std::byte> bytes;
  for (const io::NamedSpec& s : specs) {
    const io::SafeTensor& t = *c.file().find(s.name);
    bytes.resize(t.bytes);
    c.read(t, bytes);
    file.append(bytes);
  }
  file.close();
  return static_cast<i64>(specs.size());
}

i64 write_safetensors(const Llama& llama, const std::string& out, const io::Metadata& metadata) {
  const std::vector<io::NewGgufTensor> tensors = llama.tensors(true);
  std::vector<io::NamedSpec> specs;
  for (const io::NewGgufTensor& t : tensors) specs.push_back({t.name, t.spec});
  io::SafeTensorsWriter file(out, specs, metadata);
  llama.write(tensors, [&](std::span<const std::byte> b) { file.append(b); });
  file.close();
  return static_cast<i64>(tensors.size());
}

i64 write_gguf(const Llama& llama, const std::string& out, DType type) {
  io::GgufKeys keys;
  for (const io::GgufEntry& e : llama.base().entries()) {
    // The writer has an alignment of its own; of the file's type only what was trained in full makes another.
    if (e.key == "general.alignment" || (e.key == "general.file_type" && !llama.lora())) continue;
    keys.copy(llama.base(), e);
  }
  if (!llama.lora()) keys.number("general.file_type", type == DType::f16 ? 1 : 0);  // LLAMA_FTYPE of llama.h
  const std::vector<io::NewGgufTensor> tensors = llama.tensors(false);
  io::GgufWriter file(out, keys, tensors);
  llama.write(tensors, [&](std::span<const std::byte> b) { file.append(b); });
  file.close();
  return static_cast<i64>(tensors.size());
}

/// As llama.cpp's convert_lora_to_gguf.py has it.
i64 write_adapter(const io::Checkpoint& c, const nn::Lora& lora, const std::string& out) {
  io::GgufKeys keys;
  keys.text("general.architecture", "llama");
  keys.text("general.type", "adapter");
  keys.text("adapter.type", "lora");
  keys.real("adapter.lora.alpha", static_cast<float>(lora.alpha));
  std::vector<io::NewGgufTensor> tensors;
  for (const io::SafeTensor& t : c.file().tensors())
    if (c.is_weight(t)) tensors.push_back({t.name, t.spec});
  io::GgufWriter file(out, keys, tensors);
  for (const io::NewGgufTensor& t : tensors)
    file.append(std::as_bytes(std::span<const float>(floats_of(c, weight_of(c, t.name)))));
  file.close();
  return static_cast<i64>(tensors.size());
}

i64 write(const io::Checkpoint& c, const std::string& out, const ExportOptions& o) {
  const bool llama = c.metadata("model") == "llama", gguf = out.ends_with(".gguf");
  if (!gguf && !out.ends_with(".safetensors"))
    refuse("is neither a .gguf nor a .safetensors", out, "the name says what is written");
  if (gguf && !llama)
    refuse(fmt::format("a model of kind {} is not written as GGUF", c.metadata("model")), out, "a .safetensors");
  const std::optional<nn::Lora> lora = lora_of(c);
  if (o.merge && !lora) refuse("there are no adapters to merge", "--merge", "leave it out");
  if (!gguf && !o.merge) return write_parameters(c, out);
  if (gguf && lora && !o.merge) return write_adapter(c, *lora, out);
  const Llama model(c, o);
  return gguf ? write_gguf(model, out, o.type) : write_safetensors(model, out, metadata_of(c));
}

}  // namespace

Exported export_checkpoint(const std::string& checkpoint, const std::string& out, const ExportOptions& options) {
  const io::Checkpoint c(checkpoint);
  Exported e;
  e.tensors = write(c, out, options);
  e.bytes = Bytes{std::filesystem::file_size(out)};
  return e;
}

}  // namespace terrace
