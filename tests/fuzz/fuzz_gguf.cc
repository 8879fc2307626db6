// Any bytes as a GGUF file: an Error or a file whose parts can be read, nothing else.
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <optional>
#include <string>

#include "terrace/core/error.h"
#include "terrace/io/tokenizer.h"

namespace {

using namespace terrace;

void walk(const io::GgufFile& f) {
  for (const io::GgufEntry& e : f.entries()) {
    if (e.type != io::GgufType::array) continue;
    if (e.element == io::GgufType::string)
      f.each_string(e, [](u64, std::string_view) {});
    else
      f.each_number(e, [](u64, double) {});
  }
  for (const io::GgufTensor& t : f.tensors())
    if (t.offset > f.size() || t.bytes > f.size() - t.offset) std::abort();  // what the reader promises
}

void use(const io::Tokenizer& t) {
  const std::string text = "Hello 12 <|im_start|>w\xC3\xB6rld\xFF  \n";
  for (const bool special : {false, true}) {
    const std::vector<i32> ids = t.encode(text, special);
    for (i32 id : ids)
      if (id < 0 || id >= t.size()) std::abort();
    t.decode(ids, special);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const int fd = ::memfd_create("fuzz_gguf", MFD_CLOEXEC);
  if (fd < 0 || (size > 0 && ::write(fd, data, size) != static_cast<ssize_t>(size))) std::abort();
  try {
    const io::GgufFile f("/proc/self/fd/" + std::to_string(fd));
    walk(f);
    use(io::Tokenizer(f));
    io::render_chat(f.get_string("tokenizer.chat_template"), {{"user", "hello"}});
  } catch (const terrace::Error& e) {
    if (e.kind() != ErrorKind::bad_file) std::abort();
  }
  ::close(fd);
  return 0;
}
