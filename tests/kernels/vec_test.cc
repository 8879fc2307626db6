#include "terrace/kernels/cpu/portable/vec.h"
// The body needs the vectors.
#include "terrace/kernels/cpu/body/math.h"
// The check needs the body.
#include "kernels/vec_check.h"

TEST(PortableVector, ExpWithinTwoUnits) { terrace::expect_exp(1009); }
TEST(PortableVector, Halves) { terrace::expect_halves(); }
