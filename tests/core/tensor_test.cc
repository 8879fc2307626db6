#include "terrace/core/tensor.h"

#include <gtest/gtest.h>

#include "terrace/core/error.h"

namespace terrace {
namespace {

TEST(Tensor, RowBytesOfEachLayout) {  // worked out from the block sizes of the GGUF specification
  EXPECT_EQ(row_bytes(DType::f32, Layout::dense, 576), 2304u);
  EXPECT_EQ(row_bytes(DType::f16, Layout::dense, 576), 1152u);
  EXPECT_EQ(row_bytes(DType::f32, Layout::q8_0, 576), 18u * 34);
  EXPECT_EQ(row_bytes(DType::f32, Layout::q4_0, 576), 18u * 18);
  EXPECT_EQ(row_bytes(DType::f32, Layout::q4_1, 576), 18u * 20);
  EXPECT_EQ(row_bytes(DType::f32, Layout::q8a, 64), 64u + 8 + 8);
}

TEST(Tensor, SymbolsGiveExtents) {
  TensorSpec s{DType::f32, Layout::dense, {Dim::of(0), Dim(3), Dim::of(1)}};
  const i64 symbols[] = {4, 5};
  EXPECT_EQ(s.rows(symbols), 12);
  EXPECT_EQ(s.columns(symbols), 5);
  EXPECT_EQ(s.bytes(symbols).count, 240u);
  const std::string names[] = {"n", "pos"};
  EXPECT_EQ(to_string(s, names), "f32[n, 3, pos]");
  EXPECT_EQ(to_string(s), "f32[s0, 3, s1]");
}

TEST(Tensor, ViewsAndSlices) {
  std::byte memory[4096];
  const TensorView v = make_view({DType::f32, Layout::dense, {Dim(4), Dim(8)}}, memory, {});
  EXPECT_EQ(v.stride[0], 32);
  EXPECT_EQ(v.stride[1], 4);
  const TensorView rows = slice(v, 0, 1, 3), columns = slice(v, 1, 2, 5);
  EXPECT_EQ(rows.data, memory + 32);
  EXPECT_EQ(rows.dim[0], 2);
  EXPECT_EQ(columns.data, memory + 8);
  EXPECT_EQ(columns.dim[1], 3);
  EXPECT_EQ(columns.stride[0], 32);
}

TEST(Tensor, BlockLayoutsAreCutOnBlocksOnly) {
  std::byte memory[4096];
  const TensorView v = make_view({DType::f32, Layout::q4_1, {Dim(4), Dim(128)}}, memory, {});
  EXPECT_EQ(v.stride[0], 80);
  EXPECT_EQ(slice(v, 1, 64, 128).data, memory + 40);
  EXPECT_THROW(slice(v, 1, 16, 128), Error);
  const TensorView a = make_view({DType::f32, Layout::q8a, {Dim(2), Dim(64)}}, memory, {});
  EXPECT_THROW(slice(a, 1, 32, 64), Error);
}

TEST(Tensor, NamesParseBack) {
  for (DType t : {DType::f32, DType::f16, DType::i32}) {
    DType back{};
    EXPECT_TRUE(parse(name_of(t), back));
    EXPECT_EQ(back, t);
  }
  for (Layout l : {Layout::dense, Layout::q8_0, Layout::q4_0, Layout::q4_1, Layout::q8a}) {
    Layout back{};
    EXPECT_TRUE(parse(name_of(l), back));
    EXPECT_EQ(back, l);
  }
  Layout l{};
  EXPECT_FALSE(parse("q9", l));
}

TEST(Error, SaysWhatWhereAndWhatToTry) {
  const Error e(ErrorKind::bad_file, "is cut short", "m.gguf, byte 12", "download it again");
  EXPECT_STREQ(e.what(), "m.gguf, byte 12: is cut short (download it again)");
  EXPECT_EQ(exit_code(e.kind()), 4);
  EXPECT_EQ(exit_code(ErrorKind::does_not_fit), 3);
  EXPECT_EQ(exit_code(ErrorKind::usage), 2);
  EXPECT_EQ(exit_code(ErrorKind::failure), 1);
  EXPECT_EQ(exit_code(ErrorKind::interrupted), 130);
}

TEST(Units, RoundingAndTime) {
  EXPECT_EQ(round_up(513, 512), 1024u);
  EXPECT_EQ(round_up(512, 512), 512u);
  EXPECT_EQ(round_down(1023, 512), 512u);
  EXPECT_DOUBLE_EQ((2_GiB / BytesPerSecond{static_cast<double>(1u << 30)}).value, 2.0);
}

}  // namespace
}  // namespace terrace
