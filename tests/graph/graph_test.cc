#include "terrace/graph/graph.h"

#include <gtest/gtest.h>

#include <functional>

#include "terrace/core/error.h"
#include "terrace/ops/ops.h"

namespace terrace {
namespace {

TensorSpec f32(Shape s) { return {DType::f32, Layout::dense, s}; }

std::string message_of(const std::function<void()>& f) {
  try {
    f();
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), ErrorKind::usage);
    return e.what();
  }
  return "";
}

TEST(Graph, InfersShapesAndPrints) {
  GraphBuilder b;
  const SymbolId n = b.symbol("n", 8);
  const ValueId x = b.input("x", f32({Dim::of(n), Dim(64)}));
  const ValueId w = b.weight("w", {DType::f32, Layout::q4_0, {Dim(96), Dim(64)}});
  const ValueId q = b.call(ops::quantize, {x});
  const ValueId y = b.call(ops::linear, {q, w}, {}, "y");
  b.output(y);
  const Graph g = b.finish();
  EXPECT_EQ(to_string(g.value(q).spec), "q8a[s0, 64]");
  EXPECT_EQ(to_string(g.value(y).spec), "f32[s0, 96]");
  EXPECT_EQ(to_text(g),
            "symbol n <= 8\n"
            "input    %0 x : f32[n, 64]\n"
            "weight   %1 w : q4_0[96, 64]\n"
            "%2 = quantize(%0) : q8a[n, 64]  # quantize.0\n"
            "%3 = linear(%2, %1) : f32[n, 96]  # y\n"
            "output   %3 y\n");
}

TEST(Graph, StateHasOneNewestVersion) {
  GraphBuilder b;
  const SymbolId n = b.symbol("n", 4), pos = b.symbol("pos", 15);
  const ValueId x = b.input("x", f32({Dim::of(n), Dim(32)}));
  const ValueId cache = b.state("cache", f32({Dim(16), Dim(32)}));
  Attrs a;
  a.symbols[0] = pos;
  const ValueId next = b.call(ops::append_rows, {cache, x}, a, "cache'");
  EXPECT_NE(message_of([&] { b.call(ops::append_rows, {cache, x}, a); }).find("newer version"), std::string::npos);
  const ValueId y = b.call(ops::append_rows, {next, x}, a);
  b.output(y);
  const Graph g = b.finish();
  EXPECT_EQ(g.root_of(y), cache);
  EXPECT_EQ(g.value(next).alias_of, cache);
}

TEST(Graph, RefusesToReadAReplacedState) {
  GraphBuilder b;
  const SymbolId n = b.symbol("n", 4), pos = b.symbol("pos", 15);
  const ValueId x = b.input("x", f32({Dim::of(n), Dim(32)}));
  const ValueId cache = b.state("cache", f32({Dim(16), Dim(32)}));
  Attrs a;
  a.symbols[0] = pos;
  b.call(ops::append_rows, {cache, x}, a);
  b.output(b.call(ops::silu, {cache}));
  EXPECT_NE(message_of([&] { b.finish(); }).find("replaced"), std::string::npos);
}

TEST(Graph, NamesOpAndShapesInErrors) {
  GraphBuilder b;
  const ValueId x = b.input("x", f32({Dim(2), Dim(64)})), w = b.weight("w", f32({Dim(96), Dim(32)}));
  const std::string m = message_of([&] { b.call(ops::linear, {x, w}); });
  EXPECT_NE(m.find("linear(x: f32[2, 64], w: f32[96, 32])"), std::string::npos) << m;
  EXPECT_NE(m.find("same number of columns"), std::string::npos) << m;
  EXPECT_NE(message_of([&] { b.call(ops::append_rows, {x, x}); }).find("position"), std::string::npos);
  EXPECT_NE(message_of([&] { b.call(ops::add, {x}); }).find("takes 2 inputs"), std::string::npos);
  EXPECT_NE(message_of([&] {
              b.weight("q", {DType::f32, Layout::q8_0, {Dim(4), Dim(33)}});
            }).find("multiple of 32"),
            std::string::npos);
  EXPECT_NE(message_of([&] { b.input("z", f32({Dim(0)})); }).find("not positive"), std::string::npos);
}

TEST(Graph, FingerprintSeesWhatAPlanDependsOn) {
  const auto make = [](i64 rows, double eps, const char* name) {
    GraphBuilder b;
    const ValueId x = b.input(name, f32({Dim(rows), Dim(64)})), w = b.weight("w", f32({Dim(64)}));
    Attrs a;
    a.floats[0] = eps;
    b.output(b.call(ops::rms_norm, {x, w}, a));
    return b.finish().fingerprint();
  };
  EXPECT_EQ(make(2, 1e-5, "x"), make(2, 1e-5, "other"));
  EXPECT_NE(make(2, 1e-5, "x"), make(3, 1e-5, "x"));
  EXPECT_NE(make(2, 1e-5, "x"), make(2, 1e-6, "x"));
}

TEST(Graph, ItsBytesGrowWithItsNodes) {
  const auto bytes = [](int nodes) {
    GraphBuilder b;
    ValueId x = b.input("x", f32({Dim(2), Dim(64)}));
    for (int i = 0; i < nodes; ++i) x = b.call(ops::add, {x, x});
    b.output(x);
    return b.finish().memory_bytes();
  };
  EXPECT_GE(bytes(101) - bytes(1), 100 * (sizeof(Node) + sizeof(Value)));
  EXPECT_LE(bytes(101) - bytes(1), 100 * (sizeof(Node) + sizeof(Value) + 128));
}

}  // namespace
}  // namespace terrace
