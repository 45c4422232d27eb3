// Vectors as wide as the CPU has them, bfloat16 and the layouts that matrix products take. Compiles anywhere GCC or Clang
// does.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <utility>
#if defined(__AVX__)
#include <immintrin.h>
#endif

namespace afunet {

// Wider than its registers, a compiler would keep vectors in memory.
#if defined(__AVX512F__)
constexpr int LANES = 16;
#elif defined(__AVX__)
constexpr int LANES = 8;
#else
constexpr int LANES = 4;
#endif

typedef uint16_t bf16;
typedef float Vec __attribute__((vector_size(4 * LANES)));
typedef int32_t Int __attribute__((vector_size(4 * LANES)));
typedef uint32_t Word __attribute__((vector_size(4 * LANES)));  // two bfloat16 of a column, the even row in the low half
typedef bf16 Half __attribute__((vector_size(2 * LANES)));
typedef float LooseVec __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
typedef uint32_t LooseWord __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
typedef bf16 LooseHalf __attribute__((vector_size(2 * LANES), aligned(2), may_alias));

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

// Two rows of numbers as words: what a product wants of two neighbouring rows of its right side.
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
  *reinterpret_cast<LooseHalf*>(to) = __builtin_convertvector(rounded(value), Half);
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

// Two rows of a matrix exchange the lanes whose number has the bit STEP in one and lacks it in the other.
template <int STEP, size_t... LANE>
inline void exchange(Word& first, Word& second, std::index_sequence<LANE...>) {
  const Word upper = first, lower = second;
  first = __builtin_shufflevector(upper, lower, (LANE & STEP ? LANES + LANE - STEP : LANE)...);
  second = __builtin_shufflevector(upper, lower, (LANE & STEP ? LANES + LANE : LANE + STEP)...);
}

template <int STEP = 1>
inline void transpose_rows(Word* rows) {
  if constexpr (STEP < LANES) {
    for (int row = 0; row < LANES; ++row)
      if (!(row & STEP)) exchange<STEP>(rows[row], rows[row + STEP], std::make_index_sequence<LANES>{});
    transpose_rows<2 * STEP>(rows);
  }
}

// Transpose 16×16 words, from rows at `from(row)` to rows at `to(row)`.
template <typename From, typename To>
inline void transpose_block(const From& from, const To& to) {
  for (int top = 0; top < 16; top += LANES)
    for (int left = 0; left < 16; left += LANES) {
      Word rows[LANES];
      for (int row = 0; row < LANES; ++row) rows[row] = *reinterpret_cast<const LooseWord*>(from(top + row) + left);
      transpose_rows(rows);
      for (int row = 0; row < LANES; ++row) store(to(left + row) + top, rows[row]);
    }
}

// rows×columns words, both multiples of 16 → columns×rows.
inline void transpose(const uint32_t* from, int rows, int columns, size_t from_stride, uint32_t* to, size_t to_stride) {
  for (int row = 0; row < rows; row += 16)
    for (int column = 0; column < columns; column += 16)
      transpose_block([&](int line) { return from + (row + line) * from_stride + column; },
                      [&](int line) { return to + (column + line) * to_stride + row; });
}

}  // namespace afunet
