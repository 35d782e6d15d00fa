#include "admit/people.h"

#include <algorithm>

#include "base/check.h"

namespace ecluse {

PeopleSet::PeopleSet() : index_(0, Hash{&pool_}, Equal{&pool_}) {}

PeopleSet::Slot PeopleSet::Find(const SubjectKey& key) const {
  auto found = index_.find(key);
  return found == index_.end() ? kNone : *found;
}

PeopleSet::Slot PeopleSet::Add(const SubjectKey& key) {
  Slot slot;
  if (free_.empty()) {
    slot = static_cast<Slot>(pool_.size());
    CHECK(slot != kNone);
    pool_.emplace_back();
  } else {
    slot = free_.back();
    free_.pop_back();
  }
  pool_[slot] = Person{key, kNever, kNever, 0, kNone, kNone, 0};
  index_.insert(slot);
  return slot;
}

// Takes the person out of the order, and out of every window they count in.
void PeopleSet::Detach(Slot slot) {
  Person& person = pool_[slot];
  for (Window& window : windows_) {
    if (!In(window, person)) continue;
    --window.count;
    if (window.cursor == slot) window.cursor = person.newer;
  }
  (person.older == kNone ? oldest_ : pool_[person.older].newer) = person.newer;
  (person.newer == kNone ? newest_ : pool_[person.newer].older) = person.older;
  person.older = person.newer = kNone;
}

void PeopleSet::LinkAfter(Slot slot, Slot older) {
  Person& person = pool_[slot];
  person.older = older;
  person.newer = older == kNone ? oldest_ : pool_[older].newer;
  (older == kNone ? oldest_ : pool_[older].newer) = slot;
  (person.newer == kNone ? newest_ : pool_[person.newer].older) = slot;
}

void PeopleSet::EnterWindows(Slot slot) {
  Person& person = pool_[slot];
  for (Window& window : windows_) {
    if (!In(window, person)) continue;
    ++window.count;
    // Whoever stands just before the first that counts, and counts too, is the new first.
    if (window.cursor == person.newer) window.cursor = slot;
  }
}

void PeopleSet::MoveToNewest(Slot slot, int64_t now) {
  pool_[slot].last = now;
  LinkAfter(slot, newest_);
  EnterWindows(slot);
}

void PeopleSet::Forget(Slot slot) {
  index_.erase(slot);
  free_.push_back(slot);
  if (index_.empty() && pool_.size() > 64) {  // give memory back when a burst is over
    std::vector<Person>().swap(pool_);
    std::vector<Slot>().swap(free_);
    index_.rehash(0);
  }
}

void PeopleSet::ForgetOld(int64_t now) {
  while (oldest_ != kNone && pool_[oldest_].last + longest_ <= now) {
    Slot slot = oldest_;
    Detach(slot);
    if (pool_[slot].pending > 0) {
      MoveToNewest(slot, now);
      if (longest_ == 0) return;  // no window is left to hold anybody: the pending ones stay until they are settled
    } else {
      Forget(slot);
    }
  }
}

void PeopleSet::Advance(int64_t now) {
  for (Window& window : windows_) {
    CHECK(now >= window.as_of);
    while (window.cursor != kNone && pool_[window.cursor].last + window.length <= now) {
      Slot slot = window.cursor;
      if (pool_[slot].pending > 0) {
        Detach(slot);
        MoveToNewest(slot, now);
      } else {
        --window.count;
        window.cursor = pool_[slot].newer;
      }
    }
    window.as_of = now;
  }
  ForgetOld(now);
}

void PeopleSet::SetWindows(const std::vector<int64_t>& lengths, int64_t now) {
  windows_.clear();
  longest_ = 0;
  for (int64_t length : lengths) {
    CHECK(length > 0);
    windows_.push_back({length, now});
    longest_ = std::max(longest_, length);
  }
  for (Window& window : windows_) {
    for (Slot slot = newest_; slot != kNone && In(window, pool_[slot]); slot = pool_[slot].older) {
      ++window.count;
      window.cursor = slot;
    }
  }
  ForgetOld(now);
}

int64_t PeopleSet::FreesAt(size_t index) const {
  const Window& window = windows_[index];
  return window.cursor == kNone ? 0 : pool_[window.cursor].last + window.length;
}

bool PeopleSet::Counts(const SubjectKey& key, size_t window) const {
  Slot slot = Find(key);
  return slot != kNone && In(windows_[window], pool_[slot]);
}

PeopleSet::Slot PeopleSet::Reserve(const SubjectKey& key, int64_t now, uint64_t reservation) {
  Slot slot = Find(key);
  if (slot == kNone) {
    slot = Add(key);
  } else {
    if (pool_[slot].reservation == reservation) return kNone;
    Detach(slot);
  }
  MoveToNewest(slot, now);
  pool_[slot].reservation = reservation;
  ++pool_[slot].pending;
  return slot;
}

void PeopleSet::Commit(Slot slot, int64_t now) {
  CHECK(pool_[slot].pending > 0);
  --pool_[slot].pending;
  Detach(slot);
  MoveToNewest(slot, now);
  pool_[slot].settled = now;
}

void PeopleSet::GiveBack(Slot slot) {
  CHECK(pool_[slot].pending > 0);
  Person& person = pool_[slot];
  if (--person.pending > 0) return;
  Detach(slot);
  if (windows_.empty() || person.settled + longest_ <= windows_.front().as_of) {
    Forget(slot);
    return;
  }
  person.last = person.settled;
  Slot older = newest_;
  while (older != kNone && pool_[older].last > person.last) older = pool_[older].older;
  LinkAfter(slot, older);
  EnterWindows(slot);
}

void PeopleSet::Replay(const SubjectKey& key, int64_t time) {
  Advance(time);
  Slot slot = Find(key);
  if (slot == kNone) {
    slot = Add(key);
  } else {
    Detach(slot);
  }
  MoveToNewest(slot, time);
  pool_[slot].settled = time;
}

void PeopleSet::Merge(const PeopleSet& other, int64_t now) {
  for (Slot from = other.oldest_; from != kNone; from = other.pool_[from].newer) {
    const Person& person = other.pool_[from];
    Slot slot = Find(person.key);
    if (slot == kNone) slot = Add(person.key);
    pool_[slot].last = std::max(pool_[slot].last, person.last);
    pool_[slot].settled = std::max(pool_[slot].settled, person.settled);
  }
  std::vector<Slot> order(index_.begin(), index_.end());
  std::sort(order.begin(), order.end(), [this](Slot a, Slot b) { return pool_[a].last < pool_[b].last; });
  oldest_ = newest_ = kNone;
  for (Slot slot : order) {
    pool_[slot].older = pool_[slot].newer = kNone;
    LinkAfter(slot, newest_);
  }
  std::vector<int64_t> lengths;
  for (const Window& window : windows_) lengths.push_back(window.length);
  SetWindows(lengths, now);
}

}  // namespace ecluse
