// The ledger, by hand; what it says of flash attention and of the standard one.
#include "kernels/flash_check.h"

#include "terrace/kernels/cpu/ledger.h"
#include "terrace/kernels/cpu/standard_attention.h"

namespace terrace {
namespace {

using namespace flash_check;
using L = AttentionLedger;

struct alignas(64) Line {
  std::byte bytes[64];
};

void expect_traffic(const L::Traffic& t, u64 fetched, u64 claimed, u64 returned) {
  EXPECT_EQ(t.fetched, fetched * 64);
  EXPECT_EQ(t.claimed, claimed * 64);
  EXPECT_EQ(t.returned, returned * 64);
}

TEST(AttentionLedger, EvictsWhatWasTouchedLongestAgo) {
  std::vector<Line> x(4);
  L ledger{Bytes{3 * 64 + 63}};  // three lines
  const auto read = [&](int i) {
    ledger.touch(AttentionOperand::q, &x[static_cast<std::size_t>(i)], 1, 64, 0, L::read);
  };
  for (int i : {0, 1, 2, 0, 1, 2}) read(i);
  expect_traffic(ledger.of(AttentionOperand::q), 3, 0, 0);
  for (int i : {3, 1, 2, 3}) read(i);  // 3 evicts 0
  expect_traffic(ledger.of(AttentionOperand::q), 4, 0, 0);
  for (int i : {0, 2, 3}) read(i);  // 0 evicts 1
  expect_traffic(ledger.of(AttentionOperand::q), 5, 0, 0);
  for (int i : {0, 1, 2, 3, 0, 1, 2, 3}) read(i);  // a cyclic scan of one line too many misses each time but the first
  expect_traffic(ledger.of(AttentionOperand::q), 5 + 7, 0, 0);
}

TEST(AttentionLedger, WritesBackWhatWasWritten) {
  std::vector<Line> x(4);
  L ledger{Bytes{2 * 64}};
  ledger.touch(AttentionOperand::o, x.data(), 1, 64, 0, L::write);         // whole: not fetched
  ledger.touch(AttentionOperand::o, x.data() + 1, 1, 60, 0, L::write);     // a part: fetched
  ledger.touch(AttentionOperand::d_q, x.data() + 2, 1, 64, 0, L::update);  // evicts the first
  expect_traffic(ledger.of(AttentionOperand::o), 1, 1, 1);
  expect_traffic(ledger.of(AttentionOperand::d_q), 1, 0, 0);
  ledger.touch(AttentionOperand::q, x.data() + 2, 2, 64, 64, L::read);  // line 2 is there, 3 evicts 1
  expect_traffic(ledger.of(AttentionOperand::q), 1, 0, 0);
  expect_traffic(ledger.of(AttentionOperand::o), 1, 1, 2);
  ledger.flush();
  expect_traffic(ledger.of(AttentionOperand::d_q), 1, 0, 1);
  expect_traffic(ledger.total(), 3, 1, 3);
  EXPECT_EQ(ledger.total().moved(), 6 * 64u);
  ledger.touch(AttentionOperand::q, x.data() + 2, 1, 1, 0, L::read);  // empty again
  expect_traffic(ledger.of(AttentionOperand::q), 2, 0, 0);
}

TEST(AttentionLedger, RowsThatShareALineMoveItOnce) {
  std::vector<Line> x(8);
  L ledger{Bytes{1 << 20}};
  ledger.touch(AttentionOperand::k, x[0].bytes + 32, 4, 32, 64, L::read);  // half of each of four lines
  ledger.touch(AttentionOperand::v, x[0].bytes, 4, 32, 64, L::read);       // the other halves are there
  ledger.touch(AttentionOperand::k, x[4].bytes + 60, 1, 8, 0, L::read);    // across a border
  expect_traffic(ledger.of(AttentionOperand::k), 6, 0, 0);
  expect_traffic(ledger.of(AttentionOperand::v), 0, 0, 0);
}

/// Operands whose memory is aligned to lines, one head a row wide.
struct Aligned {
  std::vector<Line> memory;
  TensorView view;
  Aligned(i64 n, i64 columns) : memory(static_cast<std::size_t>(n * columns / 16)) {
    view.data = memory[0].bytes;
    view.rank = 3;
    const i64 dims[3] = {1, n, columns}, strides[3] = {4 * n * columns, 4 * columns, 4};
    std::copy_n(dims, 3, view.dim);
    std::copy_n(strides, 3, view.stride);
    std::mt19937 rng(3);
    std::normal_distribution<float> normal;
    for (i64 i = 0; i < n * columns; ++i) floats()[i] = normal(rng);
  }
  float* floats() { return reinterpret_cast<float*>(view.data); }
};

using Counted = void (*)(const KernelArgs&, L&);

/// What both directions of flash attention, or of the standard one, move.
struct Moved {
  L forward, backward;
};
Moved count(const Case& c, u64 cache, Counted attention, Counted grad) {
  const i64 wide = c.heads * c.size;
  Aligned q(c.n, wide), k(c.m, wide), v(c.m, wide), o(c.n, wide), lse(c.heads, c.n), d_o(c.n, wide), dq(c.n, wide),
      dk(c.m, wide), dv(c.m, wide);
  Moved m{L{Bytes{cache}}, L{Bytes{cache}}};
  const u64 scratch = std::max(flash_scratch(c.size, c.n, c.m), flash_grad_scratch(c.size, c.n));
  std::vector<Line> room(scratch / 64);
  const auto call = [&](Counted fn, std::vector<TensorView> in, std::vector<TensorView> out, L& ledger) {
    run([&](KernelArgs a) { a.scratch = room[0].bytes, a.scratch_bytes = scratch, fn(a, ledger); }, c, in, out, 0, 1);
    ledger.flush();
  };
  call(attention, {q.view, k.view, v.view}, {o.view, lse.view}, m.forward);
  call(grad, {q.view, k.view, v.view, o.view, lse.view, d_o.view}, {dq.view, dk.view, dv.view}, m.backward);
  return m;
}

TEST(FlashLedger, EachOperandMovesOnceWhereAllFits) {
  for (const auto& [attention, grad] :
       {std::array<Counted, 2>{portable::flash_attention_counted, portable::flash_attention_grad_counted},
        {avx2::flash_attention_counted, avx2::flash_attention_grad_counted}}) {
    if (attention == avx2::flash_attention_counted && best_isa() < Isa::avx2) continue;
    for (const bool causal : {false, true}) {
      const Case c{1, 2, 2, 16, 160, 160, causal};
      const u64 lines = 160 * 2 * 16 / 16, lse = 2 * 160 / 16;
      Moved m = count(c, 1 << 24, attention, grad);
      for (const AttentionOperand x : {AttentionOperand::q, AttentionOperand::k, AttentionOperand::v})
        expect_traffic(m.forward.of(x), lines, 0, 0);
      expect_traffic(m.forward.of(AttentionOperand::o), 0, lines, lines);
      expect_traffic(m.forward.of(AttentionOperand::lse), 0, lse, lse);
      for (const AttentionOperand x :
           {AttentionOperand::q, AttentionOperand::k, AttentionOperand::v, AttentionOperand::o, AttentionOperand::d_o})
        expect_traffic(m.backward.of(x), lines, 0, 0);
      expect_traffic(m.backward.of(AttentionOperand::lse), lse, 0, 0);
      for (const AttentionOperand x : {AttentionOperand::d_q, AttentionOperand::d_k, AttentionOperand::d_v})
        expect_traffic(m.backward.of(x), 0, lines, lines);
      EXPECT_LE(m.forward.of(AttentionOperand::scratch).returned, flash_scratch(16, 160, 160));
      EXPECT_LE(m.backward.of(AttentionOperand::scratch).returned, flash_grad_scratch(16, 160));
      EXPECT_GT(m.backward.of(AttentionOperand::scratch).returned, 0u);
    }
  }
}

TEST(FlashLedger, KeysThatDoNotFitComeOnceABlock) {
  // 2048 keys of 64 floats are 512 KiB, and values as many: two blocks of 1024 queries read them twice.
  Moved m = count({1, 1, 1, 64, 2048, 2048}, 1 << 20, portable::flash_attention_counted, [](const KernelArgs&, L&) {});
  for (const AttentionOperand x : {AttentionOperand::k, AttentionOperand::v})
    expect_traffic(m.forward.of(x), 2 * 2048 * 4, 0, 0);
}

std::vector<Line> scores[3];
float* scores_of(const KernelArgs& a, int which) {
  scores[which].resize(static_cast<std::size_t>(a.ints[0] * a.in[0].dim[1] * a.in[1].dim[1] / 16));
  return reinterpret_cast<float*>(scores[which].data());
}
void standard(const KernelArgs& a, L& ledger) { standard_attention(a, scores_of(a, 0), scores_of(a, 1), ledger); }
void standard_grad(const KernelArgs& a, L& ledger) {
  standard_attention_grad(a, scores_of(a, 1), scores_of(a, 0), scores_of(a, 2), ledger);
}

TEST(FlashLedger, MovesLittleMoreThanItMustAndTheStandardOneElevenPassesOverTheScores) {
  // Two of the sixteen heads of GPT-2 medium's attention.
  const Case c{1, 2, 2, 64, 1024, 1024};
  const u64 operand = 4 * 1024 * 128, lse = 4 * 2 * 1024, least = 12 * operand + 2 * lse;
  const bool fast = best_isa() >= Isa::avx2;
  Moved flash = count(c, 1 << 20, fast ? avx2::flash_attention_counted : portable::flash_attention_counted,
                      fast ? avx2::flash_attention_grad_counted : portable::flash_attention_grad_counted);
  const u64 moved = flash.forward.total().moved() + flash.backward.total().moved();
  EXPECT_GE(moved, least);
  EXPECT_LE(moved, least * 11 / 10);
  Moved other = count(c, 1 << 20, standard, standard_grad);
  const u64 pass = 4 * 2 * 1024 * 1024;
  EXPECT_EQ(other.forward.of(AttentionOperand::scores).moved() + other.backward.of(AttentionOperand::scores).moved(),
            11 * pass);
  EXPECT_GE(other.forward.total().moved() + other.backward.total().moved(), moved * 83 / 10);
  for (std::vector<Line>& s : scores) std::vector<Line>().swap(s);
}

TEST(FlashLedger, TheStandardAttentionIsRight) {
  for (const bool causal : {false, true}) {
    const Case c{2, 4, 2, 20, 33, 70, causal};
    Operands x(c, {9, 3}), want = x;
    L ledger{Bytes{1 << 20}};
    run(reference::flash_attention, c, {want.q.view(), want.k.view(), want.v.view()}, {want.o.view(), want.lse.view()},
        0, 1);
    run(reference::flash_attention_grad, c,
        {want.q.view(), want.k.view(), want.v.view(), want.o.view(), want.lse.view(), want.d_o.view()},
        {want.dq.view(), want.dk.view(), want.dv.view()}, 0, 1);
    std::vector<float> s[3];
    for (std::vector<float>& all : s) all.resize(2 * 4 * 33 * 70);
    forward([&](const KernelArgs& a) { standard_attention(a, s[0].data(), s[1].data(), ledger); }, x);
    backward([&](const KernelArgs& a) { standard_attention_grad(a, s[1].data(), s[0].data(), s[2].data(), ledger); },
             x);
    const std::array<Tensor*, 2> pairs[] = {{&x.o, &want.o}, {&x.dq, &want.dq}, {&x.dk, &want.dk}, {&x.dv, &want.dv}};
    for (const auto& [got, right] : pairs)
      for (i64 i = 0; i < got->rows(); ++i)
        for (i64 e = 0; e < got->dims.back(); ++e) ASSERT_NEAR(got->row(i)[e], right->row(i)[e], 1e-5) << i << " " << e;
  }
}

}  // namespace
}  // namespace terrace
