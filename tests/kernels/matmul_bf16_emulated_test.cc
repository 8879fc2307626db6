// matmul of bf16 in pairs, VDPBF16PS emulated: checked on processors that have none.
#define TERRACE_SIMDE
#include "terrace/kernels/cpu/avx512_bf16/matmul.cc"

#include "kernels/matmul_check.h"

namespace terrace {
namespace {

using namespace matmul_check;

TEST(MatmulEmulatedAvx512Bf16, EveryFormat) {
  for (const ListedKernel& k : avx512_bf16_simde::kMatmul) {
    if (std::string_view(k.op) != "matmul") continue;
    expect_formats(k.fn, Order::pairs, k.formats, 60000);
    expect_rounding(k.fn, k.formats);
  }
}

}  // namespace
}  // namespace terrace
