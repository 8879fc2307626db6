// Builds GGUF version 3 files in memory, right ones and (through the raw calls) wrong ones.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace terrace::test {

/// Little-endian bytes in order of the calls.
class ByteSink {
 public:
  template <class T>
  ByteSink& put(T value) {
    const auto* p = reinterpret_cast<const std::byte*>(&value);
    bytes_.insert(bytes_.end(), p, p + sizeof(T));
    return *this;
  }
  ByteSink& text(std::string_view s) { return put<std::uint64_t>(s.size()).raw(std::as_bytes(std::span(s))); }
  ByteSink& raw(std::span<const std::byte> s) {
    bytes_.insert(bytes_.end(), s.begin(), s.end());
    return *this;
  }
  void pad(std::size_t multiple) {
    while (bytes_.size() % multiple != 0) bytes_.push_back(std::byte{0});
  }
  std::size_t size() const { return bytes_.size(); }
  const std::vector<std::byte>& bytes() const { return bytes_; }

 private:
  std::vector<std::byte> bytes_;
};

/// ggml's numbers for tensor types.
enum GgmlType : std::uint32_t { kF32 = 0, kF16 = 1, kQ4_0 = 2, kQ4_1 = 3, kQ8_0 = 8 };

class GgufWriter {
 public:
  void kv_u32(std::string_view key, std::uint32_t v) { head(key, 4).put(v); }
  void kv_i32(std::string_view key, std::int32_t v) { head(key, 5).put(v); }
  void kv_u64(std::string_view key, std::uint64_t v) { head(key, 10).put(v); }
  void kv_f32(std::string_view key, float v) { head(key, 6).put(v); }
  void kv_bool(std::string_view key, bool v) { head(key, 7).put<std::uint8_t>(v ? 1 : 0); }
  void kv_string(std::string_view key, std::string_view v) { head(key, 8).text(v); }
  void kv_strings(std::string_view key, const std::vector<std::string>& v) {
    ByteSink& s = head(key, 9).put<std::uint32_t>(8).put<std::uint64_t>(v.size());
    for (const std::string& x : v) s.text(x);
  }
  void kv_i32s(std::string_view key, const std::vector<std::int32_t>& v) { array(key, 5, v); }
  void kv_f32s(std::string_view key, const std::vector<float>& v) { array(key, 6, v); }
  /// A key with any type number and any bytes as its value.
  void kv_raw(std::string_view key, std::uint32_t type, std::span<const std::byte> value) {
    head(key, type).raw(value);
  }

  /// `bytes` are the packed rows.
  void tensor(std::string_view name, std::vector<std::uint64_t> dims_outermost_first, std::uint32_t ggml_type,
              std::span<const std::byte> bytes) {
    data_.pad(alignment_);
    tensor_raw(name, {dims_outermost_first.rbegin(), dims_outermost_first.rend()}, ggml_type, data_.size());
    data_.raw(bytes);
  }
  /// A tensor's entry as it stands in the file (dimensions innermost first) without data.
  void tensor_raw(std::string_view name, const std::vector<std::uint64_t>& dims_innermost_first,
                  std::uint32_t ggml_type, std::uint64_t offset) {
    ++tensors_;
    infos_.text(name).put(static_cast<std::uint32_t>(dims_innermost_first.size()));
    for (std::uint64_t d : dims_innermost_first) infos_.put(d);
    infos_.put(ggml_type).put(offset);
  }
  /// Bytes of the data section that belong to no tensor.
  void data_raw(std::span<const std::byte> bytes) { data_.raw(bytes); }

  /// Alignment of the data (does not write the key general.alignment).
  void set_alignment(std::size_t a) { alignment_ = a; }
  void set_version(std::uint32_t v) { version_ = v; }
  void set_magic(std::string_view m) { magic_ = m; }
  /// Counts other than the true ones.
  void set_counts(std::uint64_t tensors, std::uint64_t entries) { tensors_ = tensors, entries_ = entries; }

  std::vector<std::byte> bytes() const {
    ByteSink s;
    s.raw(std::as_bytes(std::span(magic_))).put(version_).put(tensors_).put(entries_);
    s.raw(kv_.bytes()).raw(infos_.bytes());
    if (data_.size() != 0) s.pad(alignment_);
    s.raw(data_.bytes());
    return s.bytes();
  }
  void save(const std::string& path) const { save(path, bytes()); }
  static void save(const std::string& path, std::span<const std::byte> bytes) {
    std::FILE* f = std::fopen(path.c_str(), "wb");
    if (!f) throw std::runtime_error("cannot write " + path);
    const bool ok = bytes.empty() || std::fwrite(bytes.data(), 1, bytes.size(), f) == bytes.size();
    if ((std::fclose(f) != 0) || !ok) throw std::runtime_error("cannot write " + path);
  }

 private:
  ByteSink& head(std::string_view key, std::uint32_t type) {
    ++entries_;
    return kv_.text(key).put(type);
  }
  template <class T>
  void array(std::string_view key, std::uint32_t element, const std::vector<T>& v) {
    head(key, 9).put(element).put<std::uint64_t>(v.size()).raw(std::as_bytes(std::span(v)));
  }

  ByteSink kv_, infos_, data_;
  std::string magic_ = "GGUF";
  std::uint32_t version_ = 3;
  std::uint64_t tensors_ = 0, entries_ = 0;
  std::size_t alignment_ = 32;
};

/// Float rows as bytes, for GgufWriter::tensor.
inline std::vector<std::byte> to_bytes(const std::vector<float>& v) {
  const auto s = std::as_bytes(std::span(v));
  return {s.begin(), s.end()};
}

}  // namespace terrace::test
