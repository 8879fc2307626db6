// Flags: one table for all verbs, so that a flag means the same everywhere (docs/interface.md).
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "terrace/core/units.h"

namespace terrace::cli {

struct Verb;

struct Flag {
  const char* name;
  const char* arg;   ///< what its argument is called; null: none
  const char* help;  ///< null: not shown
};

/// The command line of one verb, taken apart. All getters throw Error(usage) naming the flag.
class Args {
 public:
  /// argv[0] is the verb's name. Errors name the nearest flag.
  Args(const Verb& verb, int argc, char** argv);

  const std::vector<std::string>& words() const { return words_; }
  /// The word at `index`, named `what` in the message when it is absent.
  const std::string& word(std::size_t index, const char* what) const;
  /// No more than `n` words.
  void at_most(std::size_t n) const;

  bool has(std::string_view flag) const { return find(flag) != nullptr; }
  std::optional<std::string> text(std::string_view flag) const;
  std::string text(std::string_view flag, std::string_view otherwise) const;
  i64 integer(std::string_view flag, i64 otherwise, i64 least, i64 most) const;
  double number(std::string_view flag, double otherwise, double least, double most) const;
  /// Index into `names`; the first is the default.
  std::size_t choice(std::string_view flag, std::span<const char* const> names) const;

  const Verb& verb() const { return verb_; }
  /// The arguments behind the verb, to start this program anew.
  std::span<char* const> raw() const { return raw_; }

 private:
  const std::string* find(std::string_view flag) const;
  const Verb& verb_;
  std::span<char* const> raw_;
  std::vector<std::string> words_;
  std::vector<std::pair<const Flag*, std::string>> given_;  // the last of a name counts
};

/// Help of a verb as text.
std::string help_of(const Verb& verb);
/// The name among `names` nearest to `wrong`, if it is near enough to be a slip.
std::optional<std::string> nearest(std::string_view wrong, std::span<const char* const> names);

/// "64MiB", "1.5GiB", "500MB", "4096", "50%" of `whole`. Throws Error(usage) naming `flag`.
Bytes parse_size(std::string_view text, std::optional<Bytes> whole, std::string_view flag);

}  // namespace terrace::cli
