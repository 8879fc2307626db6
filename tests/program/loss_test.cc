// The loss over a vocabulary, without the logits ever being there whole.
#include <gtest/gtest.h>

#include <cmath>
#include <memory>
#include <random>

#include "program/bodies.h"
#include "support/planning.h"
#include "terrace/core/error.h"
#include "terrace/nn/loss.h"
#include "terrace/ops/gradient.h"
#include "terrace/ops/ops.h"
#include "terrace/program/program.h"

namespace terrace {
namespace {

using testing::bytes_of;
using testing::floats;

/// Loss and gradients of a head alone, with `rows` of logits at once; `half`: of x rounded to bf16.
struct Head {
  Head(i64 rows, i64 batch, i64 length, i64 k, i64 v, bool half = false) {
    GraphBuilder b;
    const ValueId x = b.input("x", {DType::f32, Layout::dense, {Dim(batch), Dim(length), Dim(k)}});
    const ValueId w = b.input("w", {DType::f32, Layout::dense, {Dim(v), Dim(k)}});
    const ValueId targets = b.input("targets", {DType::i32, Layout::dense, {Dim(batch), Dim(length)}});
    Attrs to_bf16;
    to_bf16.ints[0] = 1;
    const ValueId hidden = half ? b.call(ops::cast, {x}, to_bf16) : x;
    const ValueId loss = nn::linear_cross_entropy(b, hidden, w, targets, {true, true, rows});
    const ValueId wrt[] = {x, w};
    goals = gradients(b, loss, wrt);
    goals.push_back(loss);
    for (ValueId g : goals) b.output(g);
    PlanRequest request;
    request.bodies = {testing::body("step", goals)};
    request.isa = best_isa();
    program = std::make_unique<Program>(compile(b.finish(), testing::small_machine(64), request));
    std::mt19937 rng(7);
    std::normal_distribution<float> normal;
    values.resize(2);
    for (std::size_t i = 0; i < 2; ++i) {
      values[i].resize(static_cast<std::size_t>(i == 0 ? batch * length * k : v * k));
      for (float& f : values[i]) f = normal(rng);
    }
    ids = testing::random_ids(batch * length, v, 3);
    in = {{x, std::as_bytes(std::span(values[0]))},
          {w, std::as_bytes(std::span(values[1]))},
          {targets, std::as_bytes(std::span(ids))}};
  }
  std::vector<float> run() {
    program->load({});
    program->run("step", {{}, in});
    std::vector<float> all;
    for (ValueId g : goals)
      for (float f : floats(bytes_of(program->output(g)))) all.push_back(f);
    return all;
  }
  std::vector<ValueId> goals;
  std::unique_ptr<Program> program;
  std::vector<std::vector<float>> values;
  std::vector<i32> ids;
  std::vector<InputBinding> in;
};

TEST(LinearCrossEntropy, ChunksGiveTheBitsOfTheWhole) {
  const std::vector<float> whole = Head(1 << 20, 3, 320, 20, 70).run();
  EXPECT_EQ(Head(384, 1, 960, 20, 70).run().size(), whole.size());
  EXPECT_EQ(Head(384, 1, 960, 20, 70).run(), Head(1 << 20, 1, 960, 20, 70).run());  // 384, 384, 192 rows
  const std::vector<float> elements = Head(320, 3, 320, 20, 70).run();              // sums cut elsewhere
  ASSERT_EQ(elements.size(), whole.size());
  for (std::size_t i = 0; i < whole.size(); ++i) EXPECT_NEAR(elements[i], whole[i], 1e-6) << i;
}

TEST(LinearCrossEntropy, OfBf16) {
  const std::vector<float> want = Head(1 << 20, 3, 320, 20, 70).run();
  for (const i64 rows : {384, 1 << 20}) {
    const std::vector<float> got = Head(rows, 3, 320, 20, 70, true).run();
    ASSERT_EQ(got.size(), want.size());
    EXPECT_NEAR(got.back(), want.back(), 1e-2 * want.back());
    double off = 0, norm = 0;  // of the gradients
    for (std::size_t i = 0; i + 1 < want.size(); ++i) {
      off += std::pow(got[i] - want[i], 2);
      norm += std::pow(want[i], 2);
    }
    EXPECT_LT(std::sqrt(off), 0.02 * std::sqrt(norm)) << rows;
    EXPECT_GT(std::sqrt(off), 1e-4 * std::sqrt(norm)) << "nothing was rounded";
  }
}

TEST(LinearCrossEntropy, LogitsAreNeverThereWhole) {
  const auto memory = [](i64 rows) {
    const Head head(rows, 2, 512, 8, 2048);
    return head.program->plan().arenas[0].bytes.count;
  };
  const u64 logits = u64{4} * 1024 * 2048;
  EXPECT_GT(memory(1024), logits);
  EXPECT_LT(memory(64), logits / 4);
}

TEST(LinearCrossEntropy, TargetsBeyondTheVocabularyAreRefused) {
  Head head(2, 2, 3, 4, 5);
  head.ids[4] = 5;
  try {
    head.run();
    FAIL();
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), ErrorKind::usage);
    EXPECT_EQ(std::string(e.what()), "targets: id 5 is not in 0..4");
  }
}

}  // namespace
}  // namespace terrace
