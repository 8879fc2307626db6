// Typed physical units. A raw number never carries its unit in a name only.
#pragma once

#include <compare>
#include <cstdint>

namespace terrace {

using i64 = std::int64_t;
using u64 = std::uint64_t;
using u32 = std::uint32_t;
using i32 = std::int32_t;

/// A count of bytes. Arithmetic that would leave [0, 2^64) is a programming error.
struct Bytes {
  u64 count = 0;
  constexpr Bytes() = default;
  constexpr explicit Bytes(u64 n) : count(n) {}
  constexpr auto operator<=>(const Bytes&) const = default;
  constexpr Bytes& operator+=(Bytes o) {
    count += o.count;
    return *this;
  }
  constexpr Bytes& operator-=(Bytes o) {
    count -= o.count;
    return *this;
  }
};
constexpr Bytes operator+(Bytes a, Bytes b) { return Bytes{a.count + b.count}; }
constexpr Bytes operator-(Bytes a, Bytes b) { return Bytes{a.count - b.count}; }
constexpr Bytes operator*(Bytes a, u64 n) { return Bytes{a.count * n}; }
constexpr Bytes operator""_B(unsigned long long n) { return Bytes{n}; }
constexpr Bytes operator""_KiB(unsigned long long n) { return Bytes{n << 10}; }
constexpr Bytes operator""_MiB(unsigned long long n) { return Bytes{n << 20}; }
constexpr Bytes operator""_GiB(unsigned long long n) { return Bytes{n << 30}; }

/// One physical quantity held as a double; `Tag` keeps seconds and joules apart.
template <class Tag>
struct Quantity {
  double value = 0;
  constexpr Quantity() = default;
  constexpr explicit Quantity(double v) : value(v) {}
  constexpr auto operator<=>(const Quantity&) const = default;
  constexpr Quantity& operator+=(Quantity o) {
    value += o.value;
    return *this;
  }
  constexpr Quantity& operator-=(Quantity o) {
    value -= o.value;
    return *this;
  }
};
template <class T>
constexpr Quantity<T> operator+(Quantity<T> a, Quantity<T> b) {
  return Quantity<T>{a.value + b.value};
}
template <class T>
constexpr Quantity<T> operator-(Quantity<T> a, Quantity<T> b) {
  return Quantity<T>{a.value - b.value};
}
template <class T>
constexpr Quantity<T> operator*(Quantity<T> a, double k) {
  return Quantity<T>{a.value * k};
}
template <class T>
constexpr double operator/(Quantity<T> a, Quantity<T> b) {
  return a.value / b.value;
}

using Seconds = Quantity<struct SecondsTag>;
using Joules = Quantity<struct JoulesTag>;
using BytesPerSecond = Quantity<struct BytesPerSecondTag>;
using OpsPerSecond = Quantity<struct OpsPerSecondTag>;

/// Seconds to move `n` at `rate`. A rate of zero or less has no meaning and must be caught at loading.
constexpr Seconds operator/(Bytes n, BytesPerSecond rate) { return Seconds{static_cast<double>(n.count) / rate.value}; }

constexpr u64 round_up(u64 n, u64 multiple) { return (n + multiple - 1) / multiple * multiple; }
constexpr u64 round_down(u64 n, u64 multiple) { return n / multiple * multiple; }
constexpr u64 ceil_div(u64 n, u64 d) { return (n + d - 1) / d; }

}  // namespace terrace
