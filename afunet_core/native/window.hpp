// What happens to one window of 8×8 pixels. Everything is held channel by channel, 64 pixels a row, so that norms and
// softmax run down the rows without a sum across a vector, and no product needs its right side transposed.
#pragma once

#include <cstdlib>
#include <new>
#include <vector>

#include "product.hpp"

namespace afunet {

constexpr int SIDE = 8;
constexpr float EPSILON = 1e-5f;  // of the layer norm

// Memory of one thread, zeroed, handed out once and kept: padding that nobody writes stays zero.
class Arena {
 public:
  template <typename T>
  T* take(size_t count) {
    const size_t bytes = (count * sizeof(T) + 127) / 64 * 64;
    void* block = std::aligned_alloc(64, bytes);
    if (block == nullptr) throw std::bad_alloc();
    std::memset(block, 0, bytes);
    blocks.push_back(block);
    return static_cast<T*>(block);
  }
  Arena() = default;
  Arena(const Arena&) = delete;
  ~Arena() {
    for (void* block : blocks) std::free(block);
  }

 private:
  std::vector<void*> blocks;
};

// A picture B×H×W×C cut into windows, cyclically shifted.
struct Grid {
  int batch, height, width, shift;
  int down() const { return height / SIDE; }
  int across() const { return width / SIDE; }
  int windows() const { return batch * down() * across(); }
  int image(int window) const { return window / (across() * down()); }

  // Pixel numbers of the 64 tokens of a window.
  void pixels(int window, int* numbers) const {
    const int column = window % across(), row = window / across() % down(), image = window / (across() * down());
    for (int token = 0; token < TOKENS; ++token) {
      const int y = (row * SIDE + token / SIDE + shift) % height, x = (column * SIDE + token % SIDE + shift) % width;
      numbers[token] = (image * height + y) * width + x;
    }
  }

  // Whether the shift brought opposite borders together in this window; then which side each token is from.
  bool regions(int window, float* labels) const {
    const int column = window % across(), row = window / across() % down();
    if (shift == 0 || (row + 1 < down() && column + 1 < across())) return false;
    for (int token = 0; token < TOKENS; ++token) {
      const int y = token / SIDE + row * SIDE, x = token % SIDE + column * SIDE;
      labels[token] = (float)(2 * (y >= height - shift) + (x >= width - shift));
    }
    return true;
  }
};

// Pixels of a B×H×W×C picture → C×64, and back. C is at least 16; the last block overlaps the one before.
inline void gather(const float* picture, int channels, const int* pixels, float* window) {
  for (int first = 0; first < channels; first += 16) {
    const int channel = first + 16 <= channels ? first : channels - 16;
    const uint32_t* from = reinterpret_cast<const uint32_t*>(picture) + channel;
    for (int token = 0; token < TOKENS; token += 16)
      transpose_block([&](int row) { return from + (size_t)pixels[token + row] * channels; },
                      [&](int row) { return reinterpret_cast<uint32_t*>(window) + (channel + row) * TOKENS + token; });
  }
}

inline void scatter(const float* window, int channels, const int* pixels, float* picture) {
  for (int first = 0; first < channels; first += 16) {
    const int channel = first + 16 <= channels ? first : channels - 16;
    const uint32_t* from = reinterpret_cast<const uint32_t*>(window) + channel * TOKENS;
    uint32_t* to = reinterpret_cast<uint32_t*>(picture) + channel;
    for (int token = 0; token < TOKENS; token += 16)
      transpose_block([&](int row) { return from + row * TOKENS + token; },
                      [&](int row) { return to + (size_t)pixels[token + row] * channels; });
  }
}

// --- layer norm --------------------------------------------------------------------------------------------------------

struct Norm {
  int channels;
  const float *gain, *offset;
};

struct NormGradient {
  float *gain, *offset;  // channels×16: sums across lanes are left to the end
};

// C×64 → normalised (before gain and offset) and one over the standard deviation of each of the 64.
inline void normalise(const Norm& norm, const float* x, float* normalised, float* result, float* inverse) {
  const float share = 1.0f / norm.channels;
  for (int token = 0; token < TOKENS; token += LANES) {
    Vec mean{}, square{};
    for (int c = 0; c < norm.channels; ++c) mean += load(x + c * TOKENS + token);
    mean *= share;
    for (int c = 0; c < norm.channels; ++c) {
      const Vec off = load(x + c * TOKENS + token) - mean;
      square += off * off;
    }
    const Vec deviation = inverse_root(square * share + EPSILON);
    store(inverse + token, deviation);
    for (int c = 0; c < norm.channels; ++c) {
      const Vec unit = (load(x + c * TOKENS + token) - mean) * deviation;
      store(normalised + c * TOKENS + token, unit);
      store(result + c * TOKENS + token, unit * norm.gain[c] + norm.offset[c]);
    }
  }
}

// Adds the gradient of the input of the norm to `to`.
inline void normalise_backward(const Norm& norm, NormGradient& sums, const float* gradient, const float* normalised,
                               const float* inverse, float* to) {
  const float share = 1.0f / norm.channels;
  for (int token = 0; token < TOKENS; token += LANES) {
    Vec mean{}, along{};
    for (int c = 0; c < norm.channels; ++c) {
      const Vec arriving = load(gradient + c * TOKENS + token), unit = load(normalised + c * TOKENS + token);
      store(sums.gain + c * LANES, load(sums.gain + c * LANES) + arriving * unit);
      store(sums.offset + c * LANES, load(sums.offset + c * LANES) + arriving);
      mean += arriving * norm.gain[c];
      along += arriving * norm.gain[c] * unit;
    }
    mean *= share;
    along *= share;
    const Vec scale = load(inverse + token);
    for (int c = 0; c < norm.channels; ++c) {
      float* place = to + c * TOKENS + token;
      const Vec inner = load(gradient + c * TOKENS + token) * norm.gain[c] - mean;
      store(place, load(place) + scale * (inner - load(normalised + c * TOKENS + token) * along));
    }
  }
}

// --- linear layers -----------------------------------------------------------------------------------------------------

// A layer prepared for products: its matrix as left side, as it is and transposed, padded with zeros.
struct Linear {
  int outs, ins;
  bf16 *forward, *backward;
  std::vector<float> bias;

  int padded_outs() const { return round_up(outs, 16); }
  int padded_ins() const { return round_up(ins, 16); }
  int inner_outs() const { return round_up(outs, 32); }
  int inner_ins() const { return round_up(ins, 32); }

  // `scale` multiplies the first `scaled` rows of matrix and bias.
  Linear(Arena& arena, int outs, int ins, const float* weight, const float* offset, int scaled = 0, float scale = 1)
      : outs(outs), ins(ins), bias(offset, offset + outs) {
    forward = arena.take<bf16>((size_t)padded_outs() * inner_ins());
    backward = arena.take<bf16>((size_t)padded_ins() * inner_outs());
    for (int out = 0; out < outs; ++out) {
      const float factor = out < scaled ? scale : 1;
      bias[out] *= factor;
      for (int in = 0; in < ins; ++in) {
        const bf16 value = rounded(weight[out * ins + in] * factor);
        forward[out * inner_ins() + in] = value;
        backward[in * inner_outs() + out] = value;
      }
    }
  }

  // `packed` ins (inner_ins/2 × 64 words) → outs×64, with the bias and, if given, `base` (outs×64) added.
  void apply(const uint32_t* packed, const float* base, float* result) const {
    for (int out = 0; out < outs; ++out)
      for (int token = 0; token < TOKENS; token += LANES) {
        const Vec start = same(bias[out]);
        store(result + out * TOKENS + token, base ? load(base + out * TOKENS + token) + start : start);
      }
    multiply(forward, inner_ins(), packed, TOKENS, result, TOKENS, outs, TOKENS, ins, true);
  }
};

// Room for the operands of backward products of one layer, and the sums of its gradients.
struct LinearGradient {
  float *weight, *bias;  // padded outs × padded ins; outs×16
  bf16* rows;
  uint32_t *pairs, *seen, *seen_rows;

  LinearGradient(Arena& arena, const Linear& layer) {
    weight = arena.take<float>((size_t)layer.padded_outs() * layer.padded_ins());
    bias = arena.take<float>((size_t)layer.outs * LANES);
    rows = arena.take<bf16>((size_t)layer.padded_outs() * TOKENS);
    pairs = arena.take<uint32_t>((size_t)layer.inner_outs() / 2 * TOKENS);
    seen_rows = arena.take<uint32_t>((size_t)layer.padded_ins() * TOKENS / 2);
    seen = arena.take<uint32_t>((size_t)TOKENS / 2 * layer.padded_ins());
  }

  // `gradient` (outs×64) of what the layer made of `input` (ins×64); `to` (padded ins × 64) is set, or added to.
  void accumulate(const Linear& layer, const float* gradient, const float* input, float* to, bool add) {
    pack_rows(gradient, layer.outs, rows);
    pack_rows(input, layer.ins, reinterpret_cast<bf16*>(seen_rows));
    transpose(seen_rows, layer.padded_ins(), TOKENS / 2, TOKENS / 2, seen, layer.padded_ins());
    multiply(rows, TOKENS, seen, layer.padded_ins(), weight, layer.padded_ins(), layer.outs, layer.padded_ins(), TOKENS,
             true);
    for (int out = 0; out < layer.outs; ++out) {
      Vec total = load(bias + out * LANES);
      for (int token = 0; token < TOKENS; token += LANES) total += load(gradient + out * TOKENS + token);
      store(bias + out * LANES, total);
    }
    pack_pairs(gradient, layer.outs, pairs);
    multiply(layer.backward, layer.inner_outs(), pairs, TOKENS, to, TOKENS, layer.ins, TOKENS, layer.outs, add);
  }

  // Adds the sums to gradients outs×ins and outs, as the layer was given them.
  void deliver(const Linear& layer, float* to_weight, float* to_bias, int scaled = 0, float scale = 1) const {
    for (int out = 0; out < layer.outs; ++out) {
      const float factor = out < scaled ? scale : 1;
      to_bias[out] += factor * sum(load(bias + out * LANES));
      for (int in = 0; in < layer.ins; ++in)
        to_weight[out * layer.ins + in] += factor * weight[out * layer.padded_ins() + in];
    }
  }
};

// A residual on its way through stochastic depth: base + kept · branch.
inline void add_branch(const float* base, const float* branch, float kept, int rows, float* result) {
  for (int place = 0; place < rows * TOKENS; place += LANES)
    store(result + place, load(base + place) + kept * load(branch + place));
}

inline void scale_branch(const float* gradient, float kept, int rows, float* result) {
  for (int place = 0; place < rows * TOKENS; place += LANES) store(result + place, kept * load(gradient + place));
}

inline void gelu(const float* x, int rows, float* result) {
  for (int place = 0; place < rows * TOKENS; place += LANES) {
    const Vec value = load(x + place);
    store(result + place, value * share_below(value));
  }
}

// In place: the gradient of the result becomes that of x.
inline void gelu_backward(const float* x, int rows, float* gradient) {
  for (int place = 0; place < rows * TOKENS; place += LANES) {
    const Vec value = load(x + place);
    store(gradient + place, load(gradient + place) * (share_below(value) + value * density(value)));
  }
}

}  // namespace afunet
