#include "terrace/io/checkpoint.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>

#include "terrace/core/error.h"
#include "terrace/core/utf8.h"

namespace terrace::io {
namespace {

constexpr std::string_view kVersionKey = "terrace.checkpoint", kVersion = "1";
constexpr std::string_view kWeightsKey = "weights_sha256", kHeaderKey = "terrace.header_sha256";
constexpr std::string_view kWeightPrefix = "sha256.weight.", kStatePrefix = "sha256.state.";
const char* const kEarlier = "go on from an earlier checkpoint";

std::string key_for(std::string_view name, bool weight) {
  return std::string(weight ? kWeightPrefix : kStatePrefix).append(name);
}

bool is_hash(std::string_view s) {
  return s.size() == Sha256::kHexDigits && s.find_first_not_of("0123456789abcdef") == s.npos;
}

std::string subject_of(std::string_view name) { return fmt::format("tensor '{}'", without_controls(name)); }

std::vector<NamedSpec> named(std::span<const CheckpointTensor> tensors) {
  std::vector<NamedSpec> v;
  for (const CheckpointTensor& t : tensors) v.push_back({t.name, t.spec});
  return v;
}

/// The caller's metadata and our keys, hashes still zero.
Metadata with_our_keys(std::span<const CheckpointTensor> tensors, Metadata metadata) {
  const std::string zeros(Sha256::kHexDigits, '0');
  const auto add = [&](const std::string& key, std::string_view value) {
    if (!metadata.emplace(key, value).second)
      throw Error(ErrorKind::failure, "is a key of checkpoints' own", "metadata '" + without_controls(key) + "'",
                  "use another key");
  };
  add(std::string(kVersionKey), kVersion);
  add(std::string(kWeightsKey), zeros);
  add(std::string(kHeaderKey), zeros);
  for (const CheckpointTensor& t : tensors) add(key_for(t.name, t.weight), zeros);
  return metadata;
}

}  // namespace

CheckpointWriter::CheckpointWriter(const std::string& path, std::span<const CheckpointTensor> tensors,
                                   Metadata metadata)
    : file_(path, named(tensors), with_our_keys(tensors, std::move(metadata))) {
  for (const CheckpointTensor& t : tensors) weight_.push_back(t.weight);
  if (!weight_.empty()) left_ = tensors[0].spec.bytes({}).count;
}

void CheckpointWriter::append(std::span<const std::byte> bytes) {
  file_.append(bytes);
  while (true) {
    const std::size_t n = std::min<u64>(left_, bytes.size());
    hash_.update(bytes.first(n));
    if (n > 0 && weight_[current_]) weights_.update(bytes.first(n));
    bytes = bytes.subspan(n);
    left_ -= n;
    if (left_ > 0 || current_ == weight_.size()) return;
    end_tensor();
  }
}

void CheckpointWriter::end_tensor() {
  file_.replace_metadata(key_for(file_.tensors()[current_].name, weight_[current_]), hash_.hex());
  hash_ = {};
  if (++current_ < weight_.size()) left_ = file_.tensors()[current_].spec.bytes({}).count;
}

std::string CheckpointWriter::close() {
  append({});  // tensors without bytes may be left
  file_.replace_metadata(std::string(kWeightsKey), weights_.hex());
  const std::string header = safetensors_header(file_.tensors(), file_.metadata());
  Sha256 hash;
  hash.update(std::as_bytes(std::span(header)));
  file_.replace_metadata(std::string(kHeaderKey), hash.hex());
  file_.close();
  return weights_.hex();
}

Checkpoint::Checkpoint(std::string path) : file_(std::move(path)) {
  const auto version = file_.metadata(kVersionKey);
  if (!version)
    fail(0, kVersionKey, "is a safetensors file, but no checkpoint: its __metadata__ lacks this key",
         "give a file that `terrace train` wrote as a checkpoint");
  if (*version != kVersion)
    fail(0, kVersionKey,
         fmt::format("is a checkpoint of version {}, this program reads {}", without_controls(version->substr(0, 20)),
                     kVersion),
         "use the program that wrote it");
  check_header();
}

/// The hash of the header covers what the tensors' hashes do not: names, shapes, the caller's metadata.
void Checkpoint::check_header() const {
  for (const std::string_view key : {kWeightsKey, kHeaderKey})
    if (!is_hash(file_.metadata(key).value_or("")))
      fail(file_.metadata_entry(key), key, "is missing or no hash: the file was altered", kEarlier);
  for (const SafeTensor& t : file_.tensors())
    if (!is_hash(hash_of(t))) fail(t.entry, subject_of(t.name), "its hash is missing: the file was altered", kEarlier);
  const u64 digits = file_.metadata_entry(kHeaderKey) + kHeaderKey.size() + 4;  // "key":"
  Sha256 hash;
  std::array<std::byte, 4096> buffer;
  for (u64 at = 0; at < file_.data_offset(); at += buffer.size()) {
    const auto piece = std::span(buffer).first(std::min<u64>(buffer.size(), file_.data_offset() - at));
    file_.file().read(at, piece);
    for (u64 i = std::max(at, digits); i < std::min(at + piece.size(), digits + Sha256::kHexDigits); ++i)
      piece[i - at] = std::byte{'0'};
    hash.update(piece);
  }
  if (hash.hex() != file_.metadata(kHeaderKey))
    fail(0, "header", "does not have the hash that it states: names, shapes or metadata were altered", kEarlier);
}

std::string_view Checkpoint::weights_sha256() const { return metadata(kWeightsKey); }

void Checkpoint::fail(u64 at, std::string_view subject, std::string_view what, std::string_view hint) const {
  throw Error(ErrorKind::bad_file, std::string(what), fmt::format("{}, byte {}, {}", file_.path(), at, subject),
              std::string(hint));
}

std::string_view Checkpoint::metadata(std::string_view key) const {
  const auto value = file_.metadata(key);
  if (!value) fail(0, key, "is missing from __metadata__", "it was written by another version, or by another program");
  return *value;
}

bool Checkpoint::is_weight(const SafeTensor& t) const { return file_.metadata(key_for(t.name, true)).has_value(); }

std::string_view Checkpoint::hash_of(const SafeTensor& t) const {
  const auto weight = file_.metadata(key_for(t.name, true));
  return weight ? *weight : file_.metadata(key_for(t.name, false)).value_or("");
}

void Checkpoint::expect(std::span<const CheckpointTensor> tensors) const {
  constexpr std::string_view kHint =
      "it is of another model, or the configuration was changed since: use the one that "
      "it was written with";
  std::vector<std::string_view> known;
  for (const CheckpointTensor& t : tensors) {
    known.push_back(t.name);
    const SafeTensor* found = file_.find(t.name);
    if (!found) fail(0, subject_of(t.name), "is not in this checkpoint", kHint);
    if (found->spec != t.spec)
      fail(found->entry, subject_of(t.name),
           fmt::format("is {} here, and must be {}", to_string(found->spec), to_string(t.spec)), kHint);
    if (is_weight(*found) != t.weight)
      fail(found->entry, subject_of(t.name),
           t.weight ? "is no weight here, and must be one" : "is a weight here, and must be none", kHint);
  }
  std::sort(known.begin(), known.end());
  for (const SafeTensor& t : file_.tensors())
    if (!std::binary_search(known.begin(), known.end(), std::string_view(t.name)))
      fail(t.entry, subject_of(t.name), "belongs to no part of this model", kHint);
}

void Checkpoint::check_hash(const SafeTensor& t, const Sha256& hash) const {
  if (hash.hex() != hash_of(t))
    fail(t.offset, subject_of(t.name), "its bytes were altered: they do not have the hash that the header states",
         kEarlier);
}

void Checkpoint::read(const SafeTensor& t, std::span<std::byte> out) const {
  if (out.size() != t.bytes)
    throw Error(ErrorKind::failure, fmt::format("has {} bytes, {} were asked for", t.bytes, out.size()),
                fmt::format("{}, {}", file_.path(), subject_of(t.name)));
  file_.read(t, 0, out);
  Sha256 hash;
  hash.update(out);
  check_hash(t, hash);
}

void Checkpoint::verify() const {
  std::vector<std::byte> buffer(64 << 10);
  Sha256 weights;
  for (const SafeTensor& t : file_.tensors()) {
    const bool weight = is_weight(t);
    Sha256 hash;
    for (u64 at = 0; at < t.bytes; at += buffer.size()) {
      const auto piece = std::span(buffer).first(std::min<u64>(buffer.size(), t.bytes - at));
      file_.read(t, at, piece);
      hash.update(piece);
      if (weight) weights.update(piece);
    }
    check_hash(t, hash);
  }
  if (weights.hex() != weights_sha256()) fail(0, kWeightsKey, "is not the hash of the weights in this file", kEarlier);
}

}  // namespace terrace::io
