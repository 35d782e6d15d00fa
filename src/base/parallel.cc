#include "base/parallel.h"

#include <algorithm>
#include <atomic>
#include <mutex>
#include <system_error>
#include <thread>
#include <vector>

namespace ecluse {

Status ForEachInParallel(size_t count, unsigned threads, const std::function<Status(size_t i, unsigned thread)>& work) {
  constexpr size_t kNeighbours = 32;
  const size_t together = std::clamp<size_t>(count / (size_t{4} * threads), 1, kNeighbours);
  std::atomic<size_t> next = 0;
  std::atomic<bool> failed = false;
  std::mutex mutex;
  size_t where = count;
  Status problem;
  const auto run = [&](unsigned thread) {
    for (size_t i = next.fetch_add(together); i < count && !failed; i = next.fetch_add(together)) {
      // Neighbours before one that failed elsewhere are finished: theirs would be the failure that counts.
      for (size_t end = std::min(count, i + together); i < end; ++i) {
        Status done = work(i, thread);
        if (done) continue;
        failed = true;
        std::lock_guard lock(mutex);
        if (i < where) {
          where = i;
          problem = std::move(done);
        }
        return;
      }
    }
  };
  std::vector<std::jthread> others;
  try {
    for (unsigned thread = 1; thread < std::min<size_t>(threads, (count + together - 1) / together); ++thread)
      others.emplace_back(run, thread);
  } catch (const std::system_error&) {  // there may be no more threads: these do it all
  }
  run(0);
  others.clear();
  return problem;
}

}  // namespace ecluse
