#include "deliver/delivery.h"

#include <fmt/format.h>

#include <boost/unordered/unordered_flat_set.hpp>

#include "base/check.h"
#include "base/limits.h"
#include "base/log.h"

namespace ecluse {

using boost::asio::awaitable;

Delivery::Delivery(const DeliveryServices& services, Admitted admitted, std::vector<NamedPerson> asked,
                   std::vector<std::string> literals, int64_t skip)
    : services_(services),
      admitted_(std::move(admitted)),
      asked_(std::move(asked)),
      literals_(std::move(literals)),
      batch_(admitted_.plan(), services.keys, admitted_.caller().policy->register_name, admitted_.caller().role->name),
      seen_(admitted_.plan().hidden.size()),
      skip_(skip) {}

Status Delivery::Ready() const {
  if (!services_.ledger.healthy()) {
    return ecluse::Fail(sqlstate::kIo, "the ledger cannot be written, so nothing is released",
                        "Ask whoever runs the gate to look at its log and its disk; it goes on after a restart.",
                        "ledger.unhealthy");
  }
  if (!services_.may_release.load(std::memory_order_acquire)) {
    return ecluse::Fail(
        sqlstate::kIo, "this gate has lost its lock on the register, so nothing is released",
        "Try again in a moment; if it stays, ask whoever runs the gate whether a second one is running.",
        "server.register-lock");
  }
  if (!services_.witnessed.load(std::memory_order_acquire)) {
    return ecluse::Fail(sqlstate::kIo, "witnesses have not cosigned the ledger for too long, so nothing is released",
                        "Ask whoever runs the gate: its log says which witness does not answer, and why; release goes "
                        "on by itself once enough of them do.",
                        "ledger.witnesses");
  }
  return {};
}

Status Delivery::Begin() {
  ECLUSE_OK(Ready());
  std::vector<NamedPerson> asked = std::move(asked_);
  asked_.clear();
  return Ask(std::move(asked));
}

Status Delivery::Ask(std::vector<NamedPerson> more) {
  if (more.empty()) return {};
  std::vector<SubjectKey> keys(more.size());
  for (size_t i = 0; i < more.size(); ++i) {
    const TableRef& table = admitted_.plan().tables.at(static_cast<size_t>(more[i].table_ref));
    services_.keys.SubjectKey(table.space, more[i].id, keys[i].data());
  }
  std::pair<uint32_t, uint32_t> all{0, static_cast<uint32_t>(keys.size())};
  Admission::Fit fit = services_.admission.Reserve(admitted_.caller().payer, keys, std::span(&all, 1));
  if (fit.rows == 0) return std::unexpected(std::move(fit.refusal));
  asked_reservations_.push_back(std::move(fit.reservation));
  asked_.insert(asked_.end(), std::make_move_iterator(more.begin()), std::make_move_iterator(more.end()));
  return {};
}

Status Delivery::Take(std::string_view payload) {
  CHECK(!over_);
  if (admitted_.plan().held() &&
      (batch_.rows().size() >= limits::kHeldRows || batch_.bytes().size() >= limits::kHeldBytes)) {
    return ecluse::Fail(
        sqlstate::kProgramLimit,
        fmt::format("a result that is judged as a whole has at most {} rows and {} bytes", limits::kHeldRows,
                    limits::kHeldBytes),
        admitted_.plan().statistic ? "Group by fewer columns." : "Lower the LIMIT inside, or leave it out.",
        "deliver.held-rows");
  }
  ECLUSE_OK(batch_.Add(payload, forms_, taken_ >= skip_));
  ++taken_;
  const RowBatch::Row& row = batch_.rows().back();
  for (uint32_t i = row.first_person; i < row.last_person; ++i) seen_[batch_.people()[i].hidden] = true;
  return {};
}

bool Delivery::IsStatistic(const RowBatch::Row& row) const {
  return admitted_.plan().statistic || (of_statistic_ && row.enough_people);
}

bool Delivery::FallsShort() const {
  for (const RowBatch::Row& row : batch_.rows())
    if (!row.enough_bits) return true;
  return false;
}

std::unique_ptr<Delivery> Delivery::FallBack() {
  CHECK(!recorded_ && !over_);
  over_ = true;
  auto delivery = std::make_unique<Delivery>(services_, std::move(admitted_).ForFallback(), std::vector<NamedPerson>(),
                                             std::move(literals_), skip_);
  delivery->of_statistic_ = true;
  delivery->asked_ = std::move(asked_);
  delivery->asked_reservations_ = std::move(asked_reservations_);
  return delivery;
}

int64_t Delivery::EmptyArms(int64_t nameless_rows) const {
  const Plan& plan = admitted_.plan();
  int64_t empty = 0;
  for (int arm = 0; arm < std::max(plan.arms, 1); ++arm) {
    bool any_column = false, found = false;
    for (size_t i = 0; i < plan.hidden.size(); ++i) {
      if (plan.hidden[i].kind != HiddenColumn::Kind::subjects || plan.hidden[i].arm != arm) continue;
      any_column = true;
      found = found || seen_[i];
    }
    // A statistic's rows carry no people: any row at all answers for every arm.
    if (plan.statistic || !any_column) found = taken_ > 0;
    if (!found) ++empty;
  }
  return std::max<int64_t>(empty - nameless_rows, 0);
}

// Sets aside what rows before `rows` cost beside people with names. False, with `cut` at the first row that does not
// fit, where a budget ends.
bool Delivery::ReserveOthers(size_t rows, Grant* grant, size_t* cut) {
  const Payer& payer = admitted_.caller().payer;
  for (size_t i = 0; i < rows; ++i) {
    const RowBatch::Row& row = batch_.rows()[i];
    bool statistic = IsStatistic(row);
    if (!statistic && row.first_person != row.last_person) continue;
    Result<Reservation> reservation =
        statistic ? services_.admission.ReserveStatistics(payer, 1) : services_.admission.ReserveNameless(payer, 1);
    if (!reservation) {
      refusal_ = std::move(reservation).error();
      *cut = i;
      return false;
    }
    ++(statistic ? grant->statistic_rows : grant->nameless);
    grant->reservations.push_back(std::move(*reservation));
  }
  return true;
}

Delivery::Grant Delivery::Reserve() {
  Grant grant;
  grant.rows = batch_.rows().size();
  size_t cut = grant.rows;
  if (!ReserveOthers(grant.rows, &grant, &cut)) grant.rows = cut;
  std::vector<std::pair<uint32_t, uint32_t>> ranges;
  std::vector<size_t> of_row;
  for (size_t i = 0; i < grant.rows; ++i) {
    const RowBatch::Row& row = batch_.rows()[i];
    if (row.first_person == row.last_person || IsStatistic(row)) continue;
    ranges.emplace_back(row.first_person, row.last_person);
    of_row.push_back(i);
  }
  if (ranges.empty()) return grant;
  Admission::Fit fit = services_.admission.Reserve(admitted_.caller().payer, batch_.keys(), ranges);
  if (fit.rows < ranges.size()) {
    // What was set aside for statistic and nameless rows behind the cut stays charged: an end of budget is rare, and
    // too much counted is never wrong.
    grant.rows = of_row[fit.rows];
    refusal_ = std::move(fit.refusal);
  }
  grant.reservations.push_back(std::move(fit.reservation));
  return grant;
}

bool Delivery::ReserveEmptyArms(Grant* grant) {
  int64_t empty = EmptyArms(nameless_rows_ + grant->nameless);
  if (empty == 0) return true;
  Result<Reservation> reservation = services_.admission.ReserveNameless(admitted_.caller().payer, empty);
  if (!reservation) {
    refusal_ = std::move(reservation).error();
    return false;
  }
  grant->nameless += empty;
  grant->reservations.push_back(std::move(*reservation));
  return true;
}

EntryKind Delivery::ReleaseKind() const {
  const Plan& plan = admitted_.plan();
  if (taken_ == 0) return EntryKind::lookup;
  if (plan.command_tag.starts_with("INSERT") || plan.kind == Plan::Kind::copy_in) return EntryKind::collection;
  if (plan.command_tag.starts_with("UPDATE")) return EntryKind::alteration;
  if (plan.command_tag.starts_with("DELETE")) return EntryKind::erasure;
  return plan.statistic ? EntryKind::statistic : EntryKind::disclosure;
}

EntryDraft Delivery::Draft(EntryKind kind) const {
  const Plan& plan = admitted_.plan();
  EntryDraft draft = DraftOf(kind, admitted_.caller());
  draft.fingerprint = plan.fingerprint;
  draft.statement = plan.normalised;
  for (const TableRef& table : plan.tables) {
    EntrySubjects& subjects = draft.subjects.emplace_back();
    subjects.table = table.table.Text();
    for (const auto& [column, mask] : table.fields) subjects.fields.emplace_back(column, mask.Text());
  }
  return draft;
}

// The people asked for, the lookups and the literals: once, in the first entry of the run.
Status Delivery::AddAsked(EntryDraft* draft) {
  if (recorded_) return {};
  draft->lookups += admitted_.lookups();
  draft->literals = literals_;
  std::vector<PersonName> people;
  for (const NamedPerson& person : asked_) {
    PersonName& name = people.emplace_back();
    name.space = admitted_.plan().tables[static_cast<size_t>(person.table_ref)].space;
    name.id = person.id;
    services_.keys.SubjectKey(name.space, name.id, name.key.data());
  }
  ECLUSE_TRY(const std::vector<SubjectToken> tokens, services_.ledger.TokensOf(people));
  for (size_t i = 0; i < tokens.size(); ++i)
    draft->subjects[static_cast<size_t>(asked_[i].table_ref)].asked.push_back(tokens[i]);
  return {};
}

Status Delivery::AddReturned(EntryDraft* draft, size_t rows) {
  const Plan& plan = admitted_.plan();
  std::vector<boost::unordered_flat_set<SubjectKey, SubjectKeyHash>> named(plan.tables.size());
  std::vector<PersonName> people;
  std::vector<size_t> refs;
  for (size_t i = 0; i < rows; ++i) {
    const RowBatch::Row& row = batch_.rows()[i];
    if (IsStatistic(row)) continue;
    for (uint32_t p = row.first_person; p < row.last_person; ++p) {
      const RowBatch::Person& person = batch_.people()[p];
      const SubjectKey& key = batch_.keys()[p];
      size_t ref = static_cast<size_t>(person.table_ref);
      if (!named[ref].insert(key).second) continue;
      people.push_back({key, plan.tables[ref].space, batch_.id(person)});
      refs.push_back(ref);
    }
  }
  ECLUSE_TRY(const std::vector<SubjectToken> tokens, services_.ledger.TokensOf(people));
  for (size_t i = 0; i < tokens.size(); ++i) draft->subjects[refs[i]].returned.push_back(tokens[i]);
  return {};
}

awaitable<Status> Delivery::Append(EntryDraft draft) {
  Result<Receipt> receipt = co_await services_.ledger.Append(std::move(draft));
  if (!receipt) co_return std::unexpected(std::move(receipt).error());
  recorded_ = true;
  co_return Ready();
}

awaitable<Result<bool>> Delivery::Record(std::string* out, bool last, bool complete) {
  CHECK(!over_);
  ECLUSE_CO_OK(Ready());
  Grant grant = Reserve();
  bool fits = grant.rows == batch_.rows().size();
  // Where only the first rows of several arms are wanted, an arm that none of them came from tells of those in it.
  const bool arms = complete || admitted_.plan().arms > 1;
  if (fits && last && arms) fits = ReserveEmptyArms(&grant);
  if (!complete && last && arms) seen_.assign(seen_.size(), true);  // charged once, however many more are fetched
  if (!fits) last = true;

  EntryDraft draft = Draft(ReleaseKind());
  draft.part = recorded_ ? (last ? EntryPart::last : EntryPart::part) : (last ? EntryPart::whole : EntryPart::first);
  ECLUSE_CO_OK(AddAsked(&draft));
  ECLUSE_CO_OK(AddReturned(&draft, grant.rows));
  draft.nameless = grant.nameless;
  draft.statistic_rows = grant.statistic_rows;
  // Of a result that is shown whole, people who fitted stay charged, and none of it is shown.
  const bool shown = fits || !admitted_.plan().whole;
  size_t bytes = 0;
  int64_t visible = 0;
  for (size_t i = 0; shown && i < grant.rows; ++i) {
    const RowBatch::Row& row = batch_.rows()[i];
    if (row.first_person == row.last_person && !IsStatistic(row)) ++nameless_rows_;
    if (row.end > row.begin) ++visible;
    bytes = row.end;
  }
  if (last) {
    draft.rows = released_ + visible;
    for (const BudgetLine& line : services_.admission.Budget(admitted_.caller().payer))
      if (line.scope == "account") draft.budget.emplace_back(line.name, line.left);
  }
  // From here on the entry may reach the disk whatever happens to this session: nothing of it is given back.
  for (Reservation& reservation : asked_reservations_) reservation.Commit();
  for (Reservation& reservation : grant.reservations) reservation.Commit();
  asked_reservations_.clear();
  over_ = last;
  ECLUSE_CO_OK(co_await Append(std::move(draft)));

  out->append(batch_.bytes().substr(0, bytes));
  released_ += visible;
  batch_.Clear();
  if (fits) co_return true;
  // The budget's refusal costs a lookup, which admission has charged; written down so that a restart knows it too.
  EntryDraft refusal = Draft(EntryKind::refusal);
  refusal.reason = refusal_.rule;
  refusal.message = refusal_.message;
  refusal.lookups = 1;
  ECLUSE_CO_OK(co_await Append(std::move(refusal)));
  if (released_ > 0) {
    // Where among the rows of others it ended tells of those who did not fit: as an error does, and counted as one.
    services_.admission.Failure(admitted_.caller().payer);
    EntryDraft failure = Draft(EntryKind::failure);
    failure.reason = "a budget ended inside a result";
    ECLUSE_CO_OK(co_await Append(std::move(failure)));
  }
  co_return false;
}

awaitable<Result<bool>> Delivery::Release(std::string* out) { return Record(out, false, false); }

awaitable<Result<bool>> Delivery::Finish(std::string* out, bool complete) { return Record(out, true, complete); }

// The last entry of a run that releases nothing more.
awaitable<Status> Delivery::End(EntryKind kind, std::string reason, std::string message, int64_t more_lookups) {
  if (over_) co_return Status();
  over_ = true;
  bool parts = recorded_;
  EntryDraft draft = Draft(parts ? ReleaseKind() : kind);
  draft.part = parts ? EntryPart::last : EntryPart::whole;
  draft.rows = released_;
  draft.reason = std::move(reason);
  draft.message = std::move(message);
  draft.lookups = more_lookups;
  ECLUSE_CO_OK(AddAsked(&draft));
  if (released_ > 0 && admitted_.plan().arms > 1) {
    // As in Record(); what does not fit any more has ended the budget as it is.
    Grant grant;
    if (ReserveEmptyArms(&grant)) draft.nameless = grant.nameless;
    for (Reservation& reservation : grant.reservations) reservation.Commit();
  }
  if (admitted_.plan().whole && !batch_.empty()) {
    // That there are so many rows, or that it ended behind them, tells of the people in them.
    Grant grant = Reserve();
    ECLUSE_CO_OK(AddReturned(&draft, grant.rows));
    draft.nameless += grant.nameless;
    for (Reservation& reservation : grant.reservations) reservation.Commit();
  }
  for (Reservation& reservation : asked_reservations_) reservation.Commit();
  asked_reservations_.clear();
  EntryDraft why = Draft(kind);
  why.reason = draft.reason;
  why.message = draft.message;
  ECLUSE_CO_OK(co_await Append(std::move(draft)));
  if (!parts) co_return Status();
  // A result that broke off after its first rows: its last part says how much there was, this says why it ended.
  co_return co_await Append(std::move(why));
}

awaitable<Status> Delivery::Refuse(Error error) {
  int64_t lookups = Admission::RefusalLookups(error);
  return End(EntryKind::refusal, std::move(error.rule), std::move(error.message), lookups);
}

awaitable<Status> Delivery::Fail(std::string reason) {
  if (!over_) services_.admission.Failure(admitted_.caller().payer);
  return End(EntryKind::failure, std::move(reason), {}, 0);
}

awaitable<Status> Delivery::Break(std::string reason) { return End(EntryKind::lookup, std::move(reason), {}, 0); }

}  // namespace ecluse
