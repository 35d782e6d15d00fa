// From the ledger to the books: what each entry charged, and to whom.
#include <fmt/format.h>

#include <algorithm>
#include <unordered_map>

#include "admit/admission_impl.h"
#include "base/limits.h"
#include "base/random.h"
#include "ledger/facts.h"

namespace ecluse {

namespace {

// What one entry charged.
struct Charged {
  int64_t time = 0;  // on the boot clock
  Payer payer;
  int64_t lookups = 0, failures = 0, statistic_rows = 0, nameless = 0;
  std::vector<SubjectToken> people;
};

std::unexpected<Error> Unreadable(const StoredEntry& entry, std::string why) {
  return Fail(sqlstate::kIo, "the record of what was disclosed cannot be read, so nothing can be released",
              "Tell whoever runs the gate.", "admit.rebuild",
              fmt::format("ledger entry {}: {}; restore the ledger and the keys under data_dir from the same moment",
                          entry.seq, why));
}

// Reads what an entry charged; an entry that charged nobody has no account.
Result<Charged> Read(const StoredEntry& entry) {
  Charged charged;
  Result<EntryFacts> facts = ReadFacts(entry.seq, entry.json, entry.opened);
  if (!facts) return Unreadable(entry, facts.error().operator_detail);
  const bool failure = facts->kind == EntryKindName(EntryKind::failure);
  if (!facts->has_charges && !facts->sealed && !failure) return charged;
  if (facts->sealed && !facts->opened)
    return Unreadable(entry, "its sealed part does not open with the keys that are here");
  charged.payer.account = facts->principal;
  charged.payer.organisation = facts->organisation;
  charged.payer.address = facts->address;
  charged.lookups = facts->lookups;
  charged.nameless = facts->nameless;
  charged.statistic_rows = facts->statistic_rows;
  if (failure) charged.failures = std::max<int64_t>(facts->count, 1);
  charged.people = facts->People();
  return charged;
}

// Applies entries to books, resolving the tokens of many at once.
class Filler {
 public:
  Filler(Ledger& ledger, Books& books) : ledger_(ledger), books_(books) {}

  Status Add(Charged charged) {
    tokens_ += charged.people.size();
    waiting_.push_back(std::move(charged));
    return tokens_ >= limits::kRebuildTokens || waiting_.size() >= limits::kRebuildTokens ? Flush() : Status{};
  }

  Status Flush() {
    std::vector<SubjectToken> tokens;
    for (const Charged& charged : waiting_) tokens.insert(tokens.end(), charged.people.begin(), charged.people.end());
    ECLUSE_TRY(auto pairs, ledger_.KeysOf(tokens));
    std::unordered_map<SubjectToken, SubjectKey, SubjectKeyHash> keys(pairs.begin(), pairs.end());
    for (const Charged& charged : waiting_) Apply(charged, keys);
    waiting_.clear();
    tokens_ = 0;
    return {};
  }

 private:
  void Apply(const Charged& charged, const std::unordered_map<SubjectToken, SubjectKey, SubjectKeyHash>& keys) {
    const std::string* names[] = {&charged.payer.account, &charged.payer.address, &charged.payer.organisation,
                                  &kRegister};
    for (Scope scope : kScopes) {
      const std::string& name = *names[static_cast<size_t>(scope)];
      if (name.empty() && scope != Scope::reg) continue;
      std::shared_ptr<Book> book = books_.Open(scope, name, charged.time);
      if (!book) continue;
      book->Add(Events::lookups, charged.time, charged.lookups);
      book->Add(Events::failures, charged.time, charged.failures);
      book->Add(Events::statistics, charged.time, charged.statistic_rows);
      for (const SubjectToken& token : charged.people) {
        auto found = keys.find(token);
        // An erased person still counts, under the token.
        book->people.Replay(found == keys.end() ? token : found->second, charged.time);
      }
      for (int64_t i = 0; i < charged.nameless; ++i) {
        SubjectKey nobody;
        RandomBytes(nobody);
        book->people.Replay(nobody, charged.time);
      }
    }
  }

  const std::string kRegister;
  Ledger& ledger_;
  Books& books_;
  std::vector<Charged> waiting_;
  size_t tokens_ = 0;
};

int64_t LongestOf(const AllWindows& windows) {
  int64_t longest = 0;
  for (const ScopeWindows& scope : windows) {
    for (int64_t length : scope.people) longest = std::max(longest, length);
    for (const ScopeWindows::Counter& counter : scope.counters) longest = std::max(longest, counter.length);
  }
  return longest;
}

}  // namespace

Status Admission::Impl::Fill(Ledger& ledger) {
  Books fresh;
  {
    std::lock_guard lock(mutex);
    fresh.SetWindows(books.windows());
  }
  int64_t start = clock.BootMicros();
  int64_t wall = ledger.NowMicros();
  ECLUSE_TRY(uint64_t first, ledger.FirstSince(wall - LongestOf(fresh.windows())));
  Filler filler(ledger, fresh);
  Status status;
  ECLUSE_OK(ledger.Replay(first, [&](const StoredEntry& entry) {
    Result<Charged> charged = Read(entry);
    if (!charged) {
      status = std::unexpected(std::move(charged).error());
      return false;
    }
    if (charged->payer.account.empty()) return true;
    // An entry from ahead of the wall clock counts from now: for longer than it should, never for less.
    charged->time = std::min(start - (wall - entry.time), start);
    status = filler.Add(std::move(*charged));
    return status.has_value();
  }));
  ECLUSE_OK(status);
  ECLUSE_OK(filler.Flush());
  std::lock_guard lock(mutex);
  books.Merge(fresh, filled, clock.BootMicros());
  filled = books.windows();
  return {};
}

Status Admission::Rebuild(Ledger& ledger) {
  std::lock_guard one(impl_->filling);
  {
    std::lock_guard lock(impl_->mutex);
    impl_->filled = {};
  }
  return impl_->Fill(ledger);
}

Status Admission::Reload(std::shared_ptr<const Policy> policy, Ledger& ledger, const std::function<Status()>& record) {
  std::lock_guard one(impl_->filling);
  AllWindows wanted = WindowsOf(*policy);
  AllWindows both = wanted;
  {
    std::lock_guard lock(impl_->mutex);
    for (Scope scope : kScopes)
      both[static_cast<size_t>(scope)].Add(impl_->books.windows()[static_cast<size_t>(scope)]);
    impl_->books.SetWindows(both);
  }
  Status ready = impl_->Fill(ledger);
  if (ready) ready = record();
  std::lock_guard lock(impl_->mutex);
  if (ready) impl_->policy = std::move(policy);
  impl_->books.SetWindows(ready ? std::move(wanted) : WindowsOf(*impl_->policy));
  impl_->filled = impl_->books.windows();
  return ready;
}

}  // namespace ecluse
