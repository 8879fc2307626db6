// Carries out a plan: HostEngine (run/) really does it, SimEngine (sim/) computes what it would take.
#pragma once

#include <span>

#include "terrace/engine/trace.h"
#include "terrace/plan/plan.h"

namespace terrace {

struct InputBinding {
  ValueId value = kNone;
  std::span<const std::byte> bytes;  ///< packed, at the actual extents
};

struct Bindings {
  std::span<const i64> symbols;          ///< a value for each symbol of the graph
  std::span<const InputBinding> inputs;  ///< the simulator needs none, but for ids of gathers
};

class Engine {
 public:
  virtual ~Engine() = default;
  /// Runs one repetition of a body. The trace is overwritten by the next run: steady state allocates nothing.
  /// Bodies marked `once` must have run before any other. Throws Error for I/O or the device only; after that
  /// the engine's state is lost and further runs throw.
  virtual const Trace& run(u32 body, const Bindings& bindings) = 0;
  /// Forgets all state (KV cache): symbols may start again from their beginning.
  virtual void reset_state() = 0;
};

}  // namespace terrace
