// Spatial alignment of one side inside windows: d = mlp(x), r = d + a · project(attention(α; d + α)),
// both ways; a is what stochastic depth draws for each picture (1 without it).
#include "attention.hpp"
#include "threads.hpp"

namespace afunet {
namespace {

enum { FC1, FC1_BIAS, FC2, FC2_BIAS, QUERY, QUERY_BIAS, KEY_VALUE, KEY_VALUE_BIAS, TABLE, PROJECT, PROJECT_BIAS };

struct Aligner {
  Arena arena;
  Heads heads;
  float scale;
  Linear fc1, fc2, query, key_value, project;
  const float* bias;

  Aligner(int channels, int hidden, int count, const float* const* p)
      : heads{count, channels / count},
        scale(1.0f / __builtin_sqrtf((float)heads.size)),
        fc1(arena, hidden, channels, p[FC1], p[FC1_BIAS]),
        fc2(arena, channels, hidden, p[FC2], p[FC2_BIAS]),
        query(arena, channels, channels, p[QUERY], p[QUERY_BIAS], channels, scale),
        key_value(arena, 2 * channels, channels, p[KEY_VALUE], p[KEY_VALUE_BIAS]),
        project(arena, channels, channels, p[PROJECT], p[PROJECT_BIAS]),
        bias(spread_bias(arena, heads, p[TABLE])) {}
};

struct Pictures {
  const float *side, *estimate, *kept;
};

// What the forward pass of one window leaves behind.
struct Forward {
  const Aligner& aligner;
  const Grid& grid;
  Pictures pictures;
  Arena arena;
  Attention attention;
  int pixels[TOKENS];
  float *side, *estimate, *hidden, *active, *degraded, *context, *query, *key_value, *mixed, *branch, *result;
  uint32_t *packed, *packed_hidden;

  Forward(const Aligner& aligner, const Grid& grid, const Pictures& pictures)
      : aligner(aligner), grid(grid), pictures(pictures), attention(arena, aligner.heads, aligner.bias) {
    auto room = [&](int rows) { return arena.take<float>((size_t)(round_up(rows, 16) + 16) * TOKENS); };
    const int channels = aligner.project.outs;
    for (float** rows : {&side, &estimate, &degraded, &context, &query, &mixed, &branch, &result}) *rows = room(channels);
    for (float** rows : {&hidden, &active}) *rows = room(aligner.fc1.outs);
    key_value = room(2 * channels);
    packed = arena.take<uint32_t>((size_t)aligner.query.inner_ins() / 2 * TOKENS);
    packed_hidden = arena.take<uint32_t>((size_t)aligner.fc2.inner_ins() / 2 * TOKENS);
  }

  const float* value() const { return key_value + aligner.heads.channels() * TOKENS; }

  void run(int window) {
    const int channels = aligner.project.outs;
    grid.pixels(window, pixels);
    gather(pictures.side, channels, pixels, side);
    gather(pictures.estimate, channels, pixels, estimate);
    pack_pairs(estimate, channels, packed);
    aligner.fc1.apply(packed, nullptr, hidden);
    gelu(hidden, aligner.fc1.outs, active);
    pack_pairs(active, aligner.fc1.outs, packed_hidden);
    aligner.fc2.apply(packed_hidden, nullptr, degraded);
    for (int place = 0; place < channels * TOKENS; place += LANES)
      store(context + place, load(degraded + place) + load(side + place));
    pack_pairs(side, channels, packed);
    aligner.query.apply(packed, nullptr, query);
    pack_pairs(context, channels, packed);
    aligner.key_value.apply(packed, nullptr, key_value);
    attention.forward(query, key_value, value(), nullptr, mixed);
  }

  float kept(int window) const { return pictures.kept[grid.image(window)]; }

  void finish(int window, float* to_degraded, float* to_result) {
    const int channels = aligner.project.outs;
    pack_pairs(mixed, channels, packed);
    aligner.project.apply(packed, nullptr, branch);
    add_branch(degraded, branch, kept(window), channels, result);
    scatter(degraded, channels, pixels, to_degraded);
    scatter(result, channels, pixels, to_result);
  }
};

struct Backward {
  const Aligner& aligner;
  Forward forward;
  const float *arriving_degraded, *arriving_result;
  float *leaving_side, *leaving_estimate;
  Arena arena;
  LinearGradient fc1, fc2, query, key_value, project;
  float *bias, *of_result, *of_branch, *of_degraded, *of_mixed, *of_query, *of_key_value, *of_context, *of_hidden, *gradient;

  Backward(const Aligner& aligner, const Grid& grid, const Pictures& pictures, const float* arriving_degraded,
           const float* arriving_result, float* leaving_side, float* leaving_estimate)
      : aligner(aligner),
        forward(aligner, grid, pictures),
        arriving_degraded(arriving_degraded),
        arriving_result(arriving_result),
        leaving_side(leaving_side),
        leaving_estimate(leaving_estimate),
        fc1(arena, aligner.fc1),
        fc2(arena, aligner.fc2),
        query(arena, aligner.query),
        key_value(arena, aligner.key_value),
        project(arena, aligner.project) {
    auto room = [&](int rows) { return arena.take<float>((size_t)(round_up(rows, 16) + 16) * TOKENS); };
    const int channels = aligner.project.outs;
    for (float** rows : {&of_result, &of_branch, &of_degraded, &of_mixed, &of_query, &of_context, &gradient})
      *rows = room(channels);
    of_key_value = room(2 * channels);
    of_hidden = room(aligner.fc1.outs);
    bias = arena.take<float>((size_t)aligner.heads.count * TOKENS * TOKENS);
  }

  void operator()(int window) {
    const int channels = aligner.project.outs, part = channels * TOKENS;
    Forward& f = forward;
    f.run(window);
    gather(arriving_result, channels, f.pixels, of_result);
    gather(arriving_degraded, channels, f.pixels, of_degraded);
    scale_branch(of_result, f.kept(window), channels, of_branch);
    project.accumulate(aligner.project, of_branch, f.mixed, of_mixed, false);
    f.attention.backward(f.query, f.key_value, f.value(), of_mixed, of_query, of_key_value, of_key_value + part, bias);
    key_value.accumulate(aligner.key_value, of_key_value, f.context, of_context, false);
    for (int place = 0; place < part; place += LANES) {
      const Vec context = load(of_context + place);
      store(gradient + place, context);
      store(of_degraded + place, load(of_degraded + place) + load(of_result + place) + context);
    }
    query.accumulate(aligner.query, of_query, f.side, gradient, true);
    scatter(gradient, channels, f.pixels, leaving_side);
    fc2.accumulate(aligner.fc2, of_degraded, f.active, of_hidden, false);
    gelu_backward(f.hidden, aligner.fc1.outs, of_hidden);
    fc1.accumulate(aligner.fc1, of_hidden, f.estimate, gradient, false);
    scatter(gradient, channels, f.pixels, leaving_estimate);
  }

  void deliver(float* const* to) const {
    fc1.deliver(aligner.fc1, to[FC1], to[FC1_BIAS]);
    fc2.deliver(aligner.fc2, to[FC2], to[FC2_BIAS]);
    query.deliver(aligner.query, to[QUERY], to[QUERY_BIAS], aligner.query.outs, aligner.scale);
    key_value.deliver(aligner.key_value, to[KEY_VALUE], to[KEY_VALUE_BIAS]);
    project.deliver(aligner.project, to[PROJECT], to[PROJECT_BIAS]);
    deliver_bias(aligner.heads, bias, to[TABLE]);
  }
};

}  // namespace
}  // namespace afunet

// shape: batch, height, width, channels, hidden, heads, threads. kept: batch. Pictures are B×H×W×C, contiguous.
extern "C" void afunet_align_forward(const int* shape, const float* const* parameters, const float* kept,
                                     const float* side, const float* estimate, float* degraded, float* result) {
  using namespace afunet;
  const Grid grid{shape[0], shape[1], shape[2], 0};
  const Aligner aligner(shape[3], shape[4], shape[5], parameters);
  struct Worker : Forward {
    float *degraded, *result;
    Worker(const Aligner& aligner, const Grid& grid, const Pictures& pictures, float* degraded, float* result)
        : Forward(aligner, grid, pictures), degraded(degraded), result(result) {}
    void operator()(int window) {
      run(window);
      finish(window, degraded, result);
    }
  };
  const Pictures pictures{side, estimate, kept};
  auto make = [&] { return std::make_unique<Worker>(aligner, grid, pictures, degraded, result); };
  share_out(grid.windows(), shape[6], make);
}

// Gradients of the parameters are added to `gradients`; those of side and estimate are written.
extern "C" void afunet_align_backward(const int* shape, const float* const* parameters, const float* kept,
                                      const float* side, const float* estimate, const float* of_degraded, const float* of_result,
                                      float* leaving_side, float* leaving_estimate, float* const* gradients) {
  using namespace afunet;
  const Grid grid{shape[0], shape[1], shape[2], 0};
  const Aligner aligner(shape[3], shape[4], shape[5], parameters);
  const Pictures pictures{side, estimate, kept};
  auto make = [&] {
    return std::make_unique<Backward>(aligner, grid, pictures, of_degraded, of_result, leaving_side, leaving_estimate);
  };
  for (const auto& worker : share_out(grid.windows(), shape[6], make)) worker->deliver(gradients);
}
