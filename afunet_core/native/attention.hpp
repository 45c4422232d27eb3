// Attention inside a window, head by head, from q, k and v (each channels×64, q already scaled).
#pragma once

#include "window.hpp"

namespace afunet {

struct Heads {
  int count, size;
  int channels() const { return count * size; }
};

constexpr int OFFSETS = (2 * SIDE - 1) * (2 * SIDE - 1);
constexpr int WORDS = TOKENS / 2;
constexpr int INNER = 32;  // head sizes up to this, padded with zeros
constexpr float SEPARATE = -100.0f;

inline int offset_number(int query, int key) {
  const int y = query / SIDE - key / SIDE + SIDE - 1, x = query % SIDE - key % SIDE + SIDE - 1;
  return y * (2 * SIDE - 1) + x;
}

// The table offsets×heads spread out: heads × key × query.
inline float* spread_bias(Arena& arena, const Heads& heads, const float* table) {
  float* bias = arena.take<float>((size_t)heads.count * TOKENS * TOKENS);
  for (int head = 0; head < heads.count; ++head)
    for (int key = 0; key < TOKENS; ++key)
      for (int query = 0; query < TOKENS; ++query)
        bias[(head * TOKENS + key) * TOKENS + query] = table[offset_number(query, key) * heads.count + head];
  return bias;
}

class Attention {
 public:
  Attention(Arena& arena, const Heads& heads, const float* bias) : heads(heads), bias(bias) {
    shares = arena.take<float>((size_t)heads.count * TOKENS * TOKENS);
    square = arena.take<float>(TOKENS * TOKENS);
    queries = arena.take<uint32_t>(INNER / 2 * TOKENS);
    pairs = arena.take<uint32_t>(INNER / 2 * TOKENS);
    upright = arena.take<uint32_t>(TOKENS * INNER / 2);
    rows = arena.take<bf16>(INNER * TOKENS);
    wide = arena.take<uint32_t>(WORDS * TOKENS);
    wide_rows = arena.take<uint32_t>(TOKENS * WORDS);
    small = arena.take<float>(INNER * TOKENS);
  }

  // Result channels×64, in a buffer with room for 16 rows more. `labels`: which tokens may see each other, or null.
  void forward(const float* q, const float* k, const float* v, const float* labels, float* result) {
    for (int head = 0; head < heads.count; ++head) {
      const int first = head * heads.size * TOKENS;
      float* share = shares + (size_t)head * TOKENS * TOKENS;
      std::memcpy(share, bias + (size_t)head * TOKENS * TOKENS, sizeof(float) * TOKENS * TOKENS);
      if (labels != nullptr) separate(share, labels);
      pack_pairs(q + first, heads.size, queries);
      stand_upright(k + first);
      multiply(left(upright), INNER, queries, TOKENS, share, TOKENS, TOKENS, TOKENS, heads.size, true);
      softmax(share);
      pack_pairs(share, TOKENS, wide);
      pack_rows(v + first, heads.size, rows);
      // Rows beyond this head are zero, and the next head writes over them.
      multiply(rows, TOKENS, wide, TOKENS, result + first, TOKENS, heads.size, TOKENS, TOKENS, false);
    }
  }

  // After forward() on the same window: gradients of q, k and v (channels×64 each) from that of the result. That of the
  // bias is added to `to_bias` (heads × key × query).
  void backward(const float* q, const float* k, const float* v, const float* gradient, float* to_q, float* to_k,
                float* to_v, float* to_bias) {
    for (int head = 0; head < heads.count; ++head) {
      const int first = head * heads.size * TOKENS;
      const float* share = shares + (size_t)head * TOKENS * TOKENS;
      pack_rows(share, TOKENS, reinterpret_cast<bf16*>(wide_rows));
      transpose(wide_rows, TOKENS, WORDS, WORDS, wide, TOKENS);
      pack_rows(gradient + first, heads.size, rows);
      product(wide, to_v + first);

      stand_upright(v + first);
      pack_pairs(gradient + first, heads.size, pairs);
      multiply(left(upright), INNER, pairs, TOKENS, square, TOKENS, TOKENS, TOKENS, heads.size, false);
      softmax_backward(share, square, to_bias + (size_t)head * TOKENS * TOKENS);

      pack_pairs(square, TOKENS, wide);
      pack_rows(k + first, heads.size, rows);
      product(wide, to_q + first);

      pack_rows(square, TOKENS, reinterpret_cast<bf16*>(wide_rows));
      transpose(wide_rows, TOKENS, WORDS, WORDS, wide, TOKENS);
      pack_rows(q + first, heads.size, rows);
      product(wide, to_k + first);
    }
  }

 private:
  Heads heads;
  const float* bias;
  float *shares, *square, *small;
  uint32_t *queries, *pairs, *upright, *wide, *wide_rows;
  bf16* rows;

  static const bf16* left(const uint32_t* words) { return reinterpret_cast<const bf16*>(words); }

  // size×64 → 64×32 bfloat16, zeros behind.
  void stand_upright(const float* from) {
    pack_pairs(from, heads.size, pairs);
    transpose(pairs, INNER / 2, TOKENS, TOKENS, upright, INNER / 2);
  }

  // rows · right → size×64.
  void product(const uint32_t* right, float* to) {
    multiply(rows, TOKENS, right, TOKENS, small, TOKENS, heads.size, TOKENS, TOKENS, false);
    std::memcpy(to, small, sizeof(float) * heads.size * TOKENS);
  }

  static void separate(float* logits, const float* labels) {
    for (int query = 0; query < TOKENS; query += LANES) {
      const Vec own = load(labels + query);
      for (int key = 0; key < TOKENS; ++key) {
        float* place = logits + key * TOKENS + query;
        store(place, load(place) + (own == labels[key] ? Vec{} : same(SEPARATE)));
      }
    }
  }

  // Down the rows: over keys.
  static void softmax(float* logits) {
    for (int query = 0; query < TOKENS; query += LANES) {
      Vec most = load(logits + query), total{};
      for (int key = 1; key < TOKENS; ++key) most = larger(most, load(logits + key * TOKENS + query));
      for (int key = 0; key < TOKENS; ++key) {
        float* place = logits + key * TOKENS + query;
        const Vec e = exponential(load(place) - most);
        total += e;
        store(place, e);
      }
      const Vec scale = 1.0f / total;
      for (int key = 0; key < TOKENS; ++key) {
        float* place = logits + key * TOKENS + query;
        store(place, load(place) * scale);
      }
    }
  }

  static void softmax_backward(const float* share, float* gradient, float* sums) {
    for (int query = 0; query < TOKENS; query += LANES) {
      Vec along{};
      for (int place = query; place < TOKENS * TOKENS; place += TOKENS)
        along += load(share + place) * load(gradient + place);
      for (int place = query; place < TOKENS * TOKENS; place += TOKENS) {
        const Vec result = load(share + place) * (load(gradient + place) - along);
        store(gradient + place, result);
        store(sums + place, load(sums + place) + result);
      }
    }
  }
};

// Gathers the gradient of the spread-out bias back into that of the table.
inline void deliver_bias(const Heads& heads, const float* spread, float* table) {
  for (int head = 0; head < heads.count; ++head)
    for (int key = 0; key < TOKENS; ++key)
      for (int query = 0; query < TOKENS; ++query)
        table[offset_number(query, key) * heads.count + head] += spread[(head * TOKENS + key) * TOKENS + query];
}

}  // namespace afunet
