// The library from within: every allocation and every read of a small streaming model goes wrong in turn. It throws,
// leaks nothing, and the next attempt in the same process gives the right tokens.
#include <cerrno>
#include <thread>

#include "faults/allocations_fail.h"
#include "faults/subject.h"
#include "support/planning.h"
#include "terrace/core/error.h"
#include "terrace/program/text_model.h"

namespace terrace::faults {
namespace {

std::size_t entries(const char* folder) {
  const std::filesystem::directory_iterator all(folder), end;
  return static_cast<std::size_t>(std::distance(all, end));
}

/// Descriptors and threads of this process.
std::pair<std::size_t, std::size_t> holdings() { return {entries("/proc/self/fd"), entries("/proc/self/task")}; }

/// Holdings before a test. A sanitizer starts a thread of its own with the first, which then stays.
std::pair<std::size_t, std::size_t> settled_holdings() {
  std::thread([] {}).join();
  ::usleep(20000);
  return holdings();
}

/// Holdings are `before` again; a thread that has been joined may be listed for a moment.
bool back_to(const std::pair<std::size_t, std::size_t>& before) {
  for (int i = 0; i < 200 && holdings() != before; ++i) ::usleep(10000);
  return holdings() == before;
}

class Library : public ::testing::Test {
 protected:
  Library() {
    testing::TinyLlama m;
    m.tied = false;
    m.width = 32;
    m.ffn = 96;
    write_tiny_llama(path_, m);
    options_.path = path_;
    options_.context = 32;
    options_.prompt_chunk = 8;
    options_.threads = 2;
    options_.needs_tokenizer = false;
    options_.budget = Bytes{1};
    try {
      TextModel(options_, machine_);
    } catch (const Error& e) { options_.budget = e.smallest_budget(); }
    expected_ = ids(*loaded());
  }
  std::unique_ptr<TextModel> opened() const { return std::make_unique<TextModel>(options_, machine_); }
  std::unique_ptr<TextModel> loaded(HostOptions host = {}) const {
    auto m = opened();
    m->load(std::move(host));
    return m;
  }
  static std::vector<i32> ids(TextModel& m) {
    const std::vector<i32> prompt = {12, 7000, 300, 48000, 5, 5, 9999, 20000, 31, 2, 77};
    GenerateOptions g;
    g.max_tokens = 6;
    g.ignore_eos = true;
    return m.generate(prompt, g).output_ids;
  }
  /// `work(made())` with each allocation failing in turn; then `again(what was made)` must give the tokens.
  template <class Made, class Work, class Again>
  void each_allocation(long few, Made made, Work work, Again again) {
    long all = 0;
    {
      auto thing = made();
      const FailingAllocation count(0);
      work(thing);
      all = FailingAllocation::count();
    }
    ASSERT_TRUE(back_to(before_));
    long thrown = 0;
    for (const long n : spread(all, few)) {
      const long live = live_allocations();
      auto thing = made();
      bool failed = false;
      {
        const FailingAllocation fail(n);
        try {
          work(thing);
        } catch (const std::bad_alloc&) { failed = true; } catch (const Error&) {
          failed = true;
        }
      }
      thrown += failed;
      if (n % 7 == 1) { ASSERT_EQ(again(thing), expected_) << "after allocation " << n << " of " << all; }
      thing = {};
      ASSERT_EQ(live_allocations(), live) << "a leak after allocation " << n << " of " << all;
      ASSERT_TRUE(back_to(before_)) << "leaves a descriptor or a thread after allocation " << n << " of " << all;
    }
    EXPECT_GT(thrown, 0);
    std::printf("  %ld allocations, %ld failures thrown\n", all, thrown);
  }

  const std::pair<std::size_t, std::size_t> before_ = settled_holdings();
  testing::TemporaryFolder folder_;
  std::string path_ = folder_ / "m.gguf";
  Machine machine_ = testing::small_machine(4096);
  TextOptions options_;
  std::vector<i32> expected_;
};

TEST_F(Library, AllocationsFailWhileAFileIsOpened) {
  each_allocation(
      80, [] { return std::unique_ptr<Model>(); },
      [this](auto& model) { model = std::make_unique<Model>(open_model(path_)); },
      [this](auto&) { return ids(*loaded()); });
}
TEST_F(Library, AllocationsFailWhileATokenizerIsMade) {
  each_allocation(
      40, [this] { return std::make_unique<Model>(open_model(path_)); },
      [](auto& model) { EXPECT_FALSE(io::Tokenizer(model->file).encode("rice grew", false).empty()); },
      [this](auto&) { return ids(*loaded()); });
}
TEST_F(Library, AllocationsFailWhileAPlanIsMade) {
  each_allocation(
      60, [] { return std::unique_ptr<TextModel>(); },
      [this](auto& model) {
        model = opened();
        model->predict(11, 6);
      },
      [this](auto&) { return ids(*loaded()); });
}
TEST_F(Library, AllocationsFailWhileWeightsAreLoaded) {
  for (const IoMode io : {IoMode::automatic, IoMode::pread}) {
    HostOptions host;
    host.io = io;
    each_allocation(
        50, [this] { return opened(); }, [&](auto& model) { model->load(host); },
        [](auto& model) {
          model->load({});
          return ids(*model);
        });
  }
}
TEST_F(Library, AllocationsFailWhileTokensAreMade) {
  each_allocation(
      100, [this] { return loaded(); }, [](auto& model) { ids(*model); },
      [](auto& model) {
        model->load({});
        model->reset();
        return ids(*model);
      });
}

TEST_F(Library, AModelWrittenOrReplacedBetweenHeaderAndWeightsIsNotLoaded) {
  const std::string other = folder_ / "other";
  std::filesystem::copy_file(path_, other);
  const auto refused = [this](TextModel& m) {
    try {
      m.load({});
      ADD_FAILURE() << "loaded";
    } catch (const Error& e) {
      EXPECT_EQ(e.kind(), ErrorKind::failure);
      EXPECT_NE(e.message().find("changed while in use"), std::string::npos) << e.what();
      EXPECT_EQ(e.where(), path_);
    }
    EXPECT_THROW(ids(m), Error);  // nothing of the two files is mixed
  };
  auto m = opened();
  ::usleep(20000);  // a file system's clock may tick every 10 ms
  std::filesystem::copy_file(other, path_, std::filesystem::copy_options::overwrite_existing);
  refused(*m);
  EXPECT_EQ(ids(*loaded()), expected_);
  m = opened();
  std::filesystem::rename(other, path_);
  refused(*m);
  EXPECT_EQ(ids(*loaded()), expected_);
}

/// The n-th completion of a read is changed: `fault` (see HostOptions::fault).
class Reads : public Library, public ::testing::WithParamInterface<std::tuple<IoMode, bool>> {
 protected:
  HostOptions host() const {
    HostOptions h;
    h.io = std::get<0>(GetParam());
    h.direct = std::get<1>(GetParam());
    return h;
  }
  u64 count() {
    u64 n = 0;
    HostOptions h = host();
    h.fault = [&n](u64 request) { return n = request, 0; };
    EXPECT_EQ(ids(*loaded(h)), expected_);
    return n;
  }
};

TEST_P(Reads, FailEachInTurn) {
  const u64 all = count();
  ASSERT_GT(all, 50u);
  for (const long nth : spread(static_cast<long>(all), 20)) {
    auto m = opened();
    HostOptions h = host();
    h.fault = [nth](u64 request) { return static_cast<long>(request) == nth ? EIO : 0; };
    try {
      m->load(h);
      ids(*m);
      // Blocks that travel ahead of their use may come to nothing.
      EXPECT_GT(nth, static_cast<long>(all) / 2);
    } catch (const Error& e) {
      EXPECT_EQ(e.kind(), ErrorKind::failure);
      EXPECT_NE(e.where().find(path_), std::string::npos) << e.what();
      EXPECT_NE(e.message().find("cannot read"), std::string::npos) << e.what();
    }
    if (nth % 5 != 1) continue;
    m->load(host());
    m->reset();
    EXPECT_EQ(ids(*m), expected_) << "after read " << nth;
  }
}

TEST_P(Reads, FallShortOrAreInterruptedEachInTurn) {
  const u64 all = count();
  for (const int fault : {-1, -700, -4096, EINTR, EAGAIN})
    for (const long nth : spread(static_cast<long>(all), 5)) {
      HostOptions h = host();
      h.fault = [nth, fault](u64 request) { return static_cast<long>(request) == nth ? fault : 0; };
      ASSERT_EQ(ids(*loaded(h)), expected_) << fault << " at read " << nth;
    }
}

TEST_P(Reads, ThatNeverBringAnythingEnd) {
  for (const int fault : {EINTR, EAGAIN, -1}) {
    HostOptions h = host();
    h.fault = [fault](u64) { return fault; };
    EXPECT_THROW(ids(*loaded(h)), Error) << fault;
  }
}

INSTANTIATE_TEST_SUITE_P(Paths, Reads,
                         ::testing::Values(std::tuple(IoMode::automatic, true), std::tuple(IoMode::pread, true),
                                           std::tuple(IoMode::pread, false)));

}  // namespace
}  // namespace terrace::faults
