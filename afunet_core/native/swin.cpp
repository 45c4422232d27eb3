// A block of self-attention in windows, forwards and backwards: y = x + a · project(attention(norm1(x))), then
// y + b · mlp(norm2(y)), where a and b are what stochastic depth draws for each picture (1 without it).
#include "attention.hpp"
#include "threads.hpp"

namespace afunet {
namespace {

enum { GAIN1, OFFSET1, QKV, QKV_BIAS, TABLE, PROJECT, PROJECT_BIAS, GAIN2, OFFSET2, FC1, FC1_BIAS, FC2, FC2_BIAS };

struct Block {
  Arena arena;
  Heads heads;
  float scale;
  Norm norm1, norm2;
  Linear qkv, project, fc1, fc2;
  const float* bias;

  Block(int channels, int hidden, int count, const float* const* p)
      : heads{count, channels / count},
        scale(1.0f / __builtin_sqrtf((float)heads.size)),
        norm1{channels, p[GAIN1], p[OFFSET1]},
        norm2{channels, p[GAIN2], p[OFFSET2]},
        qkv(arena, 3 * channels, channels, p[QKV], p[QKV_BIAS], channels, scale),
        project(arena, channels, channels, p[PROJECT], p[PROJECT_BIAS]),
        fc1(arena, hidden, channels, p[FC1], p[FC1_BIAS]),
        fc2(arena, channels, hidden, p[FC2], p[FC2_BIAS]),
        bias(spread_bias(arena, heads, p[TABLE])) {}
};

// What the forward pass of one window leaves behind.
struct Forward {
  const Block& block;
  const Grid& grid;
  const float *kept_attention, *kept_mlp;  // a and b of each picture
  Arena arena;
  Attention attention;
  int pixels[TOKENS];
  float labels[TOKENS];
  float *x, *unit1, *norm1, *inverse1, *qkv, *mixed, *y, *unit2, *norm2, *inverse2, *hidden, *active, *z, *branch;
  uint32_t *packed, *packed_hidden;

  Forward(const Block& block, const Grid& grid, const float* kept)
      : block(block),
        grid(grid),
        kept_attention(kept),
        kept_mlp(kept + grid.batch),
        attention(arena, block.heads, block.bias) {
    auto room = [&](int rows) { return arena.take<float>((size_t)(round_up(rows, 16) + 16) * TOKENS); };
    const int channels = block.project.outs, hidden_units = block.fc1.outs;
    for (float** rows : {&x, &unit1, &norm1, &mixed, &y, &unit2, &norm2, &z, &branch}) *rows = room(channels);
    for (float** rows : {&hidden, &active}) *rows = room(hidden_units);
    qkv = room(3 * channels);
    inverse1 = arena.take<float>(TOKENS);
    inverse2 = arena.take<float>(TOKENS);
    packed = arena.take<uint32_t>((size_t)block.qkv.inner_ins() / 2 * TOKENS);
    packed_hidden = arena.take<uint32_t>((size_t)block.fc2.inner_ins() / 2 * TOKENS);
  }

  const float* query() const { return qkv; }
  const float* key() const { return qkv + block.heads.channels() * TOKENS; }
  const float* value() const { return qkv + 2 * block.heads.channels() * TOKENS; }

  void run(int window, const float* picture) {
    const int channels = block.project.outs;
    grid.pixels(window, pixels);
    const bool apart = grid.regions(window, labels);
    gather(picture, channels, pixels, x);
    normalise(block.norm1, x, unit1, norm1, inverse1);
    pack_pairs(norm1, channels, packed);
    block.qkv.apply(packed, nullptr, qkv);
    attention.forward(query(), key(), value(), apart ? labels : nullptr, mixed);
    pack_pairs(mixed, channels, packed);
    block.project.apply(packed, nullptr, branch);
    add_branch(x, branch, kept_attention[grid.image(window)], channels, y);
    normalise(block.norm2, y, unit2, norm2, inverse2);
    pack_pairs(norm2, channels, packed);
    block.fc1.apply(packed, nullptr, hidden);
    gelu(hidden, block.fc1.outs, active);
  }

  void finish(int window, float* picture) {
    pack_pairs(active, block.fc1.outs, packed_hidden);
    block.fc2.apply(packed_hidden, nullptr, branch);
    add_branch(y, branch, kept_mlp[grid.image(window)], block.project.outs, z);
    scatter(z, block.project.outs, pixels, picture);
  }
};

struct Backward {
  const Block& block;
  Forward forward;
  const float *picture, *arriving;
  float* leaving;
  Arena arena;
  LinearGradient qkv, project, fc1, fc2;
  NormGradient norm1, norm2;
  float *bias, *gradient, *of_hidden, *of_branch, *of_norm, *of_mixed, *of_qkv;

  Backward(const Block& block, const Grid& grid, const float* kept, const float* picture, const float* arriving,
           float* leaving)
      : block(block),
        forward(block, grid, kept),
        picture(picture),
        arriving(arriving),
        leaving(leaving),
        qkv(arena, block.qkv),
        project(arena, block.project),
        fc1(arena, block.fc1),
        fc2(arena, block.fc2) {
    const int channels = block.project.outs;
    auto room = [&](int rows) { return arena.take<float>((size_t)(round_up(rows, 16) + 16) * TOKENS); };
    for (NormGradient* norm : {&norm1, &norm2})
      *norm = {arena.take<float>(channels * LANES), arena.take<float>(channels * LANES)};
    bias = arena.take<float>((size_t)block.heads.count * TOKENS * TOKENS);
    for (float** rows : {&gradient, &of_branch, &of_norm, &of_mixed}) *rows = room(channels);
    of_hidden = room(block.fc1.outs);
    of_qkv = room(3 * channels);
  }

  void operator()(int window) {
    const int channels = block.project.outs, part = channels * TOKENS;
    Forward& f = forward;
    f.run(window, picture);
    gather(arriving, channels, f.pixels, gradient);
    scale_branch(gradient, f.kept_mlp[f.grid.image(window)], channels, of_branch);
    fc2.accumulate(block.fc2, of_branch, f.active, of_hidden, false);
    gelu_backward(f.hidden, block.fc1.outs, of_hidden);
    fc1.accumulate(block.fc1, of_hidden, f.norm2, of_norm, false);
    normalise_backward(block.norm2, norm2, of_norm, f.unit2, f.inverse2, gradient);
    scale_branch(gradient, f.kept_attention[f.grid.image(window)], channels, of_branch);
    project.accumulate(block.project, of_branch, f.mixed, of_mixed, false);
    f.attention.backward(f.query(), f.key(), f.value(), of_mixed, of_qkv, of_qkv + part, of_qkv + 2 * part, bias);
    qkv.accumulate(block.qkv, of_qkv, f.norm1, of_norm, false);
    normalise_backward(block.norm1, norm1, of_norm, f.unit1, f.inverse1, gradient);
    scatter(gradient, channels, f.pixels, leaving);
  }

  void deliver(float* const* to) const {
    const int channels = block.project.outs;
    qkv.deliver(block.qkv, to[QKV], to[QKV_BIAS], channels, block.scale);
    project.deliver(block.project, to[PROJECT], to[PROJECT_BIAS]);
    fc1.deliver(block.fc1, to[FC1], to[FC1_BIAS]);
    fc2.deliver(block.fc2, to[FC2], to[FC2_BIAS]);
    deliver_bias(block.heads, bias, to[TABLE]);
    for (int c = 0; c < channels; ++c) {
      to[GAIN1][c] += sum(load(norm1.gain + c * LANES));
      to[OFFSET1][c] += sum(load(norm1.offset + c * LANES));
      to[GAIN2][c] += sum(load(norm2.gain + c * LANES));
      to[OFFSET2][c] += sum(load(norm2.offset + c * LANES));
    }
  }
};

}  // namespace
}  // namespace afunet

// shape: batch, height, width, shift, channels, hidden, heads, threads. kept: 2×batch. Pictures are B×H×W×C, contiguous.
extern "C" void afunet_swin_forward(const int* shape, const float* const* parameters, const float* kept, const float* x,
                                    float* y) {
  using namespace afunet;
  const Grid grid{shape[0], shape[1], shape[2], shape[3]};
  const Block block(shape[4], shape[5], shape[6], parameters);
  struct Worker : Forward {
    const float* x;
    float* y;
    Worker(const Block& block, const Grid& grid, const float* kept, const float* x, float* y)
        : Forward(block, grid, kept), x(x), y(y) {}
    void operator()(int window) {
      run(window, x);
      finish(window, y);
    }
  };
  share_out(grid.windows(), shape[7], [&] { return std::make_unique<Worker>(block, grid, kept, x, y); });
}

// Gradients of the parameters are added to `gradients`, that of x is written to `leaving`.
extern "C" void afunet_swin_backward(const int* shape, const float* const* parameters, const float* kept,
                                     const float* x, const float* arriving, float* leaving, float* const* gradients) {
  using namespace afunet;
  const Grid grid{shape[0], shape[1], shape[2], shape[3]};
  const Block block(shape[4], shape[5], shape[6], parameters);
  auto make = [&] { return std::make_unique<Backward>(block, grid, kept, x, arriving, leaving); };
  for (const auto& worker : share_out(grid.windows(), shape[7], make)) worker->deliver(gradients);
}
