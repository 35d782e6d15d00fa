// The inside of Admission, shared by its two sources.
#pragma once

#include <array>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "admit/admission.h"
#include "admit/books.h"

namespace ecluse {

// The books that a payer's charges fall into, slid to one moment; null where a scope has no windows.
using PayerBooks = std::array<std::shared_ptr<Book>, kScopes.size()>;

// One limit of a payer's, beside the book it is counted in. Lives no longer than the lock is held.
struct Limit {
  Scope scope = Scope::account;
  Book* book = nullptr;
  const Window* window = nullptr;          // null for statistic rows,
  const Statistics* statistics = nullptr;  // which have this
  Events events = Events::lookups;         // of limits that do not count people
  bool people = false;
  size_t index = 0;    // of limits on people: the window in the book
  int64_t length = 0;  // microseconds
  int64_t allowed = 0;

  std::string Name() const;  // "60 subjects per 1h"
  int64_t Used(int64_t now) const { return people ? book->people.Used(index) : book->Of(events, length).Used(now); }
  int64_t FreesAt(int64_t now) const {
    return people ? book->people.FreesAt(index) : book->Of(events, length).FreesAt(now);
  }
};

struct Reservation::Undo {
  Admission::Impl* impl = nullptr;
  std::vector<std::shared_ptr<Book>> books;
  std::vector<PeopleSet::Slot> people;  // set aside: for each of them one slot in each of `books`
  // Of statistic rows.
  std::shared_ptr<Book> statistics;
  int64_t time = 0;
  int64_t rows = 0;

  void Commit();
  void GiveBack();
};

struct Admission::Impl {
  explicit Impl(const Clock& the_clock) : clock(the_clock) {}

  // All of these need `mutex`.
  const Role* RoleOf(const Payer& payer) const;
  PayerBooks Open(const Payer& payer, int64_t now);
  // The payer's limits on people, or on events of one kind.
  std::vector<Limit> PeopleLimits(const PayerBooks& opened, const Role& role) const;
  std::vector<Limit> EventLimits(const PayerBooks& opened, const Role& role, Events events) const;
  static void Charge(const PayerBooks& opened, Events events, int64_t count, int64_t now);
  static Error Refuse(const PayerBooks& opened, const Limit& limit, int64_t now);
  static Error NoRole(const Payer& payer, const PayerBooks& opened, int64_t now);
  Fit Reserve(const Payer& payer, std::span<const SubjectKey> people,
              std::span<const std::pair<uint32_t, uint32_t>> rows);

  // Fills windows that are not in `filled` from the ledger, and people in all. Needs `filling`; takes `mutex` at its
  // end.
  Status Fill(Ledger& ledger);

  const Clock& clock;
  std::mutex mutex;
  std::mutex filling;  // one Rebuild or Reload at a time; before `mutex`
  std::shared_ptr<const Policy> policy;
  Books books;
  AllWindows filled;  // windows whose past is known
  uint64_t next_reservation = 1;
};

}  // namespace ecluse
