// Vectors of sixteen numbers, bfloat16 and the layouts that matrix products take. Compiles anywhere GCC or Clang does.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#if defined(__AVX512F__)
#include <immintrin.h>
#endif

namespace afunet {

typedef float Vec __attribute__((vector_size(64)));
typedef int32_t Int __attribute__((vector_size(64)));
typedef uint32_t Word __attribute__((vector_size(64)));  // two bfloat16 of one column, the even row in the low half
typedef float LooseVec __attribute__((vector_size(64), aligned(4), may_alias));
typedef uint32_t LooseWord __attribute__((vector_size(64), aligned(4), may_alias));
typedef uint16_t bf16;

constexpr int LANES = 16;
constexpr int TOKENS = 64;  // pixels of a window of 8×8: every matrix of a window has so many columns

inline int round_up(int value, int multiple) { return (value + multiple - 1) / multiple * multiple; }

inline Vec load(const float* from) { return *reinterpret_cast<const LooseVec*>(from); }
inline void store(float* to, Vec value) { *reinterpret_cast<LooseVec*>(to) = value; }
inline void store(uint32_t* to, Word value) { *reinterpret_cast<LooseWord*>(to) = value; }
inline Vec same(float value) { return Vec{} + value; }
inline Vec larger(Vec a, Vec b) { return a > b ? a : b; }
inline Vec smaller(Vec a, Vec b) { return a < b ? a : b; }

inline Vec inverse_root(Vec value) {
#if defined(__AVX512F__)
  return 1.0f / (Vec)_mm512_sqrt_ps((__m512)value);
#else
  for (int lane = 0; lane < LANES; ++lane) value[lane] = 1.0f / __builtin_sqrtf(value[lane]);
  return value;
#endif
}

inline float sum(Vec value) {
  float total = 0;
  for (int lane = 0; lane < LANES; ++lane) total += value[lane];
  return total;
}

// e^x, relative error below 1e-6, from 2^n · e^r with |r| ≤ ln 2 / 2. Never so small that it or a share of it is denormal:
// those are slow.
inline Vec exponential(Vec x) {
  x = larger(smaller(x, same(88.0f)), same(-60.0f));
  const Vec magic = same(12582912.0f);  // 1.5 · 2^23: adding it rounds to a whole number in the low bits
  const Vec shifted = x * 1.44269504f + magic;
  const Int power = (Int)shifted - (Int)magic;
  const Vec whole = shifted - magic;
  const Vec r = x - whole * 0.693359375f + whole * 2.12194440e-4f;
  Vec p = same(1.9875691500e-4f);
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * r * r + r + 1.0f;
  return (Vec)((Int)p + (power << 23));
}

// Share of the normal distribution below x, within 1.4e-5: a polynomial fitted to it between -4.2 and 4.2.
inline Vec share_below(Vec x) {
  x = larger(smaller(x, same(4.2f)), same(-4.2f));
  const Vec u = x * x;
  Vec p = same(5.99804298e-11f);
  p = p * u - 5.633300372e-9f;
  p = p * u + 2.343669359e-7f;
  p = p * u - 5.760762398e-6f;
  p = p * u + 9.457434297e-5f;
  p = p * u - 1.114147762e-3f;
  p = p * u + 9.830129926e-3f;
  p = p * u - 6.636037121e-2f;
  p = p * u + 3.989074381e-1f;
  return p * x + 0.5f;
}

// Density of the normal distribution.
inline Vec density(Vec x) { return 0.3989422804f * exponential(x * x * -0.5f); }

// Rounded to the nearest bfloat16, in the low half of each lane.
inline Word rounded(Vec value) {
  const Word bits = (Word)value;
  return (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
}

// Two rows of sixteen numbers as words: what a product wants of two neighbouring rows of its right side.
inline Word pair(Vec even, Vec odd) {
#if defined(__AVX512BF16__)
  const __m512i halves = (__m512i)_mm512_cvtne2ps_pbh((__m512)odd, (__m512)even);  // even numbers in the lower half
  alignas(64) static const uint16_t order[32] = {0, 16, 1, 17, 2,  18, 3,  19, 4,  20, 5,  21, 6,  22, 7,  23,
                                                 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31};
  return (Word)_mm512_permutexvar_epi16(_mm512_load_si512(order), halves);
#else
  return rounded(even) | (rounded(odd) << 16);
#endif
}

inline void store_rounded(bf16* to, Vec value) {
#if defined(__AVX512BF16__)
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), (__m256i)_mm512_cvtneps_pbh((__m512)value));
#else
  const Word half = rounded(value);
  for (int lane = 0; lane < LANES; ++lane) to[lane] = (bf16)half[lane];
#endif
}

inline bf16 rounded(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  return (bf16)((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}

// rows×64 numbers → ⌈rows/2⌉×64 words: the right side of a product over these rows.
inline void pack_pairs(const float* from, int rows, uint32_t* to) {
  for (int row = 0; row < rows; row += 2)
    for (int column = 0; column < TOKENS; column += LANES) {
      const float* even = from + row * TOKENS + column;
      const Vec odd = row + 1 < rows ? load(even + TOKENS) : Vec{};
      store(to + row / 2 * TOKENS + column, pair(load(even), odd));
    }
}

// rows×64 numbers → rows×64 bfloat16: the left side of a product over the columns.
inline void pack_rows(const float* from, int rows, bf16* to) {
  for (int place = 0; place < rows * TOKENS; place += LANES) store_rounded(to + place, load(from + place));
}

// Transpose 16×16 words, from rows at `from(row)` to rows at `to(row)`.
template <typename From, typename To>
inline void transpose_block(const From& from, const To& to) {
  Word a[16], b[16];
  for (int row = 0; row < 16; ++row) a[row] = *reinterpret_cast<const LooseWord*>(from(row));
#define AFUNET_EXCHANGE(x, y, ...) __builtin_shufflevector(x, y, __VA_ARGS__)
  for (int row = 0; row < 16; row += 2) {
    b[row] = AFUNET_EXCHANGE(a[row], a[row + 1], 0, 16, 2, 18, 4, 20, 6, 22, 8, 24, 10, 26, 12, 28, 14, 30);
    b[row + 1] = AFUNET_EXCHANGE(a[row], a[row + 1], 1, 17, 3, 19, 5, 21, 7, 23, 9, 25, 11, 27, 13, 29, 15, 31);
  }
  for (int base = 0; base < 16; base += 4)
    for (int row = base; row < base + 2; ++row) {
      a[row] = AFUNET_EXCHANGE(b[row], b[row + 2], 0, 1, 16, 17, 4, 5, 20, 21, 8, 9, 24, 25, 12, 13, 28, 29);
      a[row + 2] = AFUNET_EXCHANGE(b[row], b[row + 2], 2, 3, 18, 19, 6, 7, 22, 23, 10, 11, 26, 27, 14, 15, 30, 31);
    }
  for (int base = 0; base < 16; base += 8)
    for (int row = base; row < base + 4; ++row) {
      b[row] = AFUNET_EXCHANGE(a[row], a[row + 4], 0, 1, 2, 3, 16, 17, 18, 19, 8, 9, 10, 11, 24, 25, 26, 27);
      b[row + 4] = AFUNET_EXCHANGE(a[row], a[row + 4], 4, 5, 6, 7, 20, 21, 22, 23, 12, 13, 14, 15, 28, 29, 30, 31);
    }
  for (int row = 0; row < 8; ++row) {
    a[row] = AFUNET_EXCHANGE(b[row], b[row + 8], 0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23);
    a[row + 8] = AFUNET_EXCHANGE(b[row], b[row + 8], 8, 9, 10, 11, 12, 13, 14, 15, 24, 25, 26, 27, 28, 29, 30, 31);
  }
#undef AFUNET_EXCHANGE
  for (int row = 0; row < 16; ++row) store(to(row), a[row]);
}

// rows×columns words, both multiples of 16 → columns×rows.
inline void transpose(const uint32_t* from, int rows, int columns, size_t from_stride, uint32_t* to, size_t to_stride) {
  for (int row = 0; row < rows; row += 16)
    for (int column = 0; column < columns; column += 16)
      transpose_block([&](int line) { return from + (row + line) * from_stride + column; },
                      [&](int line) { return to + (column + line) * to_stride + row; });
}

}  // namespace afunet
