// Delivery: counts the people in a result, has them written down, and only then lets the rows go.
//
// One Delivery accompanies one run of one guarded statement:
//
//   Begin()                           sets aside the people the statement itself names
//   Take() … full() -> Release() …    for every row, and whenever enough is held
//   Finish / Refuse / Fail / Break    one of them, before the client hears how it ended
//
// Bytes leave only through Release() and Finish(), which append them to `out` after the ledger gave its Receipt. The
// entries of one run are `whole`, or `first`, `part` … `last`; what the run was charged in lookups stands in the first
// of them, and rows and nameless people in the last.
#pragma once

#include <atomic>
#include <boost/asio.hpp>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "admit/admitted.h"
#include "deliver/row_batch.h"
#include "execute/values.h"
#include "ledger/ledger.h"

namespace ecluse {

// What delivery works with; outlives every session.
struct DeliveryServices {
  KeyRing& keys;
  Admission& admission;
  Ledger& ledger;
  // False stops release (the register's lock is lost): 58030.
  const std::atomic<bool>& may_release;
  const std::atomic<bool>& witnessed;
};

class Delivery {
 public:
  // Every row is charged and none is shown: MOVE, and writes without RETURNING.
  static constexpr int64_t kSwallowAll = INT64_MAX;

  // `asked` are the people that the statement names; `literals` what the entry keeps, sealed, of the values it was
  // given; the first `skip` rows are charged and not shown.
  Delivery(const DeliveryServices& services, Admitted admitted, std::vector<NamedPerson> asked,
           std::vector<std::string> literals, int64_t skip);

  // Sets the asked people aside. Refuses with 53400 where they do not all fit, and with 58030 where nothing can be
  // written down; nothing has run yet.
  Status Begin();
  // More people the statement turned out to name (Plan::resolve). The same.
  Status Ask(std::vector<NamedPerson> more);

  // How visible columns leave, where some hold pseudonyms.
  void SetForms(std::vector<ColumnForm> forms) { forms_ = std::move(forms); }
  // How opened values leave, where some columns are sealed.
  void SetSealedForms(SealedForms forms) { batch_.SetSealedForms(std::move(forms)); }
  bool needs_forms() const { return !admitted_.plan().pseudonym.empty() && forms_.empty(); }

  // Takes one DataRow's payload. An Error ends the run: call Fail().
  Status Take(std::string_view payload);
  // Enough is held for one entry. Never for what is judged as a whole.
  bool full() const { return !admitted_.plan().held() && batch_.full(); }
  bool holds_rows() const { return !batch_.empty(); }

  // Charges and records what is held, then appends it to `out`. False: a budget ended inside the result; what fitted
  // is charged and stands in `out` (of a `whole` plan it is charged, and nothing is shown), the refusal is recorded,
  // the run is over, and refusal() goes to the client.
  boost::asio::awaitable<Result<bool>> Release(std::string* out);
  // The end of the result: like Release(), and charges one nameless person for each arm that came back empty. When it
  // has returned true the client may hear how the statement ended.
  // `complete` false: more of the same result may be asked for later (a cursor), so of one arm alone it is not known
  // whether it is empty; of several, each that nothing has come from is charged now, and once.
  boost::asio::awaitable<Result<bool>> Finish(std::string* out, bool complete = true);

  // Which hidden columns have held somebody, over all runs of one cursor.
  void Resume(std::vector<bool> seen) {
    if (seen.size() == seen_.size()) seen_ = std::move(seen);
  }
  const std::vector<bool>& seen() const { return seen_; }

  // Of a statistic whose rows are all held: some row stands for too few people. Then nothing of it may be finished:
  // FallBack() hands the decision on to a Delivery of plan.fallback.
  bool FallsShort() const;
  std::unique_ptr<Delivery> FallBack();

  // A refusal of the gate's own that ends the run, or PostgreSQL's failure while it ran (which counts against the
  // failures budget): recorded with the people the statement named, and with those of a `whole` plan's rows, who are
  // charged.
  boost::asio::awaitable<Status> Refuse(Error error);
  boost::asio::awaitable<Status> Fail(std::string reason);
  // The client is gone or has cancelled: what was charged and not yet written is.
  boost::asio::awaitable<Status> Break(std::string reason);

  const Error& refusal() const { return refusal_; }
  int64_t rows_released() const { return released_; }  // visible ones
  int64_t rows_taken() const { return taken_; }        // swallowed ones included
  const Admitted& admitted() const { return admitted_; }
  bool over() const { return over_; }

 private:
  // What a batch was granted: its leading `rows`, and what they cost beside people with names.
  struct Grant {
    size_t rows = 0;
    int64_t nameless = 0, statistic_rows = 0;
    std::vector<Reservation> reservations;
  };
  Grant Reserve();
  bool ReserveOthers(size_t rows, Grant* grant, size_t* cut);
  bool ReserveEmptyArms(Grant* grant);
  bool IsStatistic(const RowBatch::Row& row) const;
  // Arms that came back empty, less the rows that told of nobody: each has been charged as one.
  int64_t EmptyArms(int64_t nameless_rows) const;
  boost::asio::awaitable<Result<bool>> Record(std::string* out, bool last, bool complete);
  EntryDraft Draft(EntryKind kind) const;
  EntryKind ReleaseKind() const;
  Status AddAsked(EntryDraft* draft);
  Status AddReturned(EntryDraft* draft, size_t rows);
  boost::asio::awaitable<Status> Append(EntryDraft draft);
  boost::asio::awaitable<Status> End(EntryKind kind, std::string reason, std::string message, int64_t more_lookups);
  Status Ready() const;

  DeliveryServices services_;
  Admitted admitted_;
  std::vector<NamedPerson> asked_;
  std::vector<std::string> literals_;
  std::vector<ColumnForm> forms_;
  RowBatch batch_;
  std::vector<Reservation> asked_reservations_;
  std::vector<bool> seen_;  // by hidden column: somebody came back in it
  Error refusal_;
  int64_t skip_ = 0;
  int64_t taken_ = 0, released_ = 0;
  int64_t nameless_rows_ = 0;  // rows that told of nobody, each charged as one
  bool recorded_ = false;      // an entry of this run is in the ledger, asked people and lookups with it
  bool over_ = false;
  bool of_statistic_ = false;  // the fallback of one: rows of enough people are statistics still
};

}  // namespace ecluse
