#include "terrace/program/gpt_model.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "terrace/core/error.h"
#include "terrace/io/checkpoint.h"
#include "terrace/program/reserve.h"
#include "terrace/program/token_cache.h"

namespace terrace {
namespace {

[[noreturn]] void foreign(const io::Checkpoint& c, std::string_view key) {
  throw Error(ErrorKind::bad_file, fmt::format("its {} is \"{}\"", key, c.metadata(key)), c.file().path(),
              "a checkpoint that terrace train wrote");
}

i64 number_of(const io::Checkpoint& c, std::string_view key, i64 most) {
  const std::string_view text = c.metadata(key);
  i64 n = 0;
  const auto r = std::from_chars(text.data(), text.data() + text.size(), n);
  if (r.ec != std::errc() || r.ptr != text.data() + text.size() || n < 1 || n > most) foreign(c, key);
  return n;
}

std::string letters_of(const io::Checkpoint& c) {
  const std::string_view hex = c.metadata("letters");
  std::string letters;
  if (hex.size() % 2 != 0 || hex.empty() || hex.size() > 512) foreign(c, "letters");
  for (std::size_t i = 0; i < hex.size(); i += 2) {
    unsigned byte = 0;
    const auto r = std::from_chars(hex.data() + i, hex.data() + i + 2, byte, 16);
    if (r.ec != std::errc() || r.ptr != hex.data() + i + 2) foreign(c, "letters");
    letters.push_back(static_cast<char>(byte));
  }
  return letters;
}

}  // namespace

std::string letters_to_hex(std::string_view letters) {
  std::string hex;
  for (char c : letters) hex += fmt::format("{:02x}", static_cast<unsigned char>(c));
  return hex;
}

GptModel::GptModel(const std::string& path, Machine machine, int threads, Isa isa) {
  const io::Checkpoint checkpoint(path);
  if (checkpoint.metadata("model") == "llama")
    throw Error(ErrorKind::bad_file, "is what a model file was trained to: no model by itself", path,
                "terrace export --base MODEL.gguf --merge --out ADAPTED.gguf makes one that runs");
  if (checkpoint.metadata("model") != "gpt")
    throw Error(ErrorKind::usage,
                fmt::format("holds a model of kind \"{}\", which makes no text", checkpoint.metadata("model")), path,
                "a checkpoint of kind \"gpt\"");
  if (const auto file = checkpoint.file().metadata("tokenizer")) {
    const io::GgufFile tokenizer{std::string(*file)};
    if (tokenizer_sha256(tokenizer) != checkpoint.metadata("tokenizer_sha256"))
      throw Error(ErrorKind::bad_file, "has another tokenizer than the model was trained with", std::string(*file));
    tokenizer_ = std::make_unique<io::Tokenizer>(tokenizer);
    config_.vocabulary = tokenizer_->size();
  } else {
    letters_ = letters_of(checkpoint);
    config_.vocabulary = static_cast<i64>(letters_.size());
  }
  config_.layers = number_of(checkpoint, "layers", 1024);
  config_.width = number_of(checkpoint, "width", 1 << 16);
  config_.heads = number_of(checkpoint, "heads", 1024);
  config_.context = number_of(checkpoint, "context", 1 << 20);

  GraphBuilder b;
  nn::Gpt model(b, config_);
  const SymbolId n = b.symbol("n", config_.context), pos = b.symbol("pos", config_.context);
  ids_ = b.input("ids", {DType::i32, Layout::dense, {Dim::of(n)}});
  logits_ = model.next(ids_, pos);
  b.output(logits_);
  const std::vector<nn::Parameter> parameters = model.parameters();
  Graph graph = b.finish();
  for (const nn::Parameter& p : parameters) {
    const io::SafeTensor* t = checkpoint.file().find(p.name);
    if (t == nullptr || !(t->spec == graph.value(p.value).spec))
      throw Error(ErrorKind::bad_file,
                  fmt::format("has no tensor {} of {}", p.name, to_string(graph.value(p.value).spec)), path,
                  "the checkpoint does not fit its own description: train again");
  }

  PlanRequest request;
  for (const bool prompt : {false, true}) {
    BodyRequest body;
    body.name = prompt ? "prompt" : "decode";
    body.symbols = {{1, prompt ? config_.context : 1}, {0, config_.context}};
    body.typical = {prompt ? config_.context : 1, prompt ? 0 : config_.context / 2};
    request.bodies.push_back(body);
  }
  ProcessNeeds needs;
  needs.graph = Bytes{graph.memory_bytes()};
  needs.threads = threads;
  needs.logits = config_.vocabulary;
  request.reserves = process_reserves(machine.main_memory(), needs);
  request.threads = threads;
  request.isa = isa;
  program_ = std::make_unique<Program>(compile(std::move(graph), std::move(machine), request));
  program_->load({});
  for (const nn::Parameter& p : parameters) {
    const TensorView v = program_->host().state(p.value);
    checkpoint.read(*checkpoint.file().find(p.name), {v.data, static_cast<std::size_t>(packed_bytes(v).count)});
  }
}

std::string GptModel::piece(i32 token) const {
  return tokenizer_ ? tokenizer_->piece(token) : std::string(1, letters_[static_cast<std::size_t>(token)]);
}

std::vector<i32> GptModel::encode(std::string_view text) const {
  if (tokenizer_) return tokenizer_->encode(text, false);
  std::vector<i32> ids;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const std::size_t id = letters_.find(text[i]);
    if (id == std::string::npos)
      throw Error(ErrorKind::usage,
                  fmt::format("the text that the model was trained on has no byte 0x{:02x}",
                              static_cast<unsigned char>(text[i])),
                  fmt::format("prompt, byte {}", i), "write the prompt in its letters");
    ids.push_back(static_cast<i32>(id));
  }
  return ids;
}

std::span<const float> GptModel::feed(std::span<const i32> tokens, i64 at) {
  const std::array<i64, 2> symbols = {static_cast<i64>(tokens.size()), at};
  const InputBinding in{ids_, std::as_bytes(tokens)};
  program_->run({symbols, {&in, 1}});
  const TensorView v = program_->output(logits_);
  return {reinterpret_cast<const float*>(v.data), static_cast<std::size_t>(config_.vocabulary)};
}

bool GptModel::generate(std::vector<i32> tokens, i64 count, const SamplerOptions& options,
                        const std::function<bool(i32)>& on_token, const std::atomic<bool>* cancel) {
  if (tokens.empty()) throw Error(ErrorKind::usage, "there is no token to begin with", "prompt");
  Sampler sampler(options, config_.vocabulary);
  const auto context = static_cast<std::size_t>(config_.context);
  std::size_t fed = 0;  // of the tokens in the context, those whose keys and values are kept
  if (tokens.size() > context) tokens.erase(tokens.begin(), tokens.end() - static_cast<std::ptrdiff_t>(context));
  for (i64 i = 0; i < count; ++i) {
    if (cancel != nullptr && cancel->load()) return false;
    const auto logits = feed(std::span(tokens).subspan(fed), static_cast<i64>(fed));
    fed = tokens.size();
    tokens.push_back(sampler.pick(logits, tokens));
    if (!on_token(tokens.back())) return true;
    if (tokens.size() > context) {
      tokens.erase(tokens.begin(), tokens.end() - static_cast<std::ptrdiff_t>(std::max<std::size_t>(1, context / 2)));
      fed = 0;
    }
  }
  return true;
}

}  // namespace terrace
