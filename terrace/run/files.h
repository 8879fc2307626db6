// The files that a plan reads, opened past the page cache where the file system allows it.
#pragma once

#include <string>
#include <vector>

#include "terrace/plan/plan.h"

namespace terrace::run {

class Files {
 public:
  /// Opens the plan's files and checks their sizes: Error(bad_file). `direct` false: through the page cache.
  Files(const Plan& plan, bool direct);
  ~Files();
  Files(const Files&) = delete;
  Files& operator=(const Files&) = delete;

  int fd(u32 file) const { return fds_[file]; }
  /// True if every file is read past the page cache.
  bool direct() const { return direct_; }
  /// Why direct reads were asked for and are not to be had; empty otherwise.
  const char* refusal() const { return refusal_; }

 private:
  bool open_all(const Plan& plan, int flags);
  bool any_silently_buffered(const Plan& plan) const;
  void close_all();
  std::vector<int> fds_;
  bool direct_;
  const char* refusal_ = "";
};

}  // namespace terrace::run
