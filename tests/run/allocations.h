// Counts calls of operator new in this program (allocations_test.cc replaces it).
#pragma once

namespace terrace::testing {
long allocations();
}
