// matmul with weights for this processor's instruction sets.
#include "kernels/matmul_weights_check.h"

namespace terrace {
namespace {

class MatmulWeights : public ::testing::TestWithParam<Kernel> {};

std::vector<Kernel> all() {
  KernelTable table;
  register_matmul_weights_portable(table);
  if (best_isa() >= Isa::avx2) register_matmul_weights_avx2(table);
  if (best_isa() >= Isa::avx512) register_matmul_weights_avx512(table);
  return table.all();
}

TEST_P(MatmulWeights, GivesTheProductInTheStatedOrderHoweverCut) {
  const Kernel& k = GetParam();
  ASSERT_EQ(k.formats.size(), 3u);
  matmul_weights_check::expect_all(
      k.fn, k.isa == Isa::portable ? matmul_check::Order::plain : matmul_check::Order::fused, k.formats[1]);
}

INSTANTIATE_TEST_SUITE_P(Kernels, MatmulWeights, ::testing::ValuesIn(all()), [](const auto& kernel) {
  std::string name = kernel.param.name;
  for (char& c : name) c = c == '.' ? '_' : c;
  return name;
});

TEST(MatmulWeightsTable, EveryFormatOfFilesIsThere) {
  const KernelTable table = cpu_kernels(Isa::portable);
  for (const char* w : {"f16", "q8_0", "q4_0", "q4_1"})
    EXPECT_NE(table.find_by_name(std::string("matmul.f32.") + w + ".portable"), nullptr) << w;
}

}  // namespace
}  // namespace terrace
