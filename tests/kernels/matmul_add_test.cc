// matmul_add: what follows a product that was cut along k, with the bits of the whole.
#include <gtest/gtest.h>

#include "kernels/matmul_check.h"

namespace terrace::matmul_check {
namespace {

/// c + op(a) op(b) by `workers`, into what `c` holds or beside it.
Tensor added(KernelFn fn, const Tensor& c, Stored& a, Stored& b, const Case& shape, int workers, bool in_place) {
  Tensor base = c, out = c;
  if (!in_place) out.floats.assign(out.floats.size(), NAN);
  const TensorView to = out.view(), in[3] = {in_place ? to : base.view(), a.view(), b.view()};
  const i64 ints[4] = {shape.ta, shape.tb, shape.flat, 0};
  const u64 each = matmul_scratch(shape.n, shape.k);
  std::vector<std::byte> scratch(each * static_cast<u64>(workers) + 64);
  KernelArgs args;
  args.in = in;
  args.out = &to;
  args.ints = ints;
  args.scratch = scratch.data() + (64 - reinterpret_cast<std::uintptr_t>(scratch.data()) % 64);
  args.scratch_bytes = each * static_cast<u64>(workers);
  args.workers = workers;
  args.core_cache_bytes = 1 << 20;
  for (args.worker = workers - 1; args.worker >= 0; --args.worker) fn(args);
  return out;
}

/// Rows k0 .. k0+k-1 of what is summed over, of a transposed or not.
Case part_of(Case c, i64 k) {
  c.k = k;
  return c;
}
Tensor cut(Tensor& whole, bool rows, i64 begin, i64 count) {
  Tensor t(rows ? std::vector<i64>{count, whole.dims.back()} : std::vector<i64>{whole.rows(), count});
  for (i64 r = 0; r < t.rows(); ++r)
    for (i64 j = 0; j < t.dims.back(); ++j) t.row(r)[j] = whole.row(rows ? begin + r : r)[rows ? j : begin + j];
  return t;
}

TEST(MatmulAdd, GoesOnWhereAProductWasCut) {
  const KernelTable table = cpu_kernels(best_isa());
  int found = 0;
  for (const Kernel& k : table.all()) {
    if (k.op != "matmul_add" || k.isa == Isa::reference) continue;
    ++found;
    std::string formats;
    for (const Format& f : k.formats) formats.push_back(f.dtype == DType::bf16 ? 'h' : 'f');
    std::vector<Format> of_product(k.formats.begin() + 1, k.formats.end());
    const Kernel* product_kernel = table.find("matmul", of_product, k.isa);
    ASSERT_NE(product_kernel, nullptr) << k.name;
    ASSERT_EQ(product_kernel->isa, k.isa) << k.name;
    const i64 first = 2 * kMatmulDepth;  // also of pairs
    for (const bool ta : {false, true})
      for (const bool tb : {false, true}) {
        SCOPED_TRACE(k.name + (ta ? " T" : " N") + (tb ? "T" : "N"));
        Case whole{45, 70, first + 401, ta, tb, true, {}, {}};
        whole.formats = formats.substr(1);
        Operands o(whole);
        const Tensor want = product(product_kernel->fn, o);
        Operands head(part_of(whole, first));
        head.a = cut(o.a, ta, 0, first);
        head.b = cut(o.b, !tb, 0, first);
        const Tensor begun = product(product_kernel->fn, head);
        Tensor a = cut(o.a, ta, first, 401), b = cut(o.b, !tb, first, 401);
        Stored sa(a, formats[1]), sb(b, formats[2]);
        for (const int workers : {1, 2, 3})
          for (const bool in_place : {false, true})
            EXPECT_TRUE(
                same_bits(added(k.fn, begun, sa, sb, part_of(whole, 401), workers, in_place).floats, want.floats))
                << workers << " workers" << (in_place ? ", in place" : "");
      }
  }
  EXPECT_GE(found, 4);
}

TEST(MatmulAdd, ReferenceAdds) {
  Tensor a({1, 2}), b({2, 1}), c({1, 1});
  a.floats = {2, 3};
  b.floats = {5, 7};
  c.floats = {100};
  Stored sa(a, 'f'), sb(b, 'f');
  const Case shape{1, 1, 2, false, false, true, {}, {}};
  EXPECT_EQ(added(reference::matmul_add, c, sa, sb, shape, 1, false).floats[0], 131);
}

}  // namespace
}  // namespace terrace::matmul_check
