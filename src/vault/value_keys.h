// The keys of people's own, under which their values are sealed in tables with `erasure: per_person`: what erases a
// person from every copy of the register. docs/decisions/erasure.md.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "base/result.h"
#include "base/secret.h"

namespace ecluse {

// KeyRing::SubjectKey() of a person.
using KeyedSubject = std::array<uint8_t, 16>;

// Thread-safe.
class ValueKeys {
 public:
  virtual ~ValueKeys() = default;

  // Each person's key, in their order: made, and durable, where they have none, as after an erasure. 55006 while one of
  // them is being erased.
  virtual Result<std::vector<Secret>> Take(std::span<const KeyedSubject> people) = 0;

  struct Found {
    Secret key;           // empty: they have none
    bool erased = false;  // they were erased once: what was sealed for them before opens no more
  };
  virtual Result<std::vector<Found>> Find(std::span<const KeyedSubject> people) = 0;
};

}  // namespace ecluse
