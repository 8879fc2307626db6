#include "support/allocations.h"

#include <gtest/gtest.h>

#include <memory>

namespace terrace::testing {

TEST(Allocations, AreCounted) {
  const long before = allocations();
  const std::unique_ptr<int> p(new int(1));
  EXPECT_EQ(allocations(), before + *p);
}

}  // namespace terrace::testing
