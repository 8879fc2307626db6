#include "terrace/program/training_run.h"

#include <fmt/format.h>

#include <cmath>
#include <cstring>

#include "terrace/core/error.h"
#include "terrace/passes/fuse.h"

namespace terrace {

TrainingRun::TrainingRun(TrainConfig config, Machine machine, TrainerOptions options,
                         std::span<const std::string> no_fuse)
    : config_(std::move(config)), task_(make_task(config_)) {
  GraphBuilder b;
  parameters_ = task_->declare(b);
  count_ = b.state("step", {DType::i32, Layout::dense, {Dim(1)}});
  const std::vector<BatchInput> batch = task_->inputs();
  for (i64 part = 0; part < config_.parts; ++part)
    for (const BatchInput& i : batch) {
      inputs_.push_back(b.input(fmt::format("{}.{}", i.name, part), i.spec));
      bytes_.emplace_back(i.spec.bytes({}).count);
      options.data += i.spec.bytes({});
    }
  options.data += task_->memory_bytes();
  const auto of_part = [&](i64 part) {
    return std::span<const ValueId>(inputs_).subspan(static_cast<std::size_t>(part) * batch.size(), batch.size());
  };
  if (task_->validation_batches() > 0) metrics_ = task_->evaluation(of_part(0));
  update_ = nn::add_optimizer(
      b, [&](i64 part) { return task_->loss(of_part(part), count_); }, config_.parts, parameters_, count_,
      config_.optimizer);
  b.output(update_.loss);
  b.output(update_.rate);
  if (update_.squares != kNone) b.output(update_.squares);
  for (const Metric& m : metrics_) b.output(m.value);
  passes::Rewritten fused = passes::fuse(b.finish(), no_fuse, update_.changed);
  renumber(fused.value);
  for (const Metric& m : metrics_) options.evaluation.push_back(m.value);
  if (options.files = task_->files(); !options.files.empty()) {
    const std::optional<TierId> disk = machine.file_tier();
    if (!disk) throw Error(ErrorKind::usage, "the machine has no persistent tier to read the model from", machine.name);
    options.weights = task_->weights(fused.graph, *disk);
  }
  trainer_ = std::make_unique<Trainer>(std::move(fused.graph), update_, parameters_, std::move(machine), options);
}

void TrainingRun::renumber(std::span<const ValueId> to) {
  for (ValueId& v : inputs_) v = to[v];
  for (Metric& m : metrics_) m.value = to[m.value];
  count_ = to[count_];
  update_ = nn::renumbered(update_, to);
  parameters_ = nn::renumbered(parameters_, to);
}

i64 TrainingRun::parameter_count() const {
  i64 n = 0;
  for (const nn::Parameter& p : parameters_)
    n += static_cast<i64>(trainer_->graph().value(p.value).spec.bytes({}).count / 4);
  return n;
}

/// Parameters, moments, the count of steps.
std::vector<ValueId> TrainingRun::states() const {
  std::vector<ValueId> all;
  for (const nn::Parameter& p : parameters_) all.push_back(p.value);
  for (const nn::Parameter& p : update_.moments) all.push_back(p.value);
  all.push_back(count_);
  return all;
}

std::vector<io::CheckpointTensor> TrainingRun::tensors() const {
  std::vector<io::CheckpointTensor> all;
  for (ValueId v : states()) {
    const Value& value = trainer_->graph().value(v);
    all.push_back({value.name, value.spec, all.size() < parameters_.size()});
  }
  return all;
}

/// What the numbers of a step depend on, besides the states.
io::Metadata TrainingRun::metadata() const {
  io::Metadata all = task_->metadata();
  if (const auto* o = std::get_if<nn::AdamW>(&config_.optimizer))
    all["optimizer"] =
        fmt::format("adamw rate {} least {} betas {} {} eps {} decay {} clip {} warm-up {} steps {}", o->rate,
                    o->least_rate, o->beta1, o->beta2, o->eps, o->decay, o->clip, o->warm_up, o->steps);
  else if (const auto* s = std::get_if<nn::Sgd>(&config_.optimizer))
    all["optimizer"] = fmt::format("sgd rate {} least {} momentum {} decay {} clip {} warm-up {} steps {}", s->rate,
                                   s->least_rate, s->momentum, s->decay, s->clip, s->warm_up, s->steps);
  all["run"] = fmt::format("batch {} parts {} seed {}", config_.batch, config_.parts, config_.seed);
  return all;
}

void TrainingRun::start() {
  saved_ = 0;
  trainer_->start(config_.seed);
  for (const nn::Parameter& p : parameters_) task_->fill(p, trainer_->values(p.value));
}

void TrainingRun::resume() {
  const io::Checkpoint checkpoint(checkpoint_path());
  const std::vector<io::CheckpointTensor> expected = tensors();
  checkpoint.expect(expected);
  const auto says_where = [](const std::string& key) { return key == "base_name" || key == "tokenizer"; };
  for (const auto& [key, value] : metadata())  // files may have moved: their hashes are among the rest
    if (!says_where(key) && checkpoint.metadata(key) != value)
      throw Error(ErrorKind::bad_file,
                  fmt::format("was written under another configuration: its {} is \"{}\", not \"{}\"", key,
                              checkpoint.metadata(key), value),
                  checkpoint_path(), "resume with the configuration of its run, or train in another folder");
  trainer_->start(config_.seed);
  const std::vector<ValueId> all = states();
  for (std::size_t i = 0; i < all.size(); ++i)
    checkpoint.read(*checkpoint.file().find(expected[i].name), trainer_->bytes(all[i]));
  saved_ = steps_done();
}

i64 TrainingRun::steps_done() {
  i32 n = 0;
  std::memcpy(&n, trainer_->bytes(count_).data(), sizeof n);
  return n;
}

/// Fills the inputs of all parts for step `index`, or of the first for batch `index` of the validation part.
std::vector<InputBinding> TrainingRun::bind(bool validation, i64 index) {
  const std::size_t each = inputs_.size() / static_cast<std::size_t>(config_.parts);
  for (i64 part = 0; part < (validation ? 1 : config_.parts); ++part) {
    std::vector<std::span<std::byte>> batch;
    for (std::size_t i = 0; i < each; ++i) batch.emplace_back(bytes_[static_cast<std::size_t>(part) * each + i]);
    if (validation)
      task_->validation(index, batch);
    else
      task_->draw(config_.seed, index, part, batch);
  }
  std::vector<InputBinding> in;
  for (std::size_t i = 0; i < inputs_.size(); ++i) in.push_back({inputs_[i], bytes_[i]});
  return in;
}

TrainStep TrainingRun::step() {
  const i64 done = steps_done();
  const std::vector<InputBinding> in = bind(false, done);
  TrainStep s;
  s.step = done + 1;
  s.loss = trainer_->step(in);
  s.seconds = trainer_->trace().totals.seconds;
  s.rate = static_cast<double>(trainer_->output(update_.rate)[0]);
  if (update_.squares != kNone) s.grad_norm = std::sqrt(static_cast<double>(trainer_->output(update_.squares)[0]));
  if (!std::isfinite(s.loss) || (update_.squares != kNone && !std::isfinite(s.grad_norm))) fail_not_a_number(s.step);
  return s;
}

const nn::Parameter* TrainingRun::first_not_finite() {
  for (const nn::Parameter& p : parameters_)
    for (float x : trainer_->values(p.value))
      if (!std::isfinite(x)) return &p;
  return nullptr;
}

namespace {
bool all_finite(const TensorView& v) {
  if (v.dtype != DType::f32 && v.dtype != DType::bf16) return true;
  const u64 size = dense_bytes(v.dtype), n = packed_bytes(v).count / size;
  for (u64 i = 0; i < n; ++i) {
    u32 bits = 0;
    std::memcpy(&bits, v.data + i * size, size);
    if (v.dtype == DType::bf16) bits <<= 16;
    if ((bits & 0x7f800000u) == 0x7f800000u) return false;
  }
  return true;
}
}  // namespace

/// A run is a function of its checkpoint: the same steps go wrong in the same place.
std::optional<std::string> TrainingRun::first_bad_tensor(i64 step) {
  saved_ > 0 ? resume() : start();
  const i64 first = steps_done();
  for (i64 done = first; done < step - 1; ++done) {
    if (on_search && !on_search(done - first, step - first)) return std::nullopt;
    trainer_->step(bind(false, done));
  }
  if (const nn::Parameter* p = first_not_finite()) return fmt::format("{}, as step {} left it", p->name, step - 1);
  std::optional<std::string> found;
  trainer_->watch_step(bind(false, step - 1), [&](const Node& node, std::span<const TensorView> outputs) {
    for (std::size_t i = 0; i < outputs.size(); ++i) {
      if (all_finite(outputs[i])) continue;
      found = fmt::format("{} ({})", trainer_->graph().value(node.outputs[i]).name, node.op->name);
      return false;
    }
    return true;
  });
  return found;
}

void TrainingRun::fail_not_a_number(i64 step) {
  const nn::Parameter* p = first_not_finite();
  const std::string first = first_bad_tensor(step).value_or(p != nullptr ? p->name : "not found");
  throw Error(
      ErrorKind::failure,
      fmt::format("step {}: the loss or its gradient is no number; the first tensor with such: {}", step, first),
      config_.origin, "a smaller optimizer.rate, or optimizer.clip = 1; the last checkpoint is as it was");
}

std::vector<std::pair<std::string, double>> TrainingRun::evaluate() {
  std::vector<std::pair<std::string, double>> means;
  for (const Metric& m : metrics_) means.emplace_back(m.name, 0);
  const i64 n = task_->validation_batches();
  for (i64 at = 0; at < n; ++at) {
    trainer_->evaluate(bind(true, at));
    for (std::size_t i = 0; i < metrics_.size(); ++i)
      means[i].second += static_cast<double>(trainer_->output(metrics_[i].value)[0]);
  }
  for (auto& [name, mean] : means) mean /= static_cast<double>(n);
  return means;
}

std::string TrainingRun::save() {
  if (first_not_finite() != nullptr) fail_not_a_number(steps_done());  // the one before is worth more
  const std::vector<io::CheckpointTensor> all = tensors();
  io::CheckpointWriter out(checkpoint_path(), all, metadata());
  for (ValueId v : states()) out.append(trainer_->bytes(v));
  std::string hash = out.close();
  saved_ = steps_done();
  return hash;
}

}  // namespace terrace
