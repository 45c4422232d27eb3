// Windows shared out among threads: those of the pool that torch uses, so that no third thread waits for a core.
#pragma once

#include <memory>
#include <vector>

#if defined(_OPENMP)
#include <omp.h>
#endif

#include "product.hpp"

namespace afunet {

// Makes a worker for each thread by `make()`, calls `worker(window)` for its share, and returns all of them.
template <typename Make>
auto share_out(int windows, int threads, const Make& make) {
  using Worker = decltype(make());
  std::vector<Worker> workers(threads < windows ? threads : windows);
#if defined(_OPENMP)
#pragma omp parallel for num_threads(workers.size()) schedule(static, 1)
#endif
  for (size_t number = 0; number < workers.size(); ++number) {
    prepare_thread();
    workers[number] = make();
    const size_t from = windows * number / workers.size(), to = windows * (number + 1) / workers.size();
    for (size_t window = from; window < to; ++window) (*workers[number])((int)window);
    finish_thread();
  }
  return workers;
}

}  // namespace afunet
