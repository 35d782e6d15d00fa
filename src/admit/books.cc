#include "admit/books.h"

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "base/limits.h"

namespace ecluse {

std::string_view ScopeName(Scope scope) {
  static constexpr std::array<std::string_view, kScopes.size()> kNames = {"account", "address", "organisation",
                                                                          "register"};
  return kNames[static_cast<size_t>(scope)];
}

int64_t Micros(std::chrono::seconds length) { return std::chrono::microseconds(length).count(); }

namespace {

template <typename T>
void SortUnique(std::vector<T>& values) {
  std::sort(values.begin(), values.end());
  values.erase(std::unique(values.begin(), values.end()), values.end());
}

void AddWindows(ScopeWindows& to, const std::vector<Window>& from) {
  for (const Window& window : from) {
    switch (window.counts) {
      case Window::Counts::subjects:
        to.people.push_back(Micros(window.per));
        break;
      case Window::Counts::lookups:
        to.counters.push_back({Events::lookups, Micros(window.per)});
        break;
      case Window::Counts::failures:
        to.counters.push_back({Events::failures, Micros(window.per)});
        break;
    }
  }
}

ScopeWindows& At(AllWindows& windows, Scope scope) { return windows[static_cast<size_t>(scope)]; }

bool Contains(const ScopeWindows& windows, const ScopeWindows::Counter& counter) {
  return std::find(windows.counters.begin(), windows.counters.end(), counter) != windows.counters.end();
}

// Brings a book made under other windows under these.
void Adapt(Book& book, const ScopeWindows& windows, int64_t now) {
  book.people.SetWindows(windows.people, now);
  std::erase_if(book.counters, [&](const Book::Counter& counter) { return !Contains(windows, counter.what); });
  for (const ScopeWindows::Counter& wanted : windows.counters) {
    bool there = std::any_of(book.counters.begin(), book.counters.end(),
                             [&](const Book::Counter& counter) { return counter.what == wanted; });
    if (!there) book.counters.push_back({wanted, SlidingCounter(wanted.length)});
  }
}

}  // namespace

void ScopeWindows::Add(const ScopeWindows& other) {
  people.insert(people.end(), other.people.begin(), other.people.end());
  counters.insert(counters.end(), other.counters.begin(), other.counters.end());
  SortUnique(people);
  SortUnique(counters);
}

size_t ScopeWindows::IndexOfPeople(int64_t length) const {
  auto found = std::lower_bound(people.begin(), people.end(), length);
  CHECK(found != people.end() && *found == length);
  return static_cast<size_t>(found - people.begin());
}

AllWindows WindowsOf(const Policy& policy) {
  AllWindows windows;
  ScopeWindows& account = At(windows, Scope::account);
  for (const auto& [name, role] : policy.roles) {
    AddWindows(account, role.budgets);
    if (role.statistics) account.counters.push_back({Events::statistics, Micros(role.statistics->per)});
  }
  AddWindows(At(windows, Scope::address), policy.per_address);
  AddWindows(At(windows, Scope::organisation), policy.per_organisation);
  AddWindows(At(windows, Scope::reg), policy.per_register);
  for (ScopeWindows& scope : windows) scope.Add({});
  return windows;
}

SlidingCounter& Book::Of(Events events, int64_t length) {
  for (Counter& counter : counters) {
    if (counter.what == ScopeWindows::Counter{events, length}) return counter.counter;
  }
  CHECK(false && "a window of this kind and length");
  std::unreachable();
}

void Book::Add(Events events, int64_t now, int64_t count) {
  for (Counter& counter : counters) {
    if (counter.what.events == events) counter.counter.Add(now, count);
  }
}

bool Book::Empty(int64_t now) {
  people.Advance(now);
  return people.empty() && std::all_of(counters.begin(), counters.end(),
                                       [now](Counter& counter) { return counter.counter.Used(now) == 0; });
}

void Books::SetWindows(AllWindows windows) {
  windows_ = std::move(windows);
  ++generation_;
  for (Scope scope : kScopes) {
    if (windows_[static_cast<size_t>(scope)].empty()) shelves_[static_cast<size_t>(scope)].clear();
  }
}

std::shared_ptr<Book> Books::Open(Scope scope, const std::string& name, int64_t now) {
  const ScopeWindows& windows = windows_[static_cast<size_t>(scope)];
  if (windows.empty()) return nullptr;
  Shelf& shelf = shelves_[static_cast<size_t>(scope)];
  auto found = shelf.find(name);
  if (found == shelf.end()) {
    Sweep(scope, now);
    found = shelf.emplace(name, std::make_shared<Book>()).first;
  }
  Book& book = *found->second;
  if (book.generation != generation_) {
    Adapt(book, windows, now);
    book.generation = generation_;
  }
  book.people.Advance(now);
  return found->second;
}

// Drops books in which nothing counts, each time their number has doubled: constant work for each new book.
void Books::Sweep(Scope scope, int64_t now) {
  Shelf& shelf = shelves_[static_cast<size_t>(scope)];
  size_t& at = sweep_at_[static_cast<size_t>(scope)];
  if (shelf.size() < std::max(at, limits::kPayersSwept)) return;
  std::erase_if(shelf, [now](const auto& entry) { return entry.second->Empty(now); });
  at = shelf.size() * 2;
}

void Books::Merge(const Books& other, const AllWindows& filled, int64_t now) {
  for (Scope scope : kScopes) {
    for (const auto& [name, theirs] : other.shelves_[static_cast<size_t>(scope)]) {
      std::shared_ptr<Book> ours = Open(scope, name, now);
      if (!ours) continue;
      ours->people.Merge(theirs->people, now);
      for (const Book::Counter& counter : theirs->counters) {
        if (Contains(filled[static_cast<size_t>(scope)], counter.what)) continue;
        ours->Of(counter.what.events, counter.what.length).Merge(counter.counter);
      }
    }
  }
}

}  // namespace ecluse
