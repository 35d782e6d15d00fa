// The same work on many things, several at once: for what mostly waits for a disk.
#pragma once

#include <cstddef>
#include <functional>

#include "base/result.h"

namespace ecluse {

// Calls `work(i, thread)` once for every i below `count`, on at most `threads` threads (at least 1) that end before
// this returns; neighbours mostly on the same thread, one after the other. `thread` is below `threads`: what is kept
// for each of them needs no lock. After a failure what has not begun is left out; returned is the failure of the least
// i that was tried.
Status ForEachInParallel(size_t count, unsigned threads, const std::function<Status(size_t i, unsigned thread)>& work);

}  // namespace ecluse
