// Cryptographic randomness (OpenSSL RAND_bytes), behind one function.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace ecluse {

// Fills `out`. Aborts the process where the generator fails: nothing that asks for randomness can go on without it.
// No byte is given out twice, also not by a process and the child it forks. Thread-safe.
void RandomBytes(std::span<uint8_t> out);

// A uniformly random 64-bit number.
uint64_t RandomU64();

}  // namespace ecluse
