#include "terrace/io/safetensors.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <numeric>
#include <tuple>

#include "terrace/core/error.h"
#include "terrace/core/utf8.h"
#include "terrace/io/safetensors_parser.h"

namespace terrace::io {
namespace {

static_assert(std::endian::native == std::endian::little, "lengths are used as they lie in the file");

/// Files that people mistake for safetensors, by their first bytes.
std::string_view kind_of(std::string_view magic) {
  if (magic.starts_with("GGUF")) return "is a GGUF file, not safetensors";
  if (magic.starts_with("PK\x03\x04")) return "is a ZIP archive (PyTorch's own format?), not safetensors";
  if (magic.starts_with("\x80\x02\x8a") || magic.starts_with("\x80\x04\x95"))
    return "is a Python pickle, not safetensors";
  if (magic.starts_with("version ")) return "is a Git LFS pointer, not the file itself";
  return {};
}

std::string quoted(const SafeTensor& t) { return "'" + without_controls(t.name) + "'"; }

}  // namespace

SafeTensorsFile::SafeTensorsFile(std::string path) : file_(std::move(path)) {
  const SafeTensorsParser start(*this, 0, 0);
  std::array<char, 8> magic{};
  if (size() < magic.size())
    start.fail(0, fmt::format("has {} bytes: no safetensors file is that short", size()), "download it again");
  file_.read(0, std::as_writable_bytes(std::span(magic)));
  const u64 length = std::bit_cast<u64>(magic), left = size() - magic.size();
  const std::string_view kind = length > left ? kind_of({magic.data(), magic.size()}) : std::string_view{};
  if (!kind.empty()) start.fail(0, kind, "give the .safetensors file of the model");
  if (length > kMaxSafeTensorsHeader)
    start.fail(0, fmt::format("the header is {} bytes long, at most {} are allowed", length, kMaxSafeTensorsHeader),
               "this is no safetensors file, or a damaged one");
  if (length > left)
    start.fail(0, fmt::format("the header is {} bytes long, {} are left", length, left),
               "the file is cut short or no safetensors file");
  data_offset_ = magic.size() + length;
  SafeTensorsParser(*this, magic.size(), data_offset_).parse();
  check_names();
  check_offsets();
}

void SafeTensorsFile::check_names() {
  const SafeTensorsParser at(*this, 0, 0);
  std::sort(metadata_.begin(), metadata_.end(), [&](const Entry& a, const Entry& b) {
    return std::tuple(key_of(a), a.position) < std::tuple(key_of(b), b.position);
  });
  for (std::size_t i = 1; i < metadata_.size(); ++i)
    if (key_of(metadata_[i - 1]) == key_of(metadata_[i]))
      at.fail(metadata_[i].position,
              fmt::format("the key '{}' of __metadata__ stands twice", without_controls(key_of(metadata_[i]))));
  std::sort(tensors_.begin(), tensors_.end(), [](const SafeTensor& a, const SafeTensor& b) {
    return std::tuple(a.offset, a.bytes, a.entry) < std::tuple(b.offset, b.bytes, b.entry);
  });
  by_name_.resize(tensors_.size());
  std::iota(by_name_.begin(), by_name_.end(), 0u);
  std::sort(by_name_.begin(), by_name_.end(), [&](u32 a, u32 b) {
    return std::tie(tensors_[a].name, tensors_[a].entry) < std::tie(tensors_[b].name, tensors_[b].entry);
  });
  for (std::size_t i = 1; i < by_name_.size(); ++i)
    if (tensors_[by_name_[i - 1]].name == tensors_[by_name_[i]].name)
      at.fail(tensors_[by_name_[i]].entry, fmt::format("the tensor {} stands twice", quoted(tensors_[by_name_[i]])));
}

void SafeTensorsFile::check_offsets() {
  const SafeTensorsParser at(*this, 0, 0);
  u64 end = data_offset_;
  for (const SafeTensor& t : tensors_) {
    if (t.offset != end)
      at.fail(t.entry, fmt::format("the data of tensor {} begin at byte {} of the data section, they must at {}: {}",
                                   quoted(t), t.offset - data_offset_, end - data_offset_,
                                   t.offset > end ? "a hole" : "they overlap others"));
    end += t.bytes;
  }
  if (end != size()) at.fail(end, fmt::format("{} bytes follow the data of the last tensor", size() - end));
}

const SafeTensor* SafeTensorsFile::find(std::string_view name) const {
  const auto it = std::lower_bound(by_name_.begin(), by_name_.end(), name,
                                   [&](u32 i, std::string_view n) { return tensors_[i].name < n; });
  return it != by_name_.end() && tensors_[*it].name == name ? &tensors_[*it] : nullptr;
}

const SafeTensorsFile::Entry* SafeTensorsFile::find_metadata(std::string_view key) const {
  const auto it = std::lower_bound(metadata_.begin(), metadata_.end(), key,
                                   [&](const Entry& e, std::string_view k) { return key_of(e) < k; });
  return it != metadata_.end() && key_of(*it) == key ? &*it : nullptr;
}

std::optional<std::string_view> SafeTensorsFile::metadata(std::string_view key) const {
  const Entry* e = find_metadata(key);
  return e ? std::optional(value_of(*e)) : std::nullopt;
}

u64 SafeTensorsFile::metadata_entry(std::string_view key) const {
  const Entry* e = find_metadata(key);
  return e ? e->position : 0;
}

void SafeTensorsFile::each_metadata(const std::function<void(std::string_view, std::string_view)>& f) const {
  for (const Entry& e : metadata_) f(key_of(e), value_of(e));
}

void SafeTensorsFile::read(const SafeTensor& t, u64 from, std::span<std::byte> out) const {
  if (from > t.bytes || out.size() > t.bytes - from)
    throw Error(ErrorKind::failure, fmt::format("{} bytes from {} are more than it has", out.size(), from),
                fmt::format("{}, tensor {}", path(), quoted(t)));
  file_.read(t.offset + from, out);
}

}  // namespace terrace::io
