#include "terrace/nn/vit.h"

#include <fmt/format.h>

#include <cmath>

#include "terrace/core/error.h"
#include "terrace/ops/ops.h"

namespace terrace::nn {

Vit::Vit(GraphBuilder& builder, const VitConfig& config) : b_(builder), c_(config), t_(builder, config) {
  if (c_.patch < 1 || c_.size % c_.patch != 0)
    throw Error(ErrorKind::usage, fmt::format("patches of {0} x {0} do not divide {1} x {1} pixels", c_.patch, c_.size),
                "patch");
  const i64 across = c_.size / c_.patch, pixels = c_.patch * c_.patch * c_.channels;
  // Products keep the size of what they take: the width is small, and GPT-2's 0.02 is that of a width of 2500. Places
  // are of the size of tokens, or the first steps do not see them.
  const auto of = [](i64 inputs) { return 1 / std::sqrt(static_cast<double>(inputs)); };
  embed_ = t_.layers().linear("patch", pixels, c_.width, of(pixels), true);
  places_ = t_.layers().parameter("wpe", {Dim(across * across), Dim(c_.width)}, 0.5);
  t_.declare_blocks(of(c_.width));
  last_norm_ = t_.layers().norm("ln_f", c_.width);
  head_ = t_.layers().linear("head", c_.width, c_.classes, 0.02, true);
}

ValueId Vit::logits(ValueId images, ValueId step) {
  Layers& l = t_.layers();
  const i64 across = c_.size / c_.patch;
  Attrs cut, place, grid, pool;
  cut.ints = {c_.patch, c_.patch, 0, 0};
  const ValueId patches = b_.call(ops::patches, {images}, cut, "patches");
  place.ints[0] = 1;  // of the axes before the pixels
  const ValueId places = b_.call(ops::take_rows, {places_, b_.call(ops::positions, {patches}, place)});
  const ValueId x = b_.call(ops::add, {l.apply(embed_, patches, "embedding"), places});
  const ValueId y = l.apply(last_norm_, t_.blocks(l.drop(x, step), step, t_.attention(false, step)), "ln_f");
  grid.ints = {1, 1, 0, across << 32 | across};  // [B, P, width] as images of tokens
  pool.ints = {across, across, 0, 0};
  return l.apply(head_, b_.call(ops::mean_pool, {b_.call(ops::fold, {y}, grid)}, pool, "pooled"), "logits");
}

}  // namespace terrace::nn
