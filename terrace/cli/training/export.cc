// terrace export: what a training run made, as a file for other programs.
#include <fmt/format.h>

#include <array>

#include "terrace/cli/json.h"
#include "terrace/cli/term.h"
#include "terrace/cli/verb.h"
#include "terrace/core/error.h"
#include "terrace/program/export.h"

namespace terrace::cli {
namespace {

int run_export(const Args& args) {
  const std::string& checkpoint = args.word(0, "a checkpoint");
  args.at_most(1);
  const auto out = args.text("out");
  if (!out) throw Error(ErrorKind::usage, "says where the result goes", "--out", "--out model.gguf, or a .safetensors");
  ExportOptions o;
  o.base = args.text("base", "");
  o.merge = args.has("merge");
  constexpr std::array<const char*, 2> kTypes = {"f16", "f32"};
  o.type = args.choice("type", kTypes) == 0 ? DType::f16 : DType::f32;
  const Exported e = export_checkpoint(checkpoint, *out, o);
  fmt::print(text_stream(args), "{}: {} tensors, {}\n", *out, e.tensors, human(e.bytes));
  Json doc = document("export");
  doc.add("path", *out).add("tensors", e.tensors).add("out_bytes", e.bytes);
  write_document(args, doc);
  return 0;
}

constexpr const char* kFlags[] = {"out", "base", "merge", "type"};

}  // namespace

const Verb kExport = {"export",
                      kExportHelp,
                      "CHECKPOINT --out FILE.safetensors|FILE.gguf [FLAGS]",
                      "  terrace export runs/char_gpt/checkpoint.safetensors --out char_gpt.safetensors\n"
                      "  terrace export runs/lora/checkpoint.safetensors --base model.gguf --merge --out adapted.gguf\n"
                      "  terrace export runs/lora/checkpoint.safetensors --out adapter.gguf\n",
                      kFlags,
                      run_export};

}  // namespace terrace::cli
