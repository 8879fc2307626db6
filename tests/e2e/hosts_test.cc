// Systems that do not let us have everything: the tool works there, and says in a line what is lost.
#include <gtest/gtest.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include <cstddef>

#include "support/tiny_llama.h"
#include "support/tool.h"

namespace terrace {
namespace {

using testing::Outcome;
using testing::Process;
using testing::TemporaryFolder;

/// A file system of its own in a file, until it goes. Needs root; where it cannot be had, mounted() is false.
class LoopMount {
 public:
  LoopMount(const TemporaryFolder& folder, const std::string& options)
      : image_(folder / "image"), point_(folder / "mount") {
    std::ofstream(image_).close();
    std::filesystem::resize_file(image_, 16 << 20);
    std::filesystem::create_directory(point_);
    mounted_ = Process(folder, {"/usr/bin/env", "mkfs.ext4", "-q", image_}).wait().code == 0 &&
               Process(folder, {"/usr/bin/env", "mount", "-o", "loop," + options, image_, point_}).wait().code == 0;
  }
  ~LoopMount() {
    if (mounted_) ::umount2(point_.c_str(), MNT_DETACH);
  }
  LoopMount(const LoopMount&) = delete;
  LoopMount& operator=(const LoopMount&) = delete;
  bool mounted() const { return mounted_; }
  std::string operator/(const std::string& name) const { return point_ + "/" + name; }

 private:
  std::string image_, point_;
  bool mounted_ = false;
};

/// Pages of a file that are in the page cache.
u64 cached_pages(const std::string& path) {
  const int fd = ::open(path.c_str(), O_RDWR);
  const u64 size = std::filesystem::file_size(path);
  void* p = ::mmap(nullptr, size, PROT_READ, MAP_SHARED, fd, 0);
  std::vector<unsigned char> resident((size + 4095) / 4096);
  EXPECT_EQ(::mincore(p, size, resident.data()), 0);
  ::munmap(p, size);
  ::close(fd);
  u64 n = 0;
  for (const unsigned char r : resident) n += r & 1;
  return n;
}

void drop_pages(const std::string& path) {
  const int fd = ::open(path.c_str(), O_RDWR);
  ::fsync(fd);
  EXPECT_EQ(::posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED), 0);
  ::close(fd);
}

/// From here on this process cannot make an io_uring.
void refuse_io_uring() {
  sock_filter code[] = {
      {BPF_LD | BPF_W | BPF_ABS, 0, 0, offsetof(seccomp_data, nr)},
      {BPF_JMP | BPF_JEQ | BPF_K, 0, 1, SYS_io_uring_setup},
      {BPF_RET | BPF_K, 0, 0, SECCOMP_RET_ERRNO | EPERM},
      {BPF_RET | BPF_K, 0, 0, SECCOMP_RET_ALLOW},
  };
  const sock_fprog program{static_cast<unsigned short>(std::size(code)), code};
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || ::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0)
    ::_exit(123);
}

class Hosts : public ::testing::Test {
 protected:
  void SetUp() override {
    testing::TinyLlama m;
    m.layers = 6;
    m.width = 128;
    m.ffn = 512;
    write_tiny_llama(model_, m);
    const Outcome o = run(model_, {});
    ASSERT_EQ(o.code, 0) << o.err;
    ids_ = o.json["output_ids"];
  }
  Outcome run(const std::string& model, const std::vector<std::string>& more,
              const std::function<void()>& before = {}) {
    std::vector<std::string> words = {"run",   model, "--prompt",     "Steps of rice", "--max-tokens", "6",
                                      "--ctx", "32",  "--ignore-eos", "--enforce",     "none"};
    words.insert(words.end(), more.begin(), more.end());
    return testing::tool(folder_, words, before);
  }

  TemporaryFolder folder_;
  std::string model_ = folder_ / "m.gguf";
  nlohmann::json ids_;
};

/// ext4 with data=journal takes O_DIRECT and reads through the page cache all the same.
TEST_F(Hosts, SilentlyBufferedReadsAreNoticedAndDroppedBehind) {
  const LoopMount mount(folder_, "data=journal");
  if (!mount.mounted()) GTEST_SKIP() << "NO FILE SYSTEM CAN BE MOUNTED HERE: SILENT BUFFERING IS NOT TESTED";
  const std::string model = mount / "m.gguf";
  std::filesystem::copy(model_, model);
  drop_pages(model);
  const u64 before = cached_pages(model);
  for (const char* io : {"auto", "pread"}) {
    const Outcome o = run(model, {"--io", io});
    ASSERT_EQ(o.code, 0) << o.err;
    EXPECT_EQ(o.json["output_ids"], ids_);
    EXPECT_EQ(o.json["io"], "pread, buffered: the file system buffers in spite of O_DIRECT");
    EXPECT_NE(o.err.find("terrace: the model is read by pread, buffered: the file system buffers"), o.err.npos)
        << o.err;
    EXPECT_LE(cached_pages(model), before + 16) << "of " << std::filesystem::file_size(model) / 4096;
  }
  const Outcome refused = run(model, {"--io", "uring"});
  EXPECT_EQ(refused.code, 1) << refused.err;
}

TEST_F(Hosts, WithoutIoUringPreadReads) {
  if (run(model_, {}).json["io"] != "io_uring, direct") GTEST_SKIP() << "no io_uring here anyway";
  const Outcome o = run(model_, {}, refuse_io_uring);
  ASSERT_EQ(o.code, 0) << o.err;
  EXPECT_EQ(o.json["output_ids"], ids_);
  EXPECT_EQ(o.json["io"], "pread, direct: io_uring refused by the kernel (Operation not permitted)");
  EXPECT_NE(o.err.find("terrace: the model is read by pread, direct: io_uring refused"), o.err.npos) << o.err;
  EXPECT_EQ(run(model_, {"--io", "uring"}, refuse_io_uring).code, 1);
}

/// Messages that nobody takes are no reason to stop: only the answer and the document count.
TEST_F(Hosts, StandardErrorMayBeClosedOrFull) {
  for (const char* how : {"2>/dev/full", "2>&-", "2>&- <&-"}) {
    const std::string document = folder_ / "document.json";
    std::filesystem::remove(document);
    const Outcome o =
        Process(folder_, {"/bin/sh", "-c", std::string("exec \"$0\" \"$@\" ") + how, testing::tool_path(), "run",
                          model_, "--prompt", "Steps of rice", "--max-tokens", "6", "--ctx", "32", "--ignore-eos",
                          "--enforce", "auto", "--budget", testing::budget_of(12), "--json", document})
            .wait();
    EXPECT_EQ(o.code, 0) << how;
    EXPECT_EQ(nlohmann::json::parse(testing::slurp(document), nullptr, false)["output_ids"], ids_) << how;
  }
}

/// Nothing is lost, so nothing is said.
TEST_F(Hosts, NothingIsSaidWhereAllCanBeHad) {
  const Outcome o = run(model_, {});
  if (o.json["io"] != "io_uring, direct") GTEST_SKIP() << "something is lost here";
  EXPECT_EQ(o.err.find("terrace: the model is read by"), o.err.npos) << o.err;
}

}  // namespace
}  // namespace terrace
