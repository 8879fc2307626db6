// Every operation there is. One file an op (or a family); the reference kernel of the same name says what it computes.
#pragma once

#include <span>
#include <string_view>

#include "terrace/graph/op_def.h"

namespace terrace::ops {

// Shapes: n rows of activations, k inputs, r outputs, C cache rows. x is f32 unless said.

/// take_rows(table [R, k] any layout, ids i32 [n]) -> [n, k] in the table's format: rows by id. Ids outside [0, R) are
/// an error of the caller, checked when inputs are bound.
extern const OpDef take_rows;
/// dequantize(x [n, k] any layout, or f16) -> f32 [n, k].
extern const OpDef dequantize;
/// quantize(x f32 [n, k]) -> q8a [n, k]: blocks of 32, d = max|x| / 127, q = round_to_even(x / d). k % 32 == 0.
extern const OpDef quantize;
/// rms_norm(x [n, k], weight f32 [k]) -> [n, k]: x / sqrt(mean(x^2) + eps) * weight. floats[0] = eps.
/// (Zhang & Sennrich 2019, arXiv 1910.07467.)
extern const OpDef rms_norm;
/// linear(x [n, k] f32 or q8a, w [r, k] f32, f16, q8_0, q4_0 or q4_1) -> f32 [n, r]: x w^T.
/// Axes: n parallel, r parallel, k reduce. q8a takes block layouts only.
extern const OpDef linear;
/// add(a, b), mul(a, b): same shapes, element-wise.
extern const OpDef add;
extern const OpDef mul;
/// silu(x) = x / (1 + exp(-x)); silu_mul(gate, up) = silu(gate) * up.
extern const OpDef silu;
extern const OpDef silu_mul;
/// softmax(x [n, k]) over the last axis.
extern const OpDef softmax;
/// rope_angles(like [n, *]) -> f32 [n, d]: for row i at position p = pos + i, pairs (cos, sin)(p * base^(-2j/d)),
/// j = 0..d/2-1, interleaved. ints[0] = d; floats[0] = base; symbols[0] = pos. (Su et al. 2021, arXiv 2104.09864.)
/// `like` gives only its row count; its bytes are not read.
extern const OpDef rope_angles;
/// rope(x [n, h*D], angles [n, d]) -> [n, h*D]: in every head of D, pairs (2j, 2j+1), j < d/2, are rotated; the rest is
/// copied. ints[0] = D. This is the interleaved order that GGUF's llama rows are permuted for.
extern const OpDef rope;
/// append_rows(cache [C, k] f16 or q8_0 or f32, x f32 [n, k]) -> the cache with rows pos .. pos+n-1 replaced.
/// In place. symbols[0] = pos; pos + n <= C.
extern const OpDef append_rows;
/// attention(q [n, h*D], keys [C, g*D], values [C, g*D]) -> [n, h*D]: causal, row i attends keys 0 .. pos+i,
/// head j uses group j / (h/g). ints = {h, g}; floats[0] = scale; symbols[0] = pos.
extern const OpDef attention;
/// last_rows(x [n, k]) -> [1, k]: the last row.
extern const OpDef last_rows;

/// All of them, for tables and tests.
std::span<const OpDef* const> all();
const OpDef* find(std::string_view name);

}  // namespace terrace::ops
