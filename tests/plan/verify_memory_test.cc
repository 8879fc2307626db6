// What the verifier says of bytes: overlaps, arenas, budgets, alignment, and what nobody accounts for.
#include <functional>

#include "plan/verify_fixture.h"
#include "terrace/plan/verify.h"

namespace terrace {
namespace {

using P = testing::HandPlaces;
using S = testing::HandSteps;
using testing::text;

class VerifyMemoryTest : public testing::VerifyFixture {
 protected:
  /// A race over bytes that both placements have, whose lifetimes do not meet: order is all that is missing.
  bool races_between(u32 a, u32 b) {
    const Placement &p = place(a), &q = place(b);
    EXPECT_TRUE(p.death < q.birth || q.death < p.birth);
    const auto names = [](const std::string& what, u32 i) {
      return what.find("placement " + std::to_string(i) + " ") != what.npos;
    };
    const auto findings = check();
    bool found = false;
    for (const Finding& f : findings) {
      EXPECT_NE(f.defect, Defect::overlap) << f.what;
      // One of the two is named. Neither has a race of its own.
      found = found || (f.defect == Defect::race && (names(f.what, a) || names(f.what, b)));
    }
    if (!found) ADD_FAILURE() << "no such race among:\n" << text(findings);
    return found;
  }
};

TEST_F(VerifyMemoryTest, RaceOfScratch) {
  place(P::staging).offset = place(P::y).offset + 512;  // in bytes of y, which is made when the gather has ended
  EXPECT_EQ(text(check()), "");
  drop(prompt(), S::linear_pinned, 0);  // the edge that says so
  EXPECT_TRUE(races_between(P::staging, P::y));
}

TEST_F(VerifyMemoryTest, RaceBetweenLifetimes) {
  ASSERT_EQ(place(P::y).offset, place(P::o).offset);  // o is made when y has been used
  drop(prompt(), S::append, 0);                       // now attention does not wait for add, which reads y
  EXPECT_TRUE(races_between(P::y, P::o));
}

TEST_F(VerifyMemoryTest, OverlapOfLifetimes) {
  place(P::z).offset = place(P::staging).offset;  // the scratch of attention lies there as well
  EXPECT_TRUE(finds(Defect::overlap));
}

TEST_F(VerifyMemoryTest, ResultsTakeOverDyingBytesOnlyWhereTheOpAllowsIt) {
  std::swap(place(P::z).offset, place(P::o).offset);  // z = y + x now lies where y does, which dies there
  ASSERT_EQ(place(P::z).offset, place(P::y).offset);
  EXPECT_TRUE(check().empty()) << text(check());
  const u64 apart = place(P::o).offset;
  place(P::o).offset = place(P::z).offset;  // z dies in attention, which reads it for all heads while it writes
  EXPECT_TRUE(finds(Defect::overlap));
  place(P::o).offset = apart;
  place(P::z).offset += 64;  // half over y
  EXPECT_TRUE(finds(Defect::overlap));
}

TEST_F(VerifyMemoryTest, OverlapOfPersistent) {
  const u64 offset = place(P::cache).offset;
  place(P::cache).offset = place(P::pinned).offset;
  EXPECT_TRUE(finds(Defect::overlap));
  place(P::cache).offset = offset;
  place(P::ids).offset = place(P::x).offset;
  EXPECT_TRUE(finds(Defect::overlap));
}

TEST_F(VerifyMemoryTest, OverlapOfPadding) {
  place(P::ids).offset = place(P::pinned).offset - 16;  // where the granule before the payload lands
  EXPECT_TRUE(finds(Defect::overlap));
}

TEST_F(VerifyMemoryTest, OverlapInUse) {
  place(P::o).offset = place(P::z).offset;  // written while z is read
  EXPECT_TRUE(finds(Defect::overlap));
}

TEST_F(VerifyMemoryTest, OutsideArena) {
  place(P::scratch).offset = 128 << 10;
  EXPECT_TRUE(finds(Defect::outside_arena));
  place(P::scratch).offset = ~u64{0} - 63;
  EXPECT_TRUE(finds(Defect::outside_arena));
}

TEST_F(VerifyMemoryTest, ElsewhereInTheFile) {
  place(P::file1).offset += 512;
  EXPECT_TRUE(finds(Defect::outside_arena));
}

TEST_F(VerifyMemoryTest, BeyondTheFile) {
  plan.files[0].bytes -= 1_B;
  EXPECT_TRUE(finds(Defect::outside_arena));
}

TEST_F(VerifyMemoryTest, OverBudget) {
  plan.reserves[0].bytes = plan.budget[0].bytes - plan.arenas[0].bytes;
  EXPECT_EQ(text(check()), "");
  plan.reserves[0].bytes += 1_B;
  EXPECT_TRUE(finds(Defect::over_budget));
  plan.reserves[0].bytes = Bytes{~u64{0}};  // sums must not wrap
  EXPECT_TRUE(finds(Defect::over_budget));
}

TEST_F(VerifyMemoryTest, OverCapacity) {
  plan.budget.clear();
  EXPECT_EQ(text(check()), "");
  machine.tiers[0].capacity = 128_KiB;
  EXPECT_TRUE(finds(Defect::over_budget));
}

TEST_F(VerifyMemoryTest, Misaligned) {
  place(P::ring1).offset += 4;
  EXPECT_TRUE(finds(Defect::misaligned));
  place(P::ring1).offset -= 4;
  --place(P::ring1).pad_after;
  EXPECT_TRUE(finds(Defect::misaligned));
  ++place(P::ring1).pad_after;
  place(P::staging).offset += 64;
  EXPECT_TRUE(finds(Defect::misaligned));
  place(P::staging).offset -= 64;
  machine.tiers[1].granule = 4096_B;  // the plan's is 512
  EXPECT_TRUE(finds(Defect::misaligned));
}

TEST_F(VerifyMemoryTest, Unaccounted) {
  const std::vector<std::function<void()>> breaks = {
      [&] { place(P::x).bytes -= 1_B; },           [&] { place(P::ring0).bytes += 256_B; },
      [&] { place(P::staging).bytes -= 1_B; },     [&] { place(P::scratch).bytes = Bytes{64}; },
      [&] { step(S::attention).scratch = kNone; }, [&] { place(P::x).death = S::linear2; },
      [&] { place(P::z).birth = S::append; },      [&] { step(S::gather).scratch = kNone; },
      [&] { step(S::attention).scratch = P::x; },  [&] { plan.arenas[0].bytes += 1_MiB; },
      [&] { place(P::staging).tier = 1; }};
  for (std::size_t i = 0; i < breaks.size(); ++i) {
    const Plan sound = plan;
    breaks[i]();
    EXPECT_TRUE(finds(Defect::unaccounted)) << "case " << i;
    plan = sound;
  }
}

TEST_F(VerifyMemoryTest, OutputDiesEarly) {
  Step idle = step(S::add);  // one more step, after the output
  prompt().steps.push_back(idle);
  EXPECT_TRUE(finds(Defect::unaccounted));
}

TEST_F(VerifyMemoryTest, WeightInNoFile) {
  weights.clear();
  EXPECT_TRUE(finds(Defect::outside_arena));
}

TEST_F(VerifyMemoryTest, MisalignedElements) {
  place(P::x).offset += 2;
  EXPECT_TRUE(finds(Defect::misaligned));
  place(P::x).offset -= 2;
  place(P::scratch).offset += 16;
  EXPECT_TRUE(finds(Defect::misaligned));
}

TEST_F(VerifyMemoryTest, OutputOutlivesTheLastStep) {
  prompt().steps.push_back(step(S::add));
  for (u32 p : {P::x, P::y, P::z}) place(p).death = S::count;  // so that only the output's own end is wrong
  EXPECT_TRUE(finds(Defect::unaccounted));
}

TEST_F(VerifyMemoryTest, BlockReplacedBeforeItsReader) {
  edge(S::bring2, 0).of = S::gather;  // block 2 lands in block 0's slot, and the reader of block 0 waits for that
  edge(S::linear0, 1).of = S::bring2;
  EXPECT_TRUE(finds(Defect::overlap));
}

}  // namespace
}  // namespace terrace
