// terrace run CHECKPOINT.safetensors: what a training run left of a text goes on with another.
#include <fmt/format.h>

#include <chrono>

#include "terrace/cli/generation.h"
#include "terrace/cli/host_machine.h"
#include "terrace/cli/json.h"
#include "terrace/cli/peak.h"
#include "terrace/cli/session.h"
#include "terrace/cli/signals.h"
#include "terrace/cli/term.h"
#include "terrace/cli/verb.h"
#include "terrace/core/error.h"
#include "terrace/program/gpt_model.h"

namespace terrace::cli {
namespace {

double seconds_now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

}  // namespace

int run_checkpoint(const Args& args, const std::string& path) {
  for (const char* flag : {"budget", "enforce", "chat", "system", "ctx", "kv", "plan", "rates", "activations"})
    if (args.has(flag))
      throw Error(ErrorKind::usage, "does not go with a checkpoint", fmt::format("--{}", flag), "leave it out");
  const SamplerOptions sampler = sampler_options(args, 0);
  const std::string prompt = prompt_text(args);
  GptModel model(path, machine_of(args), threads_of(args), isa_of(args));
  const std::vector<i32> ids = model.encode(prompt);
  std::FILE* out = text_stream(args);
  CharacterStream stream(out);
  std::vector<i32> made;
  std::string text;
  const double begin = seconds_now();
  const EndInOrder in_order;
  const bool whole = model.generate(
      ids, args.integer("max-tokens", 256, 1, i64{1} << 30), sampler,
      [&](i32 id) {
        made.push_back(id);
        const std::string piece = model.piece(id);
        text += piece;
        stream.write(piece);
        return true;
      },
      &cancelled());
  stream.finish();
  std::fputc('\n', out);
  flush(out);
  const double seconds = seconds_now() - begin;
  const Peak peak = measure_peak();
  say("\n{} tokens in {}, peak memory {} ({})\n", made.size(), human_seconds(seconds), human(peak.bytes), peak.source);
  Json doc = document("run", &model.program().machine(), sampler.seed);
  doc.add("prompt_ids", ids_json(ids)).add("output_ids", ids_json(made)).add("text", text);
  doc.add("seconds", seconds).add("peak_bytes", peak.bytes).add("peak_source", peak.source).add("enforced", false);
  write_document(args, doc);
  return whole ? 0 : exit_code(ErrorKind::interrupted);
}

}  // namespace terrace::cli
