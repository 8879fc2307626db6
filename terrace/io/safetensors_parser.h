// The header of a safetensors file as it is read: this much JSON and no more, without recursion.
#pragma once

#include <string>
#include <string_view>

#include "terrace/io/safetensors.h"

namespace terrace::io {

/// Goes through the header twice: the first time everything is checked and counted, the second time it is kept, in
/// containers of the right size.
class SafeTensorsParser {
 public:
  SafeTensorsParser(SafeTensorsFile& f, u64 begin, u64 end) : f_(f), begin_(begin), at_(begin), end_(end) {}
  void parse();

  /// Throws Error(bad_file) with the path, byte `at` and what is being read there.
  [[noreturn]] void fail(u64 at, std::string_view what,
                         std::string_view hint = "the file is damaged: download it again") const;

 private:
  void pass(bool keep);
  void metadata(bool keep);
  void tensor(bool keep, u64 entry);
  void shape(TensorSpec& spec);
  DType dtype();

  int peek();
  char next(std::string_view what);
  void space();
  void expect(char c, std::string_view what);
  /// After a value of a list or object: true if another follows.
  bool more(char close, std::string_view what);
  /// Appends a string's characters to `out` if there is one; its length, at most `most`.
  u64 text(std::string* out, u64 most, std::string_view what);
  char32_t escape(std::string_view what);
  u32 hex4(std::string_view what);
  u64 number(std::string_view what);

  SafeTensorsFile& f_;
  u64 begin_, at_, end_;
  u64 tensors_ = 0, entries_ = 0, characters_ = 0;
  std::string subject_, name_;
};

}  // namespace terrace::io
