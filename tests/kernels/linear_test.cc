// linear for this processor's instruction sets.
#include "terrace/kernels/cpu/linear.h"

#include <set>

#include "kernels/linear_check.h"

namespace terrace {
namespace {

using linear_check::Subject;

std::vector<Subject> subjects() {
  KernelTable table;
  register_linear_portable(table);
  if (best_isa() >= Isa::avx2) register_linear_avx2(table);
  if (best_isa() >= Isa::avx512) register_linear_avx512(table);
  std::vector<Subject> out;
  for (const Kernel& k : table.all()) out.push_back({k.name, k.formats[0], k.formats[1], k.fn});
  return out;
}

class Linear : public ::testing::TestWithParam<Subject> {};

TEST_P(Linear, GivesTheProductAndTheSameBitsHoweverCut) { linear_check::expect_all(GetParam()); }

INSTANTIATE_TEST_SUITE_P(Kernels, Linear, ::testing::ValuesIn(subjects()), [](const auto& subject) {
  std::string name = subject.param.name;
  for (char& c : name) c = c == '.' ? '_' : c;
  return name;
});

#if defined(__x86_64__)
TEST(LinearTable, EveryIsaHasEveryPairOfFormats) {
  KernelTable table;
  register_linear_portable(table);
  register_linear_avx2(table);
  register_linear_avx512(table);
  std::set<std::string> names;
  for (const Kernel& k : table.all()) {
    EXPECT_EQ(k.op, "linear");
    EXPECT_EQ(k.formats.size(), 3u);
    EXPECT_TRUE(names.insert(k.name).second) << k.name;
  }
  for (const char* isa : {"portable", "avx2", "avx512"}) {
    for (const char* f :
         {"q8a.q8_0", "q8a.q4_0", "q8a.q4_1", "f32.f32", "f32.f16", "f32.q8_0", "f32.q4_0", "f32.q4_1"}) {
      EXPECT_EQ(names.count(std::string("linear.") + f + "." + isa), 1u) << f << " " << isa;
    }
  }
  EXPECT_EQ(names.size(), 24u);
}

TEST(LinearAvx512, AgreesWithAvx2BitForBitOnBlocks) {
  if (best_isa() < Isa::avx512) GTEST_SKIP() << "this processor has no AVX-512";
  using namespace linear_check;
  const struct {
    Layout w;
    KernelFn a, b;
  } pairs[] = {{Layout::q8_0, avx2::linear_q8a_q8_0, avx512::linear_q8a_q8_0},
               {Layout::q4_0, avx2::linear_q8a_q4_0, avx512::linear_q8a_q4_0},
               {Layout::q4_1, avx2::linear_q8a_q4_1, avx512::linear_q8a_q4_1}};
  for (const auto& p : pairs) {
    Rows x(kQ8a, 9, 416), w(blocks(p.w), 77, 416), y(kF32, 9, 77), z(kF32, 9, 77);
    x.fill(6);
    w.fill(7);
    run(p.a, x.view(0, 9), w.view(0, 77), y.view(0, 9), 1);
    run(p.b, x.view(0, 9), w.view(0, 77), z.view(0, 9), 1);
    EXPECT_TRUE(y.bytes == z.bytes) << name_of(p.w);
  }
}
#endif

}  // namespace
}  // namespace terrace
