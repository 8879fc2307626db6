// Runs a fuzz target without libFuzzer: the seed files as they are, then mutations of them for some seconds.
// Deterministic: the n-th input is the same in every run. Usage: driver SECONDS SEED-FILE...
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <random>
#include <string>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);
/// As libFuzzer has it: a target may know how to change its inputs so that they get further than changed bytes do.
extern "C" std::size_t LLVMFuzzerCustomMutator(std::uint8_t* data, std::size_t size, std::size_t most, unsigned seed)
    __attribute__((weak));
extern "C" void __sanitizer_set_death_callback(void (*)()) __attribute__((weak));

namespace {

using Input = std::vector<std::uint8_t>;

std::size_t below(std::mt19937& random, std::size_t n) { return n == 0 ? 0 : random() % n; }

/// Mostly near the start, where the structure is.
std::size_t place(std::mt19937& random, std::size_t n) {
  if (random() % 4 == 0) return below(random, n);
  return below(random, std::min<std::size_t>(n, random() % 2 ? 256 : 4096));
}

void mutate(Input& x, const std::vector<Input>& seeds, std::mt19937& random) {
  static constexpr std::uint64_t kEdges[] = {0,
                                             1,
                                             7,
                                             8,
                                             9,
                                             13,
                                             31,
                                             32,
                                             33,
                                             63,
                                             64,
                                             65,
                                             127,
                                             128,
                                             255,
                                             256,
                                             65535,
                                             65536,
                                             0x7FFFFFFF,
                                             0x80000000,
                                             0xFFFFFFFF,
                                             0x100000000,
                                             0x7FFFFFFFFFFFFFFF,
                                             0x8000000000000000,
                                             0xFFFFFFFFFFFFFFFF};
  const std::size_t at = place(random, x.size());
  const auto here = x.begin() + static_cast<std::ptrdiff_t>(at);
  const std::size_t room = x.size() - at;
  switch (random() % 7) {
    case 0:
      if (room) x[at] ^= static_cast<std::uint8_t>(1u << random() % 8);
      break;
    case 1:
      if (room) x[at] = static_cast<std::uint8_t>(random());
      break;
    case 2: {  // a number that is at an edge, in 1, 2, 4 or 8 bytes
      const std::uint64_t edge = kEdges[random() % std::size(kEdges)];
      for (std::size_t i = 0, n = std::size_t{1} << random() % 4; i < n && i < room; ++i)
        x[at + i] = static_cast<std::uint8_t>(edge >> 8 * i);
      break;
    }
    case 3: x.resize(at); break;
    case 4: x.erase(here, here + static_cast<std::ptrdiff_t>(std::min<std::size_t>(room, 1 + random() % 16))); break;
    case 5: x.insert(here, 1 + random() % 16, static_cast<std::uint8_t>(random())); break;
    default: {  // a piece of another input
      const Input& other = seeds[random() % seeds.size()];
      const std::size_t from = place(random, other.size());
      const std::size_t n = std::min<std::size_t>(other.size() - from, random() % 64);
      const auto begin = other.begin() + static_cast<std::ptrdiff_t>(from);
      x.insert(here, begin, begin + static_cast<std::ptrdiff_t>(n));
    }
  }
}

/// One change more: the target's own, mostly, where it has one.
void change(Input& x, const std::vector<Input>& seeds, std::mt19937& random) {
  if (!LLVMFuzzerCustomMutator || random() % 8 == 0) return mutate(x, seeds, random);
  const std::size_t size = x.size();
  x.resize(size + 4096);
  x.resize(LLVMFuzzerCustomMutator(x.data(), size, x.size(), static_cast<unsigned>(random())));
}

// The input that runs now, kept for the case that it ends the program.
const Input* current = nullptr;

void save_current() {
  const int fd = current ? ::open("fuzz-crash.bin", O_WRONLY | O_CREAT | O_TRUNC, 0666) : -1;
  if (fd < 0) return;
  const bool ok = ::write(fd, current->data(), current->size()) == static_cast<ssize_t>(current->size());
  const char text[] = "\nthe input is in fuzz-crash.bin: give it as a seed to run it again\n";
  if (ok && ::write(2, text, sizeof text - 1) < 0) return;
}

void run(const Input& x) {
  current = &x;
  LLVMFuzzerTestOneInput(x.data(), x.size());
  current = nullptr;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3) {
    std::fprintf(stderr, "usage: %s SECONDS SEED-FILE...\n", argv[0]);
    return 2;
  }
  std::signal(SIGABRT, [](int) { save_current(); });
  if (__sanitizer_set_death_callback) __sanitizer_set_death_callback(save_current);
  std::vector<Input> seeds;
  for (int i = 2; i < argc; ++i) {
    std::ifstream f(argv[i], std::ios::binary);
    if (!f) {
      std::fprintf(stderr, "cannot read %s\n", argv[i]);
      return 2;
    }
    seeds.emplace_back(std::istreambuf_iterator<char>(f), std::istreambuf_iterator<char>());
    run(seeds.back());
  }
  using Clock = std::chrono::steady_clock;
  const auto end = Clock::now() + std::chrono::duration<double>(std::atof(argv[1]));
  auto slowest = Clock::duration::zero();
  unsigned long n = 0, slowest_n = 0;
  while (Clock::now() < end) {
    std::mt19937 random(static_cast<std::uint32_t>(++n));
    Input x = seeds[n % seeds.size()];
    for (std::size_t k = 1 + random() % 4; k > 0; --k) change(x, seeds, random);
    const auto start = Clock::now();
    run(x);
    if (Clock::now() - start > slowest) slowest = Clock::now() - start, slowest_n = n;
  }
  const double seconds = std::chrono::duration<double>(slowest).count();
  std::printf("%lu inputs, slowest %.3f s (number %lu)\n", n, seconds, slowest_n);
  return seconds < 20 ? 0 : 1;  // a hang is a failure too
}
