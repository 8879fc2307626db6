// Counts calls of operator new in this program (support/allocations.cc, linked into those that ask, replaces it).
#pragma once

namespace terrace::testing {
long allocations();
}
