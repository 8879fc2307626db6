// What `terrace` leaves to terrace-train. Not a part of that program.
#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include "terrace/cli/host_machine.h"
#include "terrace/cli/verb.h"
#include "terrace/core/error.h"

namespace terrace::cli {
namespace {

[[noreturn]] void become(char** argv) {
  const std::string program = program_folder() + "/terrace-train";
  ::execv(program.c_str(), argv);
  throw Error(ErrorKind::failure, std::string("cannot be run: ") + std::strerror(errno), program,
              "install it beside terrace, or build all targets");
}

}  // namespace

const Verb kTrain = {"train", kTrainHelp, "", "", {}, nullptr}, kExport = {"export", kExportHelp, "", "", {}, nullptr},
           kBench = {"bench", kBenchHelp, "", "", {}, nullptr}, kProbe = {"probe", kProbeHelp, "", "", {}, nullptr};

void hand_over(const Verb& verb, char** argv) {
  bool checkpoint = false;
  for (char** word = argv + 1; &verb == &kRun && *word != nullptr; ++word)
    checkpoint = checkpoint || std::string_view(*word).ends_with(".safetensors");
  if (verb.run == nullptr || checkpoint) become(argv);
}

int run_checkpoint(const Args&, const std::string& path) {
  throw Error(ErrorKind::failure, "is for terrace-train", path);  // hand_over has seen it
}

bool measure_host(const Args& args, const std::string& path) {
  std::vector<std::string> words = {"terrace", "probe", path, "--seconds", "4"};
  for (const char* flag : {"threads", "isa"})
    if (const auto value = args.text(flag)) words.insert(words.end(), {fmt::format("--{}", flag), *value});
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  if (const int nothing = ::open("/dev/null", O_WRONLY | O_CLOEXEC); nothing >= 0) ::dup2(nothing, STDOUT_FILENO);
  become(argv.data());
}

}  // namespace terrace::cli
