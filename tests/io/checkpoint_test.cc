#include "terrace/io/checkpoint.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <filesystem>
#include <random>

#include "support/file_size_limit.h"
#include "support/gguf_writer.h"
#include "support/memory_file.h"
#include "support/tool.h"
#include "terrace/core/error.h"

namespace terrace::io {
namespace {

using Bytes = std::vector<std::byte>;
using terrace::testing::slurp;

TensorSpec spec(DType t, std::initializer_list<Dim> dims) { return {t, Layout::dense, Shape(dims)}; }

const std::vector<CheckpointTensor> kTensors = {
    {"w", spec(DType::f32, {1000, 30}), true}, {"w.m", spec(DType::f32, {1000, 30}), false},
    {"none", spec(DType::f32, {0, 4}), true},  {"b", spec(DType::bf16, {33}), true},
    {"step", spec(DType::i32, {}), false},     {"empty", spec(DType::f64, {0}), false}};

Bytes values(unsigned seed) {
  u64 n = 0;
  for (const CheckpointTensor& t : kTensors) n += t.spec.bytes({}).count;
  Bytes b(n);
  std::mt19937 random(seed);
  for (std::byte& x : b) x = static_cast<std::byte>(random());
  return b;
}

std::string write(const std::string& path, const Bytes& bytes, std::size_t piece = 1 << 20) {
  CheckpointWriter w(path, kTensors, {{"epoch", "3"}});
  for (std::size_t at = 0; at < bytes.size(); at += piece)
    w.append(std::span(bytes).subspan(at, std::min(piece, bytes.size() - at)));
  return w.close();
}

std::string hash_of(std::span<const std::byte> b) {
  Sha256 h;
  h.update(b);
  return h.hex();
}

/// The error's text; empty if the file is a checkpoint of kTensors, whole and unaltered.
std::string error_of(const std::string& path) {
  std::string read_error, verify_error;
  try {
    const Checkpoint c(path);
    c.expect(kTensors);
    try {
      c.verify();
    } catch (const Error& e) { verify_error = e.what(); }
    for (const SafeTensor& t : c.file().tensors()) {
      Bytes b(t.bytes);
      c.read(t, b);
    }
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), ErrorKind::bad_file) << e.what();
    EXPECT_TRUE(e.where().starts_with(path)) << e.what();
    read_error = e.what();
  }
  return verify_error.empty() ? read_error : verify_error;
}

TEST(Checkpoint, ReadsWhatItWrites) {
  const testing::TemporaryFolder folder;
  const std::string path = folder / "c.safetensors";
  const Bytes bytes = values(1);
  const std::string weights = write(path, bytes);
  const Checkpoint c(path);
  c.expect(kTensors);
  c.verify();
  EXPECT_EQ(c.metadata("epoch"), "3");
  EXPECT_THROW(c.metadata("none such"), Error);
  EXPECT_EQ(c.weights_sha256(), weights);
  const u64 matrix = 1000 * 30 * 4;
  Bytes only_weights(bytes.begin(), bytes.begin() + matrix);
  only_weights.insert(only_weights.end(), bytes.begin() + 2 * matrix, bytes.begin() + 2 * matrix + 66);
  EXPECT_EQ(weights, hash_of(only_weights));
  EXPECT_EQ(c.metadata("sha256.weight.w"), hash_of(std::span(bytes).first(matrix)));
  EXPECT_EQ(c.metadata("sha256.state.w.m"), hash_of(std::span(bytes).subspan(matrix, matrix)));
  EXPECT_EQ(c.metadata("sha256.state.empty"), hash_of({}));
  for (const CheckpointTensor& t : kTensors) {
    const SafeTensor* found = c.file().find(t.name);
    ASSERT_NE(found, nullptr);
    EXPECT_EQ(c.is_weight(*found), t.weight);
    Bytes b(found->bytes);
    c.read(*found, b);
    const auto from = bytes.begin() + static_cast<std::ptrdiff_t>(found->offset - c.file().data_offset());
    EXPECT_TRUE(std::equal(b.begin(), b.end(), from)) << t.name;
  }
  for (const std::size_t piece : {1000u, 4093u}) {
    const std::string same = folder / "same";
    write(same, bytes, piece);
    EXPECT_EQ(slurp(same), slurp(path));  // nothing of when or how
  }
}

TEST(Checkpoint, WithoutAnyBytes) {
  const testing::TemporaryFolder folder;
  const std::string path = folder / "c.safetensors";
  const std::vector<CheckpointTensor> empty = {{"a", spec(DType::f32, {0}), true},
                                               {"b", spec(DType::f32, {2, 0}), false}};
  for (const std::size_t n : {0u, 1u, 2u}) {
    const auto tensors = std::span(empty).first(n);
    EXPECT_EQ(CheckpointWriter(path, tensors).close(), hash_of({}));
    const Checkpoint c(path);
    c.expect(tensors);
    c.verify();
  }
}

TEST(Checkpoint, EveryAlteredBitIsFound) {
  const testing::TemporaryFolder folder;
  const std::string path = folder / "c.safetensors";
  write(path, values(2));
  Bytes whole;
  {
    WindowedFile f(path);
    whole.resize(f.size());
    f.read(0, whole);
  }
  const test::MemoryFile file(whole);
  ASSERT_EQ(error_of(file.path()), "");
  const u64 header = SafeTensorsFile(path).data_offset();
  const auto flipped = [&](u64 at, int bit) {
    Bytes b = whole;
    b[at] ^= static_cast<std::byte>(1 << bit);
    file.set(b);
    return error_of(file.path());
  };
  for (u64 i = 0; i < header; ++i) EXPECT_NE(flipped(i, static_cast<int>(i % 7)), "") << "byte " << i;
  std::mt19937 random(4);
  for (int i = 0; i < 20; ++i) {
    const u64 at = header + random() % (whole.size() - header);
    const std::string e = flipped(at, static_cast<int>(random() % 8));
    EXPECT_NE(e.find("its bytes were altered"), std::string::npos) << e;
  }
  EXPECT_NE(flipped(header, 0).find(", byte " + std::to_string(header) + ", tensor 'w': its bytes were altered"),
            std::string::npos);
}

/// A safetensors file with this metadata and no tensors' bytes but zeros.
std::string error_of_file(const std::vector<NamedSpec>& tensors, const Metadata& metadata, std::size_t data) {
  Bytes b(data);
  test::ByteSink s;
  const std::string header = safetensors_header(tensors, metadata);
  s.raw(std::as_bytes(std::span(header))).raw(b);
  const test::MemoryFile file(s.bytes());
  return error_of(file.path());
}

TEST(Checkpoint, ForeignFiles) {
  const auto has = [](const std::string& e, const char* part) { EXPECT_NE(e.find(part), std::string::npos) << e; };
  const std::vector<NamedSpec> one = {{"w", spec(DType::f32, {1})}};
  const std::string hash(64, '0');
  has(error_of_file(one, {{"format", "pt"}}, 4), "terrace.checkpoint: is a safetensors file, but no checkpoint");
  has(error_of_file(one, {{"terrace.checkpoint", "2"}}, 4), "is a checkpoint of version 2, this program reads 1");
  Metadata m = {{"terrace.checkpoint", "1"}};
  has(error_of_file(one, m, 4), "weights_sha256: is missing or no hash");
  m["weights_sha256"] = hash;
  has(error_of_file(one, m, 4), "terrace.header_sha256: is missing or no hash");
  m["terrace.header_sha256"] = std::string(64, 'F');
  has(error_of_file(one, m, 4), "terrace.header_sha256: is missing or no hash");
  m["terrace.header_sha256"] = hash;
  has(error_of_file(one, m, 4), "tensor 'w': its hash is missing");
  m["sha256.weight.w"] = hash;
  has(error_of_file(one, m, 4), "header: does not have the hash that it states");
}

TEST(Checkpoint, TheHashOfAllWeightsIsCheckedToo) {
  // Right in all but that: made by somebody who knows the format.
  std::vector<NamedSpec> tensors;
  for (const CheckpointTensor& t : kTensors) tensors.push_back({t.name, t.spec});
  const std::string zeros(64, '0');
  Metadata m = {{"terrace.checkpoint", "1"}, {"weights_sha256", zeros}, {"terrace.header_sha256", zeros}};
  const Bytes data(values(1).size());
  for (const CheckpointTensor& t : kTensors)
    m[(t.weight ? "sha256.weight." : "sha256.state.") + t.name] =
        hash_of(std::span(data).first(t.spec.bytes({}).count));
  const std::string header = safetensors_header(tensors, m);
  m["terrace.header_sha256"] = hash_of(std::as_bytes(std::span(header)));
  const std::string e = error_of_file(tensors, m, data.size());
  EXPECT_NE(e.find("weights_sha256: is not the hash of the weights in this file"), std::string::npos) << e;
}

TEST(Checkpoint, OfAnotherModel) {
  const testing::TemporaryFolder folder;
  const std::string path = folder / "c.safetensors";
  write(path, values(3));
  const Checkpoint c(path);
  const auto error_with = [&](auto change) -> std::string {
    std::vector<CheckpointTensor> t = kTensors;
    change(t);
    try {
      c.expect(t);
    } catch (const Error& e) { return e.what(); }
    return "accepted";
  };
  const auto has = [](const std::string& e, const char* part) { EXPECT_NE(e.find(part), std::string::npos) << e; };
  EXPECT_EQ(error_with([](auto& t) { std::swap(t[0], t[3]); }), "accepted");
  has(error_with([](auto& t) { t[0].spec.shape[0] = 999; }),
      "tensor 'w': is f32[1000, 30] here, and must be f32[999, 30]");
  has(error_with([](auto& t) { t[3].spec.dtype = DType::f16; }), "is bf16[33] here, and must be f16[33]");
  has(error_with([](auto& t) { t[3].weight = false; }), "tensor 'b': is a weight here, and must be none");
  has(error_with([](auto& t) { t.pop_back(); }), "tensor 'empty': belongs to no part of this model");
  has(error_with([](auto& t) { t.push_back({"more", t[0].spec, true}); }), "tensor 'more': is not in this checkpoint");
}

TEST(Checkpoint, WhatCannotBeWrittenLeavesTheOldOne) {
  const testing::TemporaryFolder folder;
  const std::string path = folder / "c.safetensors";
  write(path, values(4));
  const std::string old = slurp(path);
  Bytes bytes = values(5);
  {
    const test::FileSizeLimit limit(200000);
    EXPECT_THROW(write(path, bytes), Error);
  }
  bytes.pop_back();
  EXPECT_THROW(write(path, bytes), Error);  // a byte is missing
  bytes.resize(bytes.size() + 2);
  EXPECT_THROW(write(path, bytes), Error);  // one too many
  EXPECT_THROW(CheckpointWriter(path, kTensors, {{"weights_sha256", "mine"}}), Error);
  EXPECT_EQ(slurp(path), old);
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder.path()), {}), 1);
}

TEST(Checkpoint, KilledAtAnyMomentThereIsAWholeOne) {
  const testing::TemporaryFolder folder;
  const std::string path = folder / "c.safetensors";
  const Bytes a = values(6), b = values(7);
  const std::string second = write(folder / "other", b);
  const auto begin = std::chrono::steady_clock::now();
  const std::string first = write(path, a);
  const std::chrono::duration<double, std::micro> one = std::chrono::steady_clock::now() - begin;
  std::mt19937 random(8);
  std::uniform_real_distribution<double> writes(0, 4);
  int changed = 0;
  std::string last = first;
  for (int i = 0; i < 40; ++i) {
    const pid_t child = ::fork();
    if (child == 0) {
      for (bool odd = true;; odd = !odd) write(path, odd ? b : a);
    }
    ::usleep(static_cast<useconds_t>(writes(random) * std::min(one.count(), 1e5)));
    ::kill(child, SIGKILL);
    ::waitpid(child, nullptr, 0);
    ASSERT_EQ(error_of(path), "");
    const std::string now(Checkpoint(path).weights_sha256());
    EXPECT_TRUE(now == first || now == second);
    changed += now != last;
    last = now;
  }
  EXPECT_GT(changed, 0);
  write(path, a);  // what the killed ones left is removed
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder.path()), {}), 2);
}

}  // namespace
}  // namespace terrace::io
