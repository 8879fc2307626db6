#include "terrace/engine/interpreter.h"

#include <gtest/gtest.h>

#include <cstring>

#include "terrace/core/error.h"
#include "terrace/ops/ops.h"

namespace terrace {
namespace {

std::vector<std::byte> bytes_of(const std::vector<float>& x) {
  std::vector<std::byte> b(x.size() * 4);
  std::memcpy(b.data(), x.data(), b.size());
  return b;
}
std::vector<float> floats_of(std::span<const std::byte> b) {
  std::vector<float> x(b.size() / 4);
  std::memcpy(x.data(), b.data(), b.size());
  return x;
}

/// x [n, 2] appended to a cache of 4 rows; y = x w^T.
struct Net {
  Net() {
    GraphBuilder b;
    const SymbolId n = b.symbol("n", 2), pos = b.symbol("pos", 2);
    x = b.input("x", {DType::f32, Layout::dense, {Dim::of(n), Dim(2)}});
    const ValueId w = b.weight("w", {DType::f32, Layout::dense, {Dim(3), Dim(2)}});
    cache = b.state("cache", {DType::f32, Layout::dense, {Dim(4), Dim(2)}});
    Attrs a;
    a.symbols[0] = pos;
    cache = b.call(ops::append_rows, {cache, x}, a);
    y = b.call(ops::linear, {x, w});
    b.output(y);
    b.output(cache);
    graph = b.finish();
    register_reference(kernels);
  }
  Interpreter interpreter() const {
    return Interpreter(graph, kernels, [](ValueId) { return bytes_of({1, 0, 0, 1, 1, 1}); });
  }
  void run(Interpreter& i, const std::vector<float>& in, i64 pos) const {
    const auto b = bytes_of(in);
    const InputBinding binding{x, b};
    const i64 symbols[] = {static_cast<i64>(in.size()) / 2, pos};
    i.run({symbols, {&binding, 1}});
  }
  Graph graph;
  KernelTable kernels;
  ValueId x = 0, y = 0, cache = 0;
};

TEST(Interpreter, ComputesAndKeepsState) {
  const Net net;
  Interpreter i = net.interpreter();
  net.run(i, {1, 2, 3, 4}, 0);
  EXPECT_EQ(floats_of(i.bytes(net.y)), (std::vector<float>{1, 2, 3, 3, 4, 7}));
  net.run(i, {5, 6}, 2);
  EXPECT_EQ(floats_of(i.bytes(net.y)), (std::vector<float>{5, 6, 11}));
  EXPECT_EQ(floats_of(i.bytes(net.cache)), (std::vector<float>{1, 2, 3, 4, 5, 6, 0, 0}));
  i.reset_state();
  net.run(i, {7, 8}, 1);
  EXPECT_EQ(floats_of(i.bytes(net.cache)), (std::vector<float>{0, 0, 7, 8, 0, 0, 0, 0}));
}

TEST(Interpreter, RefusesBindingsThatDoNotFit) {
  const Net net;
  Interpreter i = net.interpreter();
  EXPECT_THROW(net.run(i, {1, 2, 3, 4, 5, 6}, 0), Error);  // three rows
  EXPECT_THROW(net.run(i, {1, 2}, 3), Error);              // beyond the bound
  EXPECT_THROW(i.run({}), Error);
  const i64 symbols[] = {1, 0};
  EXPECT_THROW(i.run({symbols, {}}), Error);
  EXPECT_THROW(Interpreter(net.graph, net.kernels, [](ValueId) { return bytes_of({1}); }), Error);
  EXPECT_THROW(Interpreter(net.graph, KernelTable{}, [](ValueId) { return bytes_of({1, 0, 0, 1, 1, 1}); }), Error);
}

TEST(Totals, AddUp) {
  Totals a, b;
  a.seconds = 1;
  b.seconds = 2;
  a.read[1] = Bytes{3};
  b.read[1] = Bytes{4};
  b.transferred[0] = Bytes{5};
  b.repetitions = 2;
  b.known_joules = Joules{0.5};
  a += b;
  EXPECT_EQ(a.seconds, 3);
  EXPECT_EQ(a.read[1], Bytes{7});
  EXPECT_EQ(a.transferred[0], Bytes{5});
  EXPECT_EQ(a.repetitions, 2);
  EXPECT_EQ(a.known_joules, Joules{0.5});
}

}  // namespace
}  // namespace terrace
