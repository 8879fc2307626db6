#include "terrace/program/train_config.h"

#include <fmt/format.h>

#include <filesystem>

#include "terrace/core/error.h"
#include "terrace/core/toml_read.h"

namespace terrace {
namespace {

using toml::TableReader;

i64 whole(TableReader& t, const char* key, u64 otherwise, u64 most) {
  return static_cast<i64>(t.optional_count(key, most).value_or(otherwise));
}
i64 whole_or_zero(TableReader& t, const char* key, u64 otherwise, u64 most) {
  return static_cast<i64>(t.count_or_zero(key, otherwise, most));
}
double share(TableReader& t, const char* key, double otherwise, double below) {
  const double x = t.number_or_zero(key, otherwise);
  if (x >= below) t.fail("is too large", fmt::format("must be below {}", below), key);
  return x;
}
TableReader section(TableReader& root, const char* name) {
  auto t = root.table(name);
  if (!t) root.fail(fmt::format("there is no [{}]", name), "see examples/char_gpt.toml");
  return *std::move(t);
}

void check_heads(const TableReader& t, i64 width, i64 heads) {
  if (width % heads != 0)
    t.fail(fmt::format("{} heads do not divide a width of {}", heads, width), "choose another", "heads");
  if (width / heads > 256) t.fail("heads are wider than 256", "more heads", "heads");
}

void read_blocks(TableReader& t, nn::TransformerConfig& c) {
  c.layers = whole(t, "layers", 4, 1024);
  c.width = whole(t, "width", 128, 1 << 16);
  c.heads = whole(t, "heads", 4, 1024);
  c.dropout = share(t, "dropout", 0, 1);
  check_heads(t, c.width, c.heads);
}

nn::GptConfig read_gpt(TableReader& t) {
  nn::GptConfig c;
  read_blocks(t, c);
  c.context = whole(t, "context", 64, 1 << 20);
  c.precision = t.one_of("precision", {"f32", "bf16"}, "f32") == "bf16" ? DType::bf16 : DType::f32;
  return c;
}

nn::VitConfig read_vit(TableReader& t) {
  nn::VitConfig c;
  read_blocks(t, c);
  c.patch = whole(t, "patch", 4, 1 << 10);
  c.classes = whole(t, "classes", 10, 256);
  return c;
}

BaseModel read_base(TableReader& t, TableReader* lora, const std::filesystem::path& folder) {
  BaseModel m;
  m.path = (folder / t.text("file")).string();
  m.length = whole(t, "context", 256, 1 << 20);
  if (!lora) return m;
  nn::Lora& l = m.lora.emplace();
  l.rank = whole(*lora, "rank", 8, 1 << 16);
  l.alpha = lora->optional_number("alpha").value_or(16);
  if (std::vector<std::string> targets = lora->texts("targets", 16); !targets.empty()) l.targets = std::move(targets);
  lora->finish();
  return m;
}

/// `own`: the model brings a tokenizer, and nothing else will do.
TextSource read_text(TableReader& t, const std::filesystem::path& folder, bool own) {
  TextSource text;
  text.path = (folder / t.text("text")).string();
  if (own) {
    t.one_of("tokens", {"tokenizer"}, "tokenizer");
  } else {
    const std::string tokens = t.one_of("tokens", {"characters", "bytes", "tokenizer"}, "characters");
    text.characters = tokens == "characters";
    if (tokens == "tokenizer") text.tokenizer = (folder / t.text("tokenizer")).string();
  }
  text.validation = share(t, "validation", 0.1, 0.9);
  return text;
}

ImageFiles read_images(TableReader& t, const std::filesystem::path& folder) {
  const auto path = [&](const std::string& name) { return name.empty() ? name : (folder / name).string(); };
  ImageFiles f;
  f.images = path(t.text("images"));
  f.labels = path(t.text("labels"));
  f.test_images = path(t.text_or("test_images", ""));
  f.test_labels = path(t.text_or("test_labels", ""));
  if (f.test_images.empty() != f.test_labels.empty())
    t.fail("test images and their labels go together", "both, or neither", "test_images");
  return f;
}

/// [model], what belongs to its kind, and the [data] for it.
void read_task(TableReader& root, const std::filesystem::path& folder, TrainConfig& c) {
  TableReader model = section(root, "model"), data = section(root, "data");
  const std::string kind = model.one_of("kind", {"gpt", "llama", "vit"});
  if (kind == "gpt") {
    c.kind = ModelKind::gpt;
    c.gpt = read_gpt(model);
    c.text = read_text(data, folder, false);
  } else if (kind == "llama") {
    c.kind = ModelKind::llama;
    std::optional<TableReader> lora = root.table("lora");
    c.base = read_base(model, lora ? &*lora : nullptr, folder);
    c.text = read_text(data, folder, true);
  } else {
    c.kind = ModelKind::vit;
    c.vit = read_vit(model);
    c.images = read_images(data, folder);
    c.augmentation.shift = whole_or_zero(data, "shift", 0, 1 << 15);
    c.augmentation.flip = data.flag("flip");
  }
  model.finish();
  data.finish();
}

/// What optimizers have in common.
template <class O>
void read_schedule(TableReader& t, O& o, double rate) {
  o.rate = t.optional_number("rate").value_or(rate);
  o.least_rate = t.number_or_zero("least_rate", o.rate / 10);
  o.clip = t.number_or_zero("clip", 0);
  o.warm_up = whole_or_zero(t, "warm_up", 0, u64{1} << 31);
}

nn::Optimizer read_optimizer(TableReader t) {
  nn::Optimizer read;
  if (t.one_of("kind", {"adamw", "sgd"}, "adamw") == "adamw") {
    nn::AdamW o;
    read_schedule(t, o, 1e-3);
    o.beta1 = share(t, "beta1", 0.9, 1);
    o.beta2 = share(t, "beta2", 0.99, 1);
    o.eps = t.optional_number("eps").value_or(1e-8);
    o.decay = t.number_or_zero("decay", 0.1);
    read = o;
  } else {
    nn::Sgd o;
    read_schedule(t, o, 0.1);
    o.momentum = share(t, "momentum", 0.9, 1);
    o.decay = t.number_or_zero("decay", 0);
    read = o;
  }
  t.finish();
  return read;
}

void read_run(TableReader t, const std::filesystem::path& folder, TrainConfig& c) {
  c.folder = (folder / t.text("folder")).string();
  c.steps = static_cast<i64>(t.count("steps", (u64{1} << 31) - 1));
  c.batch = whole(t, "batch", 12, 1 << 16);
  c.parts = whole(t, "accumulate", 1, 1024);
  c.seed = static_cast<u64>(whole_or_zero(t, "seed", 1, u64{1} << 53));
  c.evaluate_every = whole_or_zero(t, "evaluate_every", 250, u64{1} << 31);
  c.save_every = whole_or_zero(t, "save_every", 500, u64{1} << 31);
  std::visit(
      [&](auto& o) {
        o.steps = c.steps;
        if (o.warm_up >= o.steps)
          t.fail("are not more than the warm-up", "more steps, or a shorter optimizer.warm_up", "steps");
      },
      c.optimizer);
  t.finish();
}

}  // namespace

TrainConfig parse_train_config(std::string_view text, const std::string& origin) {
  TrainConfig c;
  c.origin = origin;
  const std::filesystem::path folder = std::filesystem::path(origin).parent_path();
  try {
    TableReader root(toml::whole(text), "", origin, true);
    read_task(root, folder, c);
    c.optimizer = nn::AdamW{.beta2 = 0.99};
    if (auto t = root.table("optimizer")) c.optimizer = read_optimizer(*std::move(t));
    read_run(section(root, "run"), folder, c);
    root.finish();
  } catch (const toml::SyntaxError& e) {
    throw Error(ErrorKind::bad_file, fmt::format("this is not the TOML of configurations: {}", e.what),
                fmt::format("{}:{}", origin, e.line), "see examples/char_gpt.toml");
  }
  return c;
}

}  // namespace terrace
