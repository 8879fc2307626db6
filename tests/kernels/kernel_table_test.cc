#include <gtest/gtest.h>

#include <set>

#include "terrace/kernels/kernel.h"

namespace terrace {
namespace {

constexpr Format kF32{DType::f32, Layout::dense};
constexpr Format kF16{DType::f16, Layout::dense};

void nothing(const KernelArgs&) {}

KernelTable small_table() {
  KernelTable t;
  t.add({"op", {}, Isa::reference, nothing, "op.reference"});
  t.add({"op", {kF32, kF32}, Isa::avx2, nothing, "op.f32.avx2"});
  t.add({"op", {}, Isa::portable, nothing, "op.portable"});
  t.add({"op", {kF32, kF32}, Isa::portable, nothing, "op.f32.portable"});
  t.add({"other", {}, Isa::avx512, nothing, "other.avx512"});
  return t;
}

std::string found(const Kernel* k) { return k == nullptr ? "none" : k->name; }

TEST(KernelTable, FindsTheBestThatFits) {
  const KernelTable t = small_table();
  EXPECT_EQ(found(t.find("op", {kF32, kF32}, Isa::avx512)), "op.f32.avx2");
  EXPECT_EQ(found(t.find("op", {kF32, kF32}, Isa::avx2)), "op.f32.avx2");
  EXPECT_EQ(found(t.find("op", {kF32, kF32}, Isa::portable)), "op.f32.portable");
  EXPECT_EQ(found(t.find("op", {kF16, kF32}, Isa::avx512)), "op.portable");
  EXPECT_EQ(found(t.find("other", {kF32}, Isa::avx2)), "none");
  EXPECT_EQ(found(t.find("third", {kF32}, Isa::avx2)), "none");
}

TEST(KernelTable, ReferenceOnlyWhenAskedFor) {
  const KernelTable t = small_table();
  EXPECT_EQ(found(t.find("op", {kF16}, Isa::reference)), "op.reference");
  KernelTable only;
  only.add({"op", {}, Isa::reference, nothing, "op.reference"});
  EXPECT_EQ(only.find("op", {kF32}, Isa::avx512), nullptr);
}

TEST(KernelTable, FindsByName) {
  const KernelTable t = small_table();
  EXPECT_EQ(t.find_by_name("op.f32.portable"), t.find("op", {kF32, kF32}, Isa::portable));
  EXPECT_EQ(t.find_by_name("op.f32"), nullptr);
}

TEST(KernelTable, CpuKernelsStopAtTheIsa) {
  for (const Isa isa : {Isa::reference, Isa::portable, Isa::avx2, Isa::avx512, Isa::avx512_bf16}) {
    std::set<std::string> names;
    bool at_top = false;
    const KernelTable table = cpu_kernels(isa);
    for (const Kernel& k : table.all()) {
      EXPECT_LE(k.isa, isa) << k.name;
      EXPECT_LE(k.isa, std::max(best_isa(), Isa::reference)) << k.name;
      EXPECT_TRUE(names.insert(k.name).second) << "twice: " << k.name;
      EXPECT_NE(k.fn, nullptr) << k.name;
      EXPECT_TRUE(k.name.starts_with(k.op + ".") && k.name.ends_with(name_of(k.isa))) << k.name;
      at_top |= k.isa == std::min(isa, best_isa());
    }
    EXPECT_TRUE(at_top) << name_of(isa);
  }
}

TEST(KernelTable, EveryReferenceOpHasAPortableKernel) {
  const KernelTable table = cpu_kernels(Isa::portable);
  std::set<std::string> portable, reference;
  for (const Kernel& k : table.all()) (k.isa == Isa::portable ? portable : reference).insert(k.op);
  EXPECT_EQ(portable, reference);
}

TEST(Isa, NamesGoBothWays) {
  for (const Isa isa : {Isa::reference, Isa::portable, Isa::avx2, Isa::avx512, Isa::avx512_bf16}) {
    Isa parsed = Isa::reference;
    EXPECT_TRUE(parse(name_of(isa), parsed));
    EXPECT_EQ(parsed, isa);
  }
  Isa none{};
  EXPECT_FALSE(parse("avx", none));
}

}  // namespace
}  // namespace terrace
