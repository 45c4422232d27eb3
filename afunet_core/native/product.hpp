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
inline float widened(bf16 value) {
  const uint32_t bits = (uint32_t)value << 16;
  float result;
  std::memcpy(&result, &bits, sizeof result);
  return result;
}

// 16×16 of the result with ordinary vectors.
inline void plain_tile(const bf16* a, size_t a_stride, const uint32_t* b, size_t b_stride, float* c, size_t c_stride,
                       int inner, bool add) {
  Vec sums[16];
  for (int row = 0; row < 16; ++row) sums[row] = add ? load(c + row * c_stride) : Vec{};
  for (int k = 0; k < inner; k += 2) {
    const Word words = *reinterpret_cast<const LooseWord*>(b + k / 2 * b_stride);
    const Vec even = low_half(words), odd = high_half(words);
    for (int row = 0; row < 16; ++row) {
      const bf16* left = a + row * a_stride + k;
      sums[row] += even * widened(left[0]) + odd * widened(left[1]);
    }
  }
  for (int row = 0; row < 16; ++row) store(c + row * c_stride, sums[row]);
}

// c (rows×columns) = a (rows×inner) · b (inner/2 × columns words), or added to it. Rows and columns are multiples of
// 16, inner of 32; strides count elements.
inline void multiply(const bf16* a, size_t a_stride, const uint32_t* b, size_t b_stride, float* c, size_t c_stride,
                     int rows, int columns, int inner, bool add) {
#if defined(AFUNET_MATRIX_UNIT)
  if (matrix_unit()) {
    for (int row = 0; row < rows; row += 32)
      for (int column = 0; column < columns; column += 32) {
        const bf16* left = a + row * a_stride;
        const uint32_t* right = b + column;
        float* result = c + row * c_stride + column;
        const bool tall = rows - row >= 32, wide = columns - column >= 32;
        auto tile = tall ? (wide ? tiles<2, 2> : tiles<2, 1>) : (wide ? tiles<1, 2> : tiles<1, 1>);
        tile(left, a_stride, right, b_stride, result, c_stride, inner, add);
      }
    return;
  }
#endif
  for (int row = 0; row < rows; row += 16)
    for (int column = 0; column < columns; column += 16)
      plain_tile(a + row * a_stride, a_stride, b + column, b_stride, c + row * c_stride + column, c_stride, inner, add);
}

}  // namespace afunet
