// The built tool from outside: exit codes, messages, documents. A tiny model is made where a whole run is needed.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <spawn.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmath>
#include <cstdlib>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <vector>

#include "support/tool.h"
#include "terrace/cli/args.h"
#include "terrace/cli/json.h"
#include "terrace/cli/scoring.h"
#include "terrace/cli/term.h"
#include "terrace/core/error.h"

namespace terrace::cli {
namespace {

struct Outcome {
  int code = -1;
  std::string out, err;
};

const std::string& folder() {
  static const testing::TemporaryFolder all;
  return all.path();
}

std::string slurp(const std::string& path) {
  std::ifstream f(path, std::ios::binary);
  std::ostringstream s;
  s << f.rdbuf();
  return s.str();
}

/// Runs the tool with these arguments, nothing on its standard input but `in`, and a cache folder of its own.
Outcome tool(std::vector<std::string> args, const std::string& in = {}) {
  const std::string base = folder(), exe = std::string(TERRACE_BINARY_DIR) + "/terrace";
  std::ofstream(base + "/in", std::ios::binary) << in;
  args.insert(args.begin(), exe);
  std::vector<char*> argv;
  for (std::string& a : args) argv.push_back(a.data());
  argv.push_back(nullptr);
  std::string cache = "XDG_CACHE_HOME=" + base, path = "PATH=/usr/bin:/bin";
  char* env[] = {cache.data(), path.data(), nullptr};
  posix_spawn_file_actions_t files;
  posix_spawn_file_actions_init(&files);
  posix_spawn_file_actions_addopen(&files, 0, (base + "/in").c_str(), O_RDONLY, 0);
  posix_spawn_file_actions_addopen(&files, 1, (base + "/out").c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
  posix_spawn_file_actions_addopen(&files, 2, (base + "/err").c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
  pid_t pid = 0;
  Outcome o;
  if (::posix_spawn(&pid, exe.c_str(), &files, nullptr, argv.data(), env) == 0) {
    int status = 0;
    ::waitpid(pid, &status, 0);
    o.code = WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
  }
  posix_spawn_file_actions_destroy(&files);
  o.out = slurp(base + "/out");
  o.err = slurp(base + "/err");
  return o;
}

TEST(Tool, helps) {
  const Outcome o = tool({"--help"});
  EXPECT_EQ(o.code, 0);
  for (const char* verb : {"run", "chat", "plan", "simulate", "eval", "logits", "tokenize", "graph", "inspect",
                           "check-file", "probe", "topo", "machine", "train", "export", "bench"}) {
    EXPECT_NE(o.out.find(std::string("\n  ") + verb + " "), std::string::npos) << verb;
    const Outcome help = tool({verb, "--help"});
    EXPECT_EQ(help.code, 0) << verb;
    EXPECT_NE(help.out.find("Examples\n  "), std::string::npos) << verb;
  }
}

TEST(Tool, names_the_nearest) {
  const Outcome verb = tool({"rum"});
  EXPECT_EQ(verb.code, 2);
  EXPECT_NE(verb.err.find("try: terrace run\n"), std::string::npos) << verb.err;
  const Outcome flag = tool({"run", "m.gguf", "--bugdet", "64MiB"});
  EXPECT_EQ(flag.code, 2);
  EXPECT_NE(flag.err.find("try: --budget\n"), std::string::npos) << flag.err;
}

TEST(Tool, refuses_what_makes_no_sense) {
  EXPECT_EQ(tool({}).code, 2);
  EXPECT_EQ(tool({"run"}).code, 2);
  EXPECT_EQ(tool({"run", "m.gguf"}).code, 2);
  EXPECT_EQ(tool({"run", "m.gguf", "--prompt", "x", "--threads", "0"}).code, 2);
  EXPECT_EQ(tool({"run", "m.gguf", "--prompt", "x", "--temperature", "hot"}).code, 2);
  EXPECT_EQ(tool({"run", "m.gguf", "--prompt", "x", "--kv", "q3"}).code, 2);
  EXPECT_EQ(tool({"run", "m.gguf", "--prompt"}).code, 2);
  EXPECT_EQ(tool({"machine", "mend", "x.toml"}).code, 2);
}

TEST(Tool, says_which_file_is_bad) {
  const Outcome missing = tool({"inspect", "/nonexistent/m.gguf"});
  EXPECT_EQ(missing.code, 4);
  EXPECT_NE(missing.err.find("/nonexistent/m.gguf"), std::string::npos);
  const std::string path = folder() + "/foreign.gguf";
  std::ofstream(path) << "this is no model file, but it is long enough to be read as one";
  for (const char* verb : {"inspect", "check-file", "graph", "plan"}) {
    const Outcome o = tool({verb, path});
    EXPECT_EQ(o.code, 4) << verb << o.err;
    EXPECT_NE(o.err.find("where: "), std::string::npos) << verb << o.err;
  }
}

TEST(Tool, shipped_machines_are_sound) {
  const std::string machines = std::string(TERRACE_SOURCE_DIR) + "/machines/";
  for (const char* name : {"raspberry-pi-5", "hbm-server"}) {
    const Outcome o = tool({"machine", "check", machines + name + ".toml", "--json", "-"});
    EXPECT_EQ(o.code, 0) << o.err;
    const auto doc = nlohmann::json::parse(o.out, nullptr, false);
    ASSERT_TRUE(doc.is_object()) << o.out;
    EXPECT_EQ(doc["schema"], 1);
    EXPECT_EQ(doc["kind"], "machine");
    EXPECT_EQ(doc["machine"]["name"], name);
  }
  const Outcome same = tool({"machine", "diff", machines + "hbm-server.toml", machines + "hbm-server.toml"});
  EXPECT_EQ(same.out, "no difference\n");
  const Outcome other = tool({"machine", "diff", machines + "hbm-server.toml", machines + "raspberry-pi-5.toml"});
  EXPECT_NE(other.out.find("\n+ "), std::string::npos);
}

TEST(Sizes, are_read) {
  EXPECT_EQ(parse_size("64MiB", {}, "budget"), 64_MiB);
  EXPECT_EQ(parse_size("1.5GiB", {}, "budget"), Bytes{3u << 29});
  EXPECT_EQ(parse_size("500MB", {}, "budget"), Bytes{500000000});
  EXPECT_EQ(parse_size("4096", {}, "budget"), Bytes{4096});
  EXPECT_EQ(parse_size("50%", Bytes{1001}, "budget"), Bytes{500});
  for (const char* bad : {"", "-1", "64M", "MiB", "nan", "inf", "1e9", "99999999999TB", "50%", "64MiB "})
    EXPECT_THROW(parse_size(bad, {}, "budget"), Error) << bad;
}

TEST(JsonWriter, writes_what_a_parser_reads) {
  Json inner = Json::array();
  inner.push(1).push(2.5).push("x");
  Json doc = Json::object();
  doc.add("text", std::string("a\"\\\n\x01\xff\xC3\xA9\x1e"))
      .add("n", -3)
      .add("x", 0.1)
      .add("nan", std::nan(""))
      .add("yes", true)
      .add("list", inner);
  for (const bool lines : {false, true}) {
    const auto read = nlohmann::json::parse(doc.text(lines), nullptr, false);
    ASSERT_TRUE(read.is_object()) << doc.text(lines);
    EXPECT_EQ(read["text"], "a\"\\\n\x01\xEF\xBF\xBD\xC3\xA9\x1e");
    EXPECT_EQ(read["x"], 0.1);
    EXPECT_TRUE(read["nan"].is_null());
    EXPECT_EQ(read["list"][1], 2.5);
  }
}

TEST(Characters, are_whole) {
  char* text = nullptr;
  std::size_t size = 0;
  std::FILE* f = ::open_memstream(&text, &size);
  CharacterStream s(f);
  s.write("a\xF0\x9F");
  EXPECT_EQ(std::string(text, size), "a");  // the rest of the character has not come yet
  s.write("\x98\x80z\xC3");
  EXPECT_EQ(std::string(text, size), "a\xF0\x9F\x98\x80z");
  s.finish();
  EXPECT_EQ(std::string(text, size), "a\xF0\x9F\x98\x80z\xEF\xBF\xBD");
  std::fclose(f);
  std::free(text);
  EXPECT_EQ(utf8_length("\xED\xA0\x80"), 0u);  // a surrogate
  EXPECT_EQ(utf8_length("\xC0\x80"), 0u);      // overlong
}

TEST(Scoring, is_llama_perplexitys) {
  Windows w;
  w.context = 512;
  EXPECT_EQ(w.scored(), 255);
  Perplexity p;
  for (const double nll : {1.0, 2.0, 3.0}) p.add(nll);
  EXPECT_NEAR(p.value(), std::exp(2.0), 1e-12);
  EXPECT_NEAR(p.error(), std::sqrt(2.0 / 3 / 2) * std::exp(2.0), 1e-12);
  std::vector<double> out;
  const float logits[] = {1000.0f, 1000.0f};
  log_softmax(logits, out);
  EXPECT_NEAR(out[0], -std::log(2.0), 1e-12);
}

}  // namespace
}  // namespace terrace::cli
