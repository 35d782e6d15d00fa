// Refusals that do not depend on data, written down: the first of an account, rule and minute at once, its repetitions
// as one entry with their count when the minute is over. Refusals that depend on data are delivery's.
#pragma once

#include <boost/asio.hpp>
#include <map>
#include <mutex>
#include <string>
#include <tuple>

#include "admit/admitted.h"
#include "base/clock.h"
#include "base/result.h"
#include "ledger/ledger.h"
#include "plan/plan.h"

namespace ecluse {

// Thread-safe.
class RefusalLog {
 public:
  RefusalLog(Ledger& ledger, const Clock& clock) : ledger_(ledger), clock_(clock) {}

  // Notes that `caller` was refused with `error`; `plan` may be null. The entry is appended by a coroutine of its own
  // on `executor`: the answer does not wait for it.
  void Note(boost::asio::any_io_executor executor, const Caller& caller, const Plan* plan, const Error& error);

  // Writes the counts of minutes that are over; with `all`, of the running one too. Called every few seconds and at the
  // end.
  void Sweep(boost::asio::any_io_executor executor, bool all = false);

 private:
  struct Count {
    int64_t minute = 0;
    int64_t repeated = 0;
    int64_t lookups = 0;
    EntryDraft draft;
  };
  void Append(boost::asio::any_io_executor executor, EntryDraft draft);

  Ledger& ledger_;
  const Clock& clock_;
  std::mutex mutex_;
  std::map<std::tuple<std::string, std::string, std::string>, Count> counts_;  // account, role, rule
};

}  // namespace ecluse
