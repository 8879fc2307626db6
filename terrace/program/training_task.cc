#include "terrace/program/training_task.h"

#include "terrace/program/gpt_task.h"
#include "terrace/program/image_task.h"
#include "terrace/program/llama_task.h"

namespace terrace {

std::unique_ptr<TrainingTask> make_task(const TrainConfig& config) {
  switch (config.kind) {
    case ModelKind::gpt: return std::make_unique<GptTask>(config);
    case ModelKind::llama: return std::make_unique<LlamaTask>(config);
    case ModelKind::vit: return std::make_unique<ImageTask>(config);
  }
  return nullptr;
}

}  // namespace terrace
