// Really carries a plan out on this machine: a compute lane of threads, and an I/O lane that reads files past the page
// cache.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <string>

#include "terrace/engine/engine.h"
#include "terrace/kernels/kernel.h"

namespace terrace {

/// How files are read. `automatic`: io_uring where the kernel allows it, else pread by two threads.
enum class IoMode : std::uint8_t { automatic, uring, pread };

struct HostOptions {
  IoMode io = IoMode::automatic;
  bool direct = true;  ///< false: through the page cache, as where O_DIRECT is refused
  /// Looked at between steps; when set, run() throws Error(interrupted) and the engine's state is lost.
  const std::atomic<bool>* cancel = nullptr;
  /// Called while weights are brought in, by the thread that called run().
  std::function<void(Bytes done, Bytes all)> on_load;
  /// For tests: asked about every completed request, counted from 1. A positive answer is an errno to report instead,
  /// a negative one cuts the request to that many bytes, 0 leaves it alone.
  std::function<int(u64 request)> fault;
};

/// The plan must have passed `verify`; graph and plan must outlive the engine. run() and all else belong to one thread
/// at a time: that thread is the first worker. Memory: one arena of whole huge pages, touched at construction.
class HostEngine final : public Engine {
 public:
  /// Opens the plan's files. Error(bad_file) when one is missing or has another size than planned, Error(usage) for a
  /// kernel that the table does not hold or a plan that this engine cannot carry out, Error(failure) when memory,
  /// threads or the chosen kind of I/O cannot be had.
  HostEngine(const Graph& graph, const Plan& plan, const KernelTable& kernels, HostOptions options = {});
  ~HostEngine() override;
  HostEngine(const HostEngine&) = delete;
  HostEngine& operator=(const HostEngine&) = delete;

  /// Error(usage), with nothing changed, for symbols outside the body's intervals, inputs that are missing or of
  /// another size, ids outside their table, or when pinned weights have not been loaded.
  const Trace& run(u32 body, const Bindings& bindings) override;
  /// The same repetition step by step on the calling thread: the same bits, slower, and `look` sees what each step has
  /// put out. If it returns false the rest is left out, and with it the engine's state is lost. For finding faults.
  /// Error(usage) for plans that stream weights.
  void run_watched(u32 body, const Bindings& bindings,
                   const std::function<bool(const Node&, std::span<const TensorView> outputs)>& look);
  void reset_state() override;

  /// A graph output, valid from the end of run() to the start of the next. Error(usage) for any other value.
  TensorView output(ValueId v) const;
  /// Where a state lies, of any version: to be read or set between runs. Error(usage) for any other value.
  TensorView state(ValueId v) const;
  /// "io_uring, direct", "pread, direct", "pread, buffered: O_DIRECT refused by the file system" or "none: no files".
  std::string io_path() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace terrace
