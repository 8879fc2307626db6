#include "terrace/program/training_run.h"

#include <fmt/format.h>

#include <cmath>
#include <cstring>

#include "terrace/core/error.h"
#include "terrace/program/gpt_model.h"

namespace terrace {

TrainingRun::TrainingRun(TrainConfig config, Machine machine, TrainerOptions options)
    : config_(std::move(config)), data_(config_.text, config_.characters, config_.validation, config_.length) {
  config_.model.vocabulary = data_.vocabulary();
  if (config_.validation > 0 && data_.validation_windows() < config_.batch)
    throw Error(ErrorKind::bad_file,
                fmt::format("its validation part has {} windows of {} tokens, fewer than a batch of {}",
                            data_.validation_windows(), config_.length, config_.batch),
                config_.text, "a longer text, a larger data.validation (0: none), or a smaller run.batch");
  GraphBuilder b;
  nn::Gpt model(b, config_.model);
  parameters_ = model.parameters();
  count_ = b.state("step", {DType::i32, Layout::dense, {Dim(1)}});
  const TensorSpec window{DType::i32, Layout::dense, {Dim(config_.batch), Dim(config_.length)}};
  for (i64 part = 0; part < config_.parts; ++part) {
    ids_.push_back(b.input(fmt::format("ids.{}", part), window));
    targets_.push_back(b.input(fmt::format("targets.{}", part), window));
  }
  const auto i = [](i64 part) { return static_cast<std::size_t>(part); };
  if (config_.validation > 0) {
    validation_ = nn::mean_cross_entropy(b, model.logits(ids_[0]), targets_[0]);
    options.evaluations.push_back(validation_);
  }
  const auto loss = [&](i64 part) {
    return nn::mean_cross_entropy(b, model.logits(ids_[i(part)], count_), targets_[i(part)]);
  };
  update_ = nn::add_adamw(b, loss, config_.parts, parameters_, count_, config_.optimizer);
  b.output(update_.loss);
  b.output(update_.rate);
  if (update_.squares != kNone) b.output(update_.squares);
  if (validation_ != kNone) b.output(validation_);
  tokens_.resize(static_cast<std::size_t>(2 * config_.parts));
  for (auto& t : tokens_) t.resize(static_cast<std::size_t>(config_.batch * config_.length));
  trainer_ = std::make_unique<Trainer>(b.finish(), update_, parameters_, std::move(machine), options);
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
io::Metadata TrainingRun::metadata() {
  const nn::GptConfig& m = config_.model;
  const nn::AdamW& o = config_.optimizer;
  return {
      {"model", "gpt"},
      {"layers", std::to_string(m.layers)},
      {"width", std::to_string(m.width)},
      {"heads", std::to_string(m.heads)},
      {"context", std::to_string(m.context)},
      {"dropout", fmt::format("{}", m.dropout)},
      {"letters", letters_to_hex(data_.letters())},
      {"optimizer", fmt::format("adamw rate {} least {} betas {} {} eps {} decay {} clip {} warm-up {} steps {}",
                                o.rate, o.least_rate, o.beta1, o.beta2, o.eps, o.decay, o.clip, o.warm_up, o.steps)},
      {"data", fmt::format("tokens {} validation {} batch {} parts {} seed {}", data_.tokens(), config_.validation,
                           config_.batch, config_.parts, config_.seed)},
  };
}

void TrainingRun::start() { trainer_->start(config_.seed); }

void TrainingRun::resume() {
  const io::Checkpoint checkpoint(checkpoint_path());
  const std::vector<io::CheckpointTensor> expected = tensors();
  checkpoint.expect(expected);
  for (const auto& [key, value] : metadata())
    if (checkpoint.metadata(key) != value)
      throw Error(ErrorKind::bad_file,
                  fmt::format("was written under another configuration: its {} is \"{}\", not \"{}\"", key,
                              checkpoint.metadata(key), value),
                  checkpoint_path(), "resume with the configuration of its run, or train in another folder");
  trainer_->start(config_.seed);
  const std::vector<ValueId> all = states();
  for (std::size_t i = 0; i < all.size(); ++i)
    checkpoint.read(*checkpoint.file().find(expected[i].name), trainer_->bytes(all[i]));
}

i64 TrainingRun::steps_done() {
  i32 n = 0;
  std::memcpy(&n, trainer_->bytes(count_).data(), sizeof n);
  return n;
}

TrainStep TrainingRun::step() {
  const i64 done = steps_done();
  std::vector<InputBinding> in;
  for (std::size_t part = 0; part < ids_.size(); ++part) {
    std::vector<i32>&x = tokens_[2 * part], &y = tokens_[2 * part + 1];
    data_.draw(config_.seed, done, static_cast<i64>(part), x, y);
    in.push_back({ids_[part], std::as_bytes(std::span(x))});
    in.push_back({targets_[part], std::as_bytes(std::span(y))});
  }
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

void TrainingRun::fail_not_a_number(i64 step) {
  const nn::Parameter* p = first_not_finite();
  const std::string first = p != nullptr ? p->name : "no parameter";
  throw Error(
      ErrorKind::failure,
      fmt::format("step {}: the loss or its gradient is no number; the first tensor with such: {}", step, first),
      config_.origin, "a smaller optimizer.rate, or optimizer.clip = 1; the last checkpoint is as it was");
}

double TrainingRun::evaluate() {
  double sum = 0;
  i64 n = 0;
  std::vector<InputBinding> in;
  for (std::size_t part = 0; part < ids_.size(); ++part) {  // the evaluation reads the first part only
    in.push_back({ids_[part], std::as_bytes(std::span(tokens_[0]))});
    in.push_back({targets_[part], std::as_bytes(std::span(tokens_[1]))});
  }
  for (i64 at = 0; at + config_.batch <= data_.validation_windows(); at += config_.batch, ++n) {
    data_.validation(at, tokens_[0], tokens_[1]);
    sum += static_cast<double>(trainer_->evaluate(validation_, in)[0]);
  }
  return sum / static_cast<double>(n);
}

std::string TrainingRun::save() {
  if (first_not_finite() != nullptr) fail_not_a_number(steps_done());  // the one before is worth more
  const std::vector<io::CheckpointTensor> all = tensors();
  io::CheckpointWriter out(checkpoint_path(), all, metadata());
  for (ValueId v : states()) out.append(trainer_->bytes(v));
  return out.close();
}

}  // namespace terrace
