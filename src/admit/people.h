// The distinct people disclosed to one payer, seen through several sliding windows at once.
#pragma once

#include <boost/unordered/unordered_flat_set.hpp>
#include <cstdint>
#include <vector>

#include "ledger/entry.h"

namespace ecluse {

// A set of people in the order of their last disclosure, oldest first. Each window is a cursor into that order and a
// count: everyone from the cursor on counts in it.
//
//   oldest  a  b  c  d  e  f  newest
//                 ^24h     ^1h            24h: 4 people, 1h: 1
//
// Every operation costs O(windows), amortised. A person counts in a window of length w at time t while last > t - w.
// People of unsettled reservations ("pending") do not leave a window: when their time comes they are taken as disclosed
// just then. Times are microseconds of any clock that never goes back; not thread-safe.
class PeopleSet {
 public:
  PeopleSet();
  PeopleSet(const PeopleSet&) = delete;
  PeopleSet& operator=(const PeopleSet&) = delete;

  // Replaces the windows' lengths. People whom no window holds are forgotten: a window longer than all before counts
  // from what is remembered.
  void SetWindows(const std::vector<int64_t>& lengths, int64_t now);
  // Lets windows slide to `now`; the functions below speak of that moment.
  void Advance(int64_t now);

  int64_t Used(size_t window) const { return windows_[window].count; }
  // When the first of those who count leaves; 0 where nobody counts. For a pending person the earliest moment.
  int64_t FreesAt(size_t window) const;
  // Whether this person counts in the window already, so that disclosing them again costs nothing.
  bool Counts(const SubjectKey& key, size_t window) const;

  // Sets a person aside at `now`, for the reservation of that number (not 0, each used once); kNone where it holds them
  // already. The Slot stands for them until their last reservation is settled or given back. Needs Advance(now) before.
  using Slot = uint32_t;
  static constexpr Slot kNone = UINT32_MAX;
  Slot Reserve(const SubjectKey& key, int64_t now, uint64_t reservation);
  // One reservation of this person is settled at `now`: disclosed, they count from now.
  void Commit(Slot slot, int64_t now);
  // One reservation of this person is given back: without others they are again what they were.
  void GiveBack(Slot slot);

  // A disclosure known from the ledger, at a time not before any other of this set's.
  void Replay(const SubjectKey& key, int64_t time);
  // Takes over whatever `other` knows: of each person the later disclosure. Windows stay this set's own.
  void Merge(const PeopleSet& other, int64_t now);

  size_t size() const { return index_.size(); }
  bool empty() const { return index_.empty(); }

 private:
  static constexpr int64_t kNever = INT64_MIN / 2;
  struct Person {
    SubjectKey key;
    int64_t last;          // disclosed or set aside: their place in the order
    int64_t settled;       // disclosed for certain; kNever where only set aside
    uint64_t reservation;  // that set them aside last
    Slot older, newer;
    uint32_t pending;  // reservations that hold them
  };
  struct Window {
    int64_t length;
    int64_t as_of;  // the time it was last advanced to
    Slot cursor = kNone;
    int64_t count = 0;
  };
  // The index holds slots and looks keys up in the pool, so that a key is stored once.
  struct Hash {
    using is_transparent = void;
    using is_avalanching = void;  // keys are uniform
    const std::vector<Person>* pool;
    size_t operator()(Slot slot) const { return SubjectKeyHash{}((*pool)[slot].key); }
    size_t operator()(const SubjectKey& key) const { return SubjectKeyHash{}(key); }
  };
  struct Equal {
    using is_transparent = void;
    const std::vector<Person>* pool;
    bool operator()(Slot a, Slot b) const { return a == b; }
    bool operator()(const SubjectKey& key, Slot slot) const { return (*pool)[slot].key == key; }
    bool operator()(Slot slot, const SubjectKey& key) const { return (*pool)[slot].key == key; }
  };

  Slot Find(const SubjectKey& key) const;
  Slot Add(const SubjectKey& key);
  void Forget(Slot slot);
  void ForgetOld(int64_t now);
  bool In(const Window& window, const Person& person) const { return person.last + window.length > window.as_of; }
  void MoveToNewest(Slot slot, int64_t now);
  void Detach(Slot slot);
  void LinkAfter(Slot slot, Slot older);
  void EnterWindows(Slot slot);

  std::vector<Person> pool_;
  std::vector<Slot> free_;
  boost::unordered_flat_set<Slot, Hash, Equal> index_;
  std::vector<Window> windows_;
  int64_t longest_ = 0;
  Slot oldest_ = kNone, newest_ = kNone;
};

}  // namespace ecluse
