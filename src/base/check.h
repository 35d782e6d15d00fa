// CHECK: an invariant of our own code. Stays on in release, never judges user input.
#pragma once

#include <cstdio>
#include <cstdlib>

#define CHECK(condition)                                                                            \
  do {                                                                                              \
    if (!(condition)) [[unlikely]] {                                                                \
      std::fprintf(stderr, "%s:%d: invariant does not hold: %s\n", __FILE__, __LINE__, #condition); \
      std::abort();                                                                                 \
    }                                                                                               \
  } while (false)
