#include "terrace/kernels/cpu/standard_attention.h"

#include <algorithm>
#include <cmath>

#include "terrace/kernels/cpu/ledger.h"

namespace terrace {
namespace {

using L = AttentionLedger;

struct Matrix {
  AttentionOperand operand;
  float* at;
  i64 rows, columns, stride;  ///< floats from row to row
  float* row(i64 i) const { return at + i * stride; }
};

class Standard {
 public:
  Standard(const KernelArgs& a, AttentionLedger& ledger)
      : a_(a),
        ledger_(ledger),
        n_(a.in[0].dim[1]),
        m_(a.in[1].dim[1]),
        heads_(a.ints[0]),
        each_(heads_ / a.ints[1]),
        size_(a.in[0].dim[2] / heads_) {}

  void forward(float* scores, float* weights) {
    const auto scale = static_cast<float>(a_.floats[0]);
    each_head([&](i64 b, i64 h) {
      outer(of(AttentionOperand::q, a_.in[0], b, h, n_), keys(1, b, h), square(scores, b, h), scale);
    });
    each_head([&](i64 b, i64 h) { soften(square(scores, b, h), square(weights, b, h)); });
    each_head([&](i64 b, i64 h) {
      inner(square(weights, b, h), keys(2, b, h), of(AttentionOperand::o, a_.out[0], b, h, n_), 1);
    });
  }

  void backward(float* weights, float* scores, float* other) {
    const auto scale = static_cast<float>(a_.floats[0]);
    const auto d_o = [&](i64 b, i64 h) { return of(AttentionOperand::d_o, a_.in[5], b, h, n_); };
    each_head([&](i64 b, i64 h) {
      turned(square(weights, b, h), d_o(b, h), of(AttentionOperand::d_v, a_.out[2], b, h / each_, m_), 1,
             h % each_ != 0);
    });
    each_head([&](i64 b, i64 h) { outer(d_o(b, h), keys(2, b, h), square(scores, b, h), 1); });
    each_head([&](i64 b, i64 h) { soften_grad(square(weights, b, h), square(scores, b, h), square(other, b, h)); });
    each_head([&](i64 b, i64 h) {
      inner(square(other, b, h), keys(1, b, h), of(AttentionOperand::d_q, a_.out[0], b, h, n_), scale);
    });
    each_head([&](i64 b, i64 h) {
      turned(square(other, b, h), of(AttentionOperand::q, a_.in[0], b, h, n_),
             of(AttentionOperand::d_k, a_.out[1], b, h / each_, m_), scale, h % each_ != 0);
    });
  }

 private:
  template <class F>
  void each_head(F f) {
    for (i64 b = 0; b < a_.in[0].dim[0]; ++b)
      for (i64 h = 0; h < heads_; ++h) f(b, h);
  }
  Matrix of(AttentionOperand operand, const TensorView& x, i64 b, i64 h, i64 rows) const {
    return {operand, reinterpret_cast<float*>(x.data + b * x.stride[0]) + h * size_, rows, size_, x.stride[1] / 4};
  }
  Matrix keys(int which, i64 b, i64 h) const {
    return of(which == 1 ? AttentionOperand::k : AttentionOperand::v, a_.in[which], b, h / each_, m_);
  }
  Matrix square(float* all, i64 b, i64 h) const {
    return {AttentionOperand::scores, all + (b * heads_ + h) * n_ * m_, n_, m_, m_};
  }
  void touch(const Matrix& x, i64 r, i64 rows, i64 c, i64 columns, L::Access how) {
    ledger_.touch(x.operand, x.row(r) + c, rows, 4 * columns, 4 * x.stride, how);
  }
  /// f(i, rows, j, rows): blocks of `outer` rows that stay in the cache, tiles of `inner` rows that pass by.
  template <class F>
  void tiles(i64 outer_rows, i64 inner_rows, F f) {
    const i64 block = std::max<i64>(65536 / size_, 1), tile = 64;
    for (i64 i = 0; i < outer_rows; i += block)
      for (i64 j = 0; j < inner_rows; j += tile)
        f(i, std::min(block, outer_rows - i), j, std::min(tile, inner_rows - j));
  }

  /// c = factor x y^T.
  void outer(const Matrix& x, const Matrix& y, const Matrix& c, float factor) {
    tiles(x.rows, y.rows, [&](i64 i0, i64 rows, i64 j0, i64 count) {
      for (i64 i = i0; i < i0 + rows; ++i)
        for (i64 j = j0; j < j0 + count; ++j) {
          float sums[8] = {};
          for (i64 e = 0; e + 8 <= size_; e += 8)
            for (i64 l = 0; l < 8; ++l) sums[l] += x.row(i)[e + l] * y.row(j)[e + l];
          for (i64 e = size_ / 8 * 8; e < size_; ++e) sums[0] += x.row(i)[e] * y.row(j)[e];
          c.row(i)[j] =
              factor * ((sums[0] + sums[1]) + (sums[2] + sums[3]) + (sums[4] + sums[5]) + (sums[6] + sums[7]));
        }
      touch(x, i0, rows, 0, size_, L::read);
      touch(y, j0, count, 0, size_, L::read);
      touch(c, i0, rows, j0, count, L::write);
    });
  }
  /// c += factor x y, or of a turned x: row `to` of c from row `from` of y.
  void add_row(const Matrix& c, i64 to, const Matrix& y, i64 from, float factor) {
    float* s = c.row(to);
    const float* v = y.row(from);
    for (i64 e = 0; e < size_; ++e) s[e] += factor * v[e];
  }
  void begin(const Matrix& c, i64 row, i64 rows) {
    for (i64 i = row; i < row + rows; ++i) std::fill_n(c.row(i), size_, 0.0f);
  }
  /// c = factor x y.
  void inner(const Matrix& x, const Matrix& y, const Matrix& c, float factor) {
    tiles(x.rows, y.rows, [&](i64 i0, i64 rows, i64 j0, i64 count) {
      if (j0 == 0) begin(c, i0, rows);
      for (i64 i = i0; i < i0 + rows; ++i)
        for (i64 j = j0; j < j0 + count; ++j) add_row(c, i, y, j, factor * x.row(i)[j]);
      touch(x, i0, rows, j0, count, L::read);
      touch(y, j0, count, 0, size_, L::read);
      touch(c, i0, rows, 0, size_, j0 == 0 ? L::write : L::update);
    });
  }
  /// c (+)= factor x^T y.
  void turned(const Matrix& x, const Matrix& y, const Matrix& c, float factor, bool add) {
    tiles(c.rows, x.rows, [&](i64 j0, i64 count, i64 i0, i64 rows) {
      if (i0 == 0 && !add) begin(c, j0, count);
      for (i64 i = i0; i < i0 + rows; ++i)
        for (i64 j = j0; j < j0 + count; ++j) add_row(c, j, y, i, factor * x.row(i)[j]);
      touch(x, i0, rows, j0, count, L::read);
      touch(y, i0, rows, 0, size_, L::read);
      touch(c, j0, count, 0, size_, i0 == 0 && !add ? L::write : L::update);
    });
  }

  i64 seen(i64 i) const { return a_.ints[2] == 0 ? m_ : std::clamp<i64>(i + 1 + m_ - n_, 0, m_); }
  void soften(const Matrix& s, const Matrix& p) {
    for (i64 i = 0; i < n_; ++i) {
      const float *from = s.row(i), top = *std::max_element(from, from + std::max<i64>(seen(i), 1));
      float* to = p.row(i);
      double sum = 0;
      for (i64 j = 0; j < m_; ++j) sum += static_cast<double>(to[j] = j < seen(i) ? std::exp(from[j] - top) : 0.0f);
      for (i64 j = 0; j < seen(i); ++j) to[j] = static_cast<float>(static_cast<double>(to[j]) / sum);
      touch(s, i, 1, 0, m_, L::read);
      touch(p, i, 1, 0, m_, L::write);
    }
  }
  /// ds = p (dp - sum(p dp)), by rows.
  void soften_grad(const Matrix& p, const Matrix& dp, const Matrix& ds) {
    for (i64 i = 0; i < n_; ++i) {
      double dot = 0;
      for (i64 j = 0; j < m_; ++j) dot += static_cast<double>(p.row(i)[j]) * static_cast<double>(dp.row(i)[j]);
      for (i64 j = 0; j < m_; ++j) ds.row(i)[j] = p.row(i)[j] * (dp.row(i)[j] - static_cast<float>(dot));
      touch(p, i, 1, 0, m_, L::read);
      touch(dp, i, 1, 0, m_, L::read);
      touch(ds, i, 1, 0, m_, L::write);
    }
  }

  const KernelArgs& a_;
  AttentionLedger& ledger_;
  i64 n_, m_, heads_, each_, size_;
};

}  // namespace

void standard_attention(const KernelArgs& a, float* scores, float* weights, AttentionLedger& ledger) {
  if (a.worker == 0) Standard(a, ledger).forward(scores, weights);
}
void standard_attention_grad(const KernelArgs& a, const float* weights, float* scores, float* other,
                             AttentionLedger& ledger) {
  // Matrix has no constant form; what it stands for is only read.
  if (a.worker == 0) Standard(a, ledger).backward(const_cast<float*>(weights), scores, other);
}

}  // namespace terrace
