// Two models in one process under one budget.
#include <gtest/gtest.h>

#include "support/tiny_llama.h"
#include "support/tool.h"
#include "terrace/core/error.h"
#include "terrace/machine/toml.h"
#include "terrace/program/text_model.h"

namespace terrace {
namespace {

class TwoModels : public ::testing::Test {
 protected:
  void SetUp() override {
    testing::TinyLlama m;
    m.layers = 4;
    write_tiny_llama(path_, m);
    options_.path = path_;
    options_.context = 64;
  }
  Bytes total(TextModel& m) const { return m.plan().total_bytes(machine_.main_memory()); }
  std::vector<i32> ids(TextModel& m) const {
    m.load({});
    GenerateOptions g;
    g.max_tokens = 8;
    g.ignore_eos = true;
    return m.generate(m.tokenizer().encode("Once", false), g).output_ids;
  }

  testing::TemporaryFolder folder_;
  std::string path_ = folder_ / "m.gguf";
  Machine machine_ = machine::load(std::string(TERRACE_SOURCE_DIR) + "/machines/raspberry-pi-5.toml");
  TextOptions options_;
};

TEST_F(TwoModels, TheAccountOfTheSecondHoldsTheFirst) {
  TextModel first(options_, machine_), alone(options_, machine_);
  EXPECT_LT(first.bytes_beside(), total(first));  // the program's own pages are there once
  TextOptions o = options_;
  o.beside = first.bytes_beside();
  TextModel second(o, machine_);
  EXPECT_EQ(total(second).count, total(alone).count + first.bytes_beside().count);
  EXPECT_EQ(second.bytes_beside().count, alone.bytes_beside().count);
  EXPECT_EQ(second.plan().smallest_budget.count, alone.plan().smallest_budget.count + first.bytes_beside().count);
}

TEST_F(TwoModels, BothKeepOneBudgetAndSayTheSame) {
  TextModel free(options_, machine_);
  const std::vector<i32> expected = ids(free);
  const Bytes least = free.plan().smallest_budget;
  TextOptions o = options_;
  o.budget = least;
  TextModel first(o, machine_);
  o.beside = first.bytes_beside();
  o.budget = least + o.beside;  // the least for both
  TextModel second(o, machine_);
  EXPECT_LE(total(second), *o.budget);
  EXPECT_EQ(ids(first), expected);
  EXPECT_EQ(ids(second), expected);
  o.budget = least + o.beside - Bytes{1};
  try {
    TextModel refused(o, machine_);
    ADD_FAILURE() << "planned within less than the least";
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), ErrorKind::does_not_fit);
    EXPECT_EQ(e.smallest_budget().count, least.count + o.beside.count);
  }
}

}  // namespace
}  // namespace terrace
