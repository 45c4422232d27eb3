// Products of small bfloat16 matrices with float32 sums: on the matrix unit (AMX) where there is one.
#pragma once

#include "vectors.hpp"

// AFUNET_PLAIN_PRODUCTS leaves the matrix unit alone, for tests.
#if defined(__AMX_BF16__) && !defined(AFUNET_PLAIN_PRODUCTS)
#define AFUNET_MATRIX_UNIT
#include <immintrin.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace afunet {

#if defined(AFUNET_MATRIX_UNIT)

// Whether the system lets this process use the matrix unit. Asked once; it holds for all threads.
inline bool matrix_unit() {
  constexpr int request_permission = 0x1023, tile_data = 18;
  static const bool granted = syscall(SYS_arch_prctl, request_permission, tile_data) == 0;
  return granted;
}

struct alignas(64) TileShape {
  uint8_t palette = 1, start = 0, reserved[14] = {};
  uint16_t bytes[16] = {};
  uint8_t rows[16] = {};
};

// To be called by every thread before its first product.
inline void prepare_thread() {
  if (!matrix_unit()) return;
  TileShape shape;
  for (int tile = 0; tile < 8; ++tile) shape.bytes[tile] = 64, shape.rows[tile] = 16;
  _tile_loadconfig(&shape);
}

inline void finish_thread() {
  if (matrix_unit()) _tile_release();
}

// (16·TALL)×(16·WIDE) of the result.
template <int TALL, int WIDE>
inline void tiles(const bf16* a, size_t a_stride, const uint32_t* b, size_t b_stride, float* c, size_t c_stride, int inner,
                  bool add) {
  float* c1 = c + 16 * c_stride;
  if (add) {
    _tile_loadd(0, c, 4 * c_stride);
    if constexpr (WIDE > 1) _tile_loadd(1, c + 16, 4 * c_stride);
    if constexpr (TALL > 1) _tile_loadd(2, c1, 4 * c_stride);
    if constexpr (TALL > 1 && WIDE > 1) _tile_loadd(3, c1 + 16, 4 * c_stride);
  } else {
    _tile_zero(0);
    if constexpr (WIDE > 1) _tile_zero(1);
    if constexpr (TALL > 1) _tile_zero(2);
    if constexpr (TALL > 1 && WIDE > 1) _tile_zero(3);
  }
  for (int k = 0; k < inner; k += 32) {
    _tile_loadd(4, a + k, 2 * a_stride);
    if constexpr (TALL > 1) _tile_loadd(5, a + k + 16 * a_stride, 2 * a_stride);
    _tile_loadd(6, b + k / 2 * b_stride, 4 * b_stride);
    if constexpr (WIDE > 1) _tile_loadd(7, b + k / 2 * b_stride + 16, 4 * b_stride);
    _tile_dpbf16ps(0, 4, 6);
    if constexpr (WIDE > 1) _tile_dpbf16ps(1, 4, 7);
    if constexpr (TALL > 1) _tile_dpbf16ps(2, 5, 6);
    if constexpr (TALL > 1 && WIDE > 1) _tile_dpbf16ps(3, 5, 7);
  }
  _tile_stored(0, c, 4 * c_stride);
  if constexpr (WIDE > 1) _tile_stored(1, c + 16, 4 * c_stride);
  if constexpr (TALL > 1) _tile_stored(2, c1, 4 * c_stride);
  if constexpr (TALL > 1 && WIDE > 1) _tile_stored(3, c1 + 16, 4 * c_stride);
}

#else

inline bool matrix_unit() { return false; }
inline void prepare_thread() {}
inline void finish_thread() {}

#endif

inline Vec low_half(Word words) { return (Vec)(words << 16); }
inline Vec high_half(Word words) { return (Vec)(words & 0xffff0000u); }

// Two neighbours of a row. By intrinsics, because compilers split a broadcast word in a general register, and moving two
// halves from there to a vector takes twice as long as the products.
inline Word in_all_lanes(const bf16* two) {
#if defined(__AVX512F__)
  return (Word)_mm512_broadcastss_ps(_mm_load_ss(reinterpret_cast<const float*>(two)));
#elif defined(__AVX__)
  return (Word)_mm256_broadcast_ss(reinterpret_cast<const float*>(two));
#else
  uint32_t word;
  std::memcpy(&word, two, sizeof word);
  return Word{} + word;
#endif
}

// With ordinary vectors: TILE_ROWS×16 of the result, as many sums as stay in the registers. The numbers of the sums are
// spelt out as N, because compilers keep arrays in registers only if they see every index.
constexpr int TILE_ROWS = LANES == 16 ? 16 : 4, TILE_PARTS = 16 / LANES;

template <size_t... N>
inline void plain_tile(const bf16* a, size_t a_stride, const uint32_t* b, size_t b_stride, float* c, size_t c_stride,
                       int inner, bool add, std::index_sequence<N...>) {
  const auto left = [&](size_t number, int k) { return in_all_lanes(a + number / TILE_PARTS * a_stride + k); };
  const auto right = [&](size_t number, int k) {
    return *reinterpret_cast<const LooseWord*>(b + k / 2 * b_stride + number % TILE_PARTS * LANES);
  };
  const auto place = [&](size_t number) { return c + number / TILE_PARTS * c_stride + number % TILE_PARTS * LANES; };
  Vec sums[] = {(add ? load(place(N)) : Vec{})...};
  for (int k = 0; k < inner; k += 2) {
    ((sums[N] += low_half(right(N, k)) * low_half(left(N, k))), ...);
    ((sums[N] += high_half(right(N, k)) * high_half(left(N, k))), ...);
  }
  (store(place(N), sums[N]), ...);
}

// c (rows×columns) = a (rows×inner) · b (inner/2 × columns words), or added to it. Columns are a multiple of 16; rows are
// rounded up to one, at most, and inner to one of 32, so that a and b end in zeros and c has room; strides count elements.
inline void multiply(const bf16* a, size_t a_stride, const uint32_t* b, size_t b_stride, float* c, size_t c_stride,
                     int rows, int columns, int inner, bool add) {
#if defined(AFUNET_MATRIX_UNIT)
  if (matrix_unit()) {
    for (int row = 0; row < rows; row += 32)
      for (int column = 0; column < columns; column += 32) {
        const bf16* left = a + row * a_stride;
        const uint32_t* right = b + column;
        float* result = c + row * c_stride + column;
        const bool tall = rows - row > 16, wide = columns - column >= 32;
        auto tile = tall ? (wide ? tiles<2, 2> : tiles<2, 1>) : (wide ? tiles<1, 2> : tiles<1, 1>);
        tile(left, a_stride, right, b_stride, result, c_stride, inner, add);
      }
    return;
  }
#endif
  for (int row = 0; row < rows; row += TILE_ROWS)
    for (int column = 0; column < columns; column += 16)
      plain_tile(a + row * a_stride, a_stride, b + column, b_stride, c + row * c_stride + column, c_stride, inner, add,
                 std::make_index_sequence<TILE_ROWS * TILE_PARTS>{});
}

}  // namespace afunet
