// Attention for training, tile by tile: memory grows with the length, not with its square.
// (Dao 2023, arXiv 2307.08691; the online maximum is Milakov & Gimelshein's, 2018, arXiv 1805.02867.)
#pragma once

#include "terrace/kernels/cpu/list.h"

namespace terrace {

class AttentionLedger;

// Order of additions. A result's bits depend on the operands' values and shapes and the instruction set; never on the
// workers. A score is one chain of multiply-adds over the head's elements in rising order; keys come in tiles that
// begin at multiples of 128; an output is one chain over the keys, scaled when the running maximum grows. A gradient of
// queries is one chain over the keys; one of keys and values a chain over each block of queries, blocks and then heads
// of a group added up in order. What causality hides from a row is never multiplied with it, so not even a NaN there
// reaches it.
//
// In bf16: products multiply bf16 and add in f32, as matmul's do (in avx512bf16 by pairs); scores, maxima and sums are
// f32, and so is lse; the weights of the values, and forward and backward what gradients are multiplied with (p and
// ds), are rounded to bf16. Forward goes as above, backward by tiles of keys, each against all queries, whose gradients
// stay in f32 till the last: a result is rounded once, but for dk and dv of a group of several heads, once for each.
// What causality hides has weight 0; up to 63 keys of it may be multiplied with that 0, so a NaN there may reach a row.
#define TERRACE_FLASH_KERNELS(X)                 \
  X(flash_attention, "flash_attention", "fffff") \
  X(flash_attention_grad, "flash_attention_grad", "fffffffff")
#define TERRACE_FLASH_BF16_KERNELS(X)                 \
  X(flash_attention_bf16, "flash_attention", "hhhhf") \
  X(flash_attention_grad_bf16, "flash_attention_grad", "hhhhfhhhh")

/// Heads of up to this size have kernels.
inline constexpr i64 kMaxFlashHead = 256;
/// Floats that a packed row takes.
constexpr i64 flash_wide(i64 head) { return (head + 31) / 32 * 32; }

// Sizes of tiles and blocks, for a core's cache of 1 MiB.

/// Queries that the forward kernel does together: few where all keys stay in the cache, many where they do not.
constexpr i64 flash_block(i64 head, i64 n, i64 m) {
  const i64 wide = flash_wide(head), rows = (m * wide <= 65536 ? 16384 : 65536) / wide / 16 * 16;
  return rows < n ? rows : n < 1 ? 1 : n;
}
/// Tiles of the backward kernel.
inline constexpr i64 kFlashKeys = 64, kFlashQueries = 32;
/// Floats in them: five of keys, three of queries, two of scores.
constexpr i64 flash_grad_tiles(i64 head) {
  return flash_wide(head) * (5 * kFlashKeys + 3 * kFlashQueries) + 2 * kFlashKeys * kFlashQueries;
}
/// Queries that the backward kernel does together: so many that they stay in the cache, with do and dq, beside the
/// tiles and the rows of keys, values and their gradients that go in and out.
constexpr i64 flash_grad_block(i64 head, i64 n) {
  const i64 wide = flash_wide(head), room = 244000 - flash_grad_tiles(head) - 4 * kFlashKeys * wide;
  const i64 rows = room / (3 * wide) / 32 * 32;
  return rows < n ? rows : n < 1 ? 1 : n;
}

/// Bytes of scratch for each worker, however long the sequences are: forward the block's queries and sums, a tile of
/// keys and one of values, a tile of scores; backward the tiles, and two numbers for each query of a block.
constexpr u64 flash_scratch(i64 head, i64 n, i64 m) {
  const i64 wide = flash_wide(head), block = flash_block(head, n, m);
  return round_up(static_cast<u64>(4 * (2 * wide * (block + 128) + 8 * 128 + 2 * block)), 64);
}
constexpr u64 flash_grad_scratch(i64 head, i64 n) {
  return round_up(static_cast<u64>(4 * (flash_grad_tiles(head) + 2 * flash_grad_block(head, n))), 64);
}

/// In bf16: forward a tile of weights more; backward the tiles (five of keys, four of queries, five of scores), and all
/// dq of a head with two numbers for each query.
constexpr u64 flash_bf16_scratch(i64 head, i64 n, i64 m) { return flash_scratch(head, n, m) + 4 * 8 * 128; }
constexpr u64 flash_bf16_grad_scratch(i64 head, i64 n) {
  const i64 wide = flash_wide(head),
            tiles = wide * (5 * kFlashKeys + 4 * kFlashQueries) + 5 * kFlashKeys * kFlashQueries;
  return round_up(static_cast<u64>(4 * (tiles + n * (wide + 2))), 64);
}

/// flash_attention.{isa} and flash_attention_grad.{isa}, in bf16 flash_attention.bf16.{isa}.
void register_flash_portable(KernelTable& table);
void register_flash_avx2(KernelTable& table);
void register_flash_avx512(KernelTable& table);
void register_flash_avx512_bf16(KernelTable& table);

namespace portable {
TERRACE_FLASH_KERNELS(TERRACE_DECLARE)
TERRACE_FLASH_BF16_KERNELS(TERRACE_DECLARE)
/// The same kernels, which tell a ledger what they touch.
void flash_attention_counted(const KernelArgs& a, AttentionLedger& ledger);
void flash_attention_grad_counted(const KernelArgs& a, AttentionLedger& ledger);
}  // namespace portable
namespace avx2 {
TERRACE_FLASH_KERNELS(TERRACE_DECLARE)
TERRACE_FLASH_BF16_KERNELS(TERRACE_DECLARE)
void flash_attention_counted(const KernelArgs& a, AttentionLedger& ledger);
void flash_attention_grad_counted(const KernelArgs& a, AttentionLedger& ledger);
}  // namespace avx2
namespace avx512 {
TERRACE_FLASH_KERNELS(TERRACE_DECLARE)
TERRACE_FLASH_BF16_KERNELS(TERRACE_DECLARE)
}  // namespace avx512
namespace avx512_bf16 {
TERRACE_FLASH_BF16_KERNELS(TERRACE_DECLARE)
}

}  // namespace terrace
