// What admission remembers: a book for each account, address and organisation, and one for the register.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "admit/counter.h"
#include "admit/people.h"
#include "policy/policy.h"

namespace ecluse {

// Whom a limit speaks of. Order of checking, and of SHOW ecluse.budget.
enum class Scope { account, address, organisation, reg };
inline constexpr std::array kScopes = {Scope::account, Scope::address, Scope::organisation, Scope::reg};
std::string_view ScopeName(Scope scope);  // "register" for reg

enum class Events { lookups, failures, statistics };

// The windows that any book of one scope keeps: those of every role, because sets belong to the account.
struct ScopeWindows {
  struct Counter {
    Events events;
    int64_t length;  // microseconds
    auto operator<=>(const Counter&) const = default;
  };
  std::vector<int64_t> people;  // lengths, ascending
  std::vector<Counter> counters;

  bool empty() const { return people.empty() && counters.empty(); }
  void Add(const ScopeWindows& other);
  size_t IndexOfPeople(int64_t length) const;  // of a length that is there
};
using AllWindows = std::array<ScopeWindows, kScopes.size()>;
AllWindows WindowsOf(const Policy& policy);
int64_t Micros(std::chrono::seconds length);

struct Book {
  struct Counter {
    ScopeWindows::Counter what;
    SlidingCounter counter;
  };
  PeopleSet people;
  std::vector<Counter> counters;
  uint64_t generation = 0;

  SlidingCounter& Of(Events events, int64_t length);    // one that is there
  void Add(Events events, int64_t now, int64_t count);  // in every window of that kind
  bool Empty(int64_t now);
};

// All books under one set of windows. Not thread-safe.
class Books {
 public:
  // Takes other windows. What is remembered stays; a window that is new starts with the people still remembered, and
  // with no events.
  void SetWindows(AllWindows windows);
  const AllWindows& windows() const { return windows_; }

  // The book of `name`, made where there is none, and slid to `now`; null where the scope has no windows.
  std::shared_ptr<Book> Open(Scope scope, const std::string& name, int64_t now);
  // Adds what `other` knows: people always, events only of windows that are not in `filled`.
  void Merge(const Books& other, const AllWindows& filled, int64_t now);

 private:
  void Sweep(Scope scope, int64_t now);

  using Shelf = std::unordered_map<std::string, std::shared_ptr<Book>>;
  AllWindows windows_;
  uint64_t generation_ = 0;
  std::array<Shelf, kScopes.size()> shelves_;
  std::array<size_t, kScopes.size()> sweep_at_{};
};

}  // namespace ecluse
