#include "admit/admission.h"

#include <fmt/format.h>

#include <algorithm>

#include "admit/admission_impl.h"
#include "base/check.h"
#include "base/random.h"

namespace ecluse {

namespace {

const std::vector<Window> kNoWindows;
constexpr size_t kUsualLimits = 8;  // of one payer; more only cost an allocation

const std::vector<Window>& ConfiguredWindows(const Policy& policy, const Role& role, Scope scope) {
  switch (scope) {
    case Scope::account:
      return role.budgets;
    case Scope::address:
      return policy.per_address;
    case Scope::organisation:
      return policy.per_organisation;
    case Scope::reg:
      return policy.per_register;
  }
  return kNoWindows;
}

// Whole seconds until `at`, rounded up, so that waiting that long is enough.
int64_t SecondsUntil(int64_t at, int64_t now) { return at <= now ? 0 : (at - now + 999'999) / 1'000'000; }

// Rows with each person once, so that a row's cost is the number of people not counted yet.
struct DistinctRows {
  std::vector<SubjectKey> people;
  std::vector<std::pair<uint32_t, uint32_t>> rows;
};

DistinctRows MakeDistinct(std::span<const SubjectKey> people, std::span<const std::pair<uint32_t, uint32_t>> rows) {
  DistinctRows distinct;
  distinct.rows.reserve(rows.size());
  for (auto [from, to] : rows) {
    CHECK(from <= to && to <= people.size());
    auto first = static_cast<uint32_t>(distinct.people.size());
    distinct.people.insert(distinct.people.end(), people.begin() + from, people.begin() + to);
    auto begin = distinct.people.begin() + first;
    if (to - from > 1) {
      std::sort(begin, distinct.people.end());
      distinct.people.erase(std::unique(begin, distinct.people.end()), distinct.people.end());
    }
    distinct.rows.emplace_back(first, static_cast<uint32_t>(distinct.people.size()));
  }
  return distinct;
}

// The first limit that this row's people do not fit under; null where they fit all.
const Limit* FirstExceeded(const std::vector<Limit>& limits, std::span<const SubjectKey> row) {
  for (const Limit& limit : limits) {
    const PeopleSet& people = limit.book->people;
    int64_t left = limit.allowed - people.Used(limit.index);
    if (left >= static_cast<int64_t>(row.size())) continue;  // whoever they are
    for (const SubjectKey& key : row) {
      if (!people.Counts(key, limit.index) && --left < 0) return &limit;
    }
  }
  return nullptr;
}

}  // namespace

Reservation::Reservation() = default;
Reservation::Reservation(Reservation&&) noexcept = default;
Reservation& Reservation::operator=(Reservation&& other) noexcept {
  if (this != &other) {
    if (undo_) undo_->GiveBack();
    undo_ = std::move(other.undo_);
  }
  return *this;
}
Reservation::~Reservation() {
  if (undo_) undo_->GiveBack();
}
void Reservation::Commit() {
  if (undo_) undo_->Commit();
  undo_.reset();
}

void Reservation::Undo::Commit() {
  std::lock_guard lock(impl->mutex);
  int64_t now = impl->clock.BootMicros();
  for (size_t i = 0; i < books.size(); ++i) {
    books[i]->people.Advance(now);
    for (size_t p = i; p < people.size(); p += books.size()) books[i]->people.Commit(people[p], now);
  }
}

void Reservation::Undo::GiveBack() {
  std::lock_guard lock(impl->mutex);
  int64_t now = impl->clock.BootMicros();
  for (size_t i = 0; i < books.size(); ++i) {
    books[i]->people.Advance(now);
    for (size_t p = i; p < people.size(); p += books.size()) books[i]->people.GiveBack(people[p]);
  }
  if (statistics) {
    for (Book::Counter& counter : statistics->counters) {
      if (counter.what.events == Events::statistics) counter.counter.Remove(time, rows);
    }
  }
}

const Role* Admission::Impl::RoleOf(const Payer& payer) const {
  if (!policy) return nullptr;
  auto found = policy->roles.find(payer.role);
  return found == policy->roles.end() ? nullptr : &found->second;
}

PayerBooks Admission::Impl::Open(const Payer& payer, int64_t now) {
  static const std::string kRegister;
  return {books.Open(Scope::account, payer.account, now), books.Open(Scope::address, payer.address, now),
          books.Open(Scope::organisation, payer.organisation, now), books.Open(Scope::reg, kRegister, now)};
}

std::string Limit::Name() const {
  if (window) return window->Text();
  return fmt::format("{} statistic rows per {} s", allowed, statistics->per.count());
}

std::vector<Limit> Admission::Impl::PeopleLimits(const PayerBooks& opened, const Role& role) const {
  std::vector<Limit> limits;
  limits.reserve(kUsualLimits);
  for (Scope scope : kScopes) {
    for (const Window& window : ConfiguredWindows(*policy, role, scope)) {
      if (window.counts != Window::Counts::subjects) continue;
      Limit& limit = limits.emplace_back();
      limit.scope = scope;
      limit.book = opened[static_cast<size_t>(scope)].get();
      limit.window = &window;
      limit.people = true;
      limit.length = Micros(window.per);
      limit.index = books.windows()[static_cast<size_t>(scope)].IndexOfPeople(limit.length);
      limit.allowed = window.limit;
    }
  }
  return limits;
}

std::vector<Limit> Admission::Impl::EventLimits(const PayerBooks& opened, const Role& role, Events events) const {
  std::vector<Limit> limits;
  limits.reserve(kUsualLimits);
  auto add = [&](Scope scope) -> Limit& {
    Limit& limit = limits.emplace_back();
    limit.scope = scope;
    limit.book = opened[static_cast<size_t>(scope)].get();
    limit.events = events;
    return limit;
  };
  for (Scope scope : kScopes) {
    for (const Window& window : ConfiguredWindows(*policy, role, scope)) {
      bool wanted = (window.counts == Window::Counts::lookups && events == Events::lookups) ||
                    (window.counts == Window::Counts::failures && events == Events::failures);
      if (!wanted) continue;
      Limit& limit = add(scope);
      limit.window = &window;
      limit.length = Micros(window.per);
      limit.allowed = window.limit;
    }
  }
  if (events == Events::statistics && role.statistics) {
    Limit& limit = add(Scope::account);
    limit.statistics = &*role.statistics;
    limit.length = Micros(role.statistics->per);
    limit.allowed = role.statistics->rows;
  }
  return limits;
}

void Admission::Impl::Charge(const PayerBooks& opened, Events events, int64_t count, int64_t now) {
  for (const std::shared_ptr<Book>& book : opened) {
    if (book) book->Add(events, now, count);
  }
}

Error Admission::Impl::Refuse(const PayerBooks& opened, const Limit& limit, int64_t now) {
  std::string rule = limit.people                       ? "admit.subjects"
                     : limit.events == Events::lookups  ? "admit.lookups"
                     : limit.events == Events::failures ? "admit.failures"
                                                        : "admit.statistics";
  int64_t frees = limit.FreesAt(now);
  std::string message = fmt::format("the {}'s budget of {} does not allow this: {} used", ScopeName(limit.scope),
                                    limit.Name(), limit.Used(now));
  if (frees != 0) message += fmt::format(", more becomes free in {} s", std::max<int64_t>(SecondsUntil(frees, now), 1));
  std::string hint = limit.people
                         ? "Wait, or ask for fewer people at once: a row is released only with all the people it "
                           "tells about. SHOW ecluse.budget says what is left."
                         : "Wait. SHOW ecluse.budget says what is left, and every refusal costs one lookup.";
  Charge(opened, Events::lookups, 1, now);
  return {std::string(sqlstate::kBudget), std::move(message), std::move(hint), std::move(rule), {}, 0};
}

Error Admission::Impl::NoRole(const Payer& payer, const PayerBooks& opened, int64_t now) {
  Charge(opened, Events::lookups, 1, now);
  return {std::string(sqlstate::kNotAllowed),
          fmt::format("the policy in force has no role \"{}\"", payer.role),
          "Connect again, or SET ecluse.role to a role you hold.",
          "admit.role",
          {},
          0};
}

Admission::Fit Admission::Impl::Reserve(const Payer& payer, std::span<const SubjectKey> people,
                                        std::span<const std::pair<uint32_t, uint32_t>> rows) {
  std::lock_guard lock(mutex);
  int64_t now = clock.BootMicros();
  PayerBooks opened = Open(payer, now);
  Fit fit;
  const Role* role = RoleOf(payer);
  if (!role) {
    fit.refusal = NoRole(payer, opened, now);
    return fit;
  }
  std::vector<Limit> limits = PeopleLimits(opened, *role);
  auto undo = std::make_unique<Reservation::Undo>();
  undo->impl = this;
  uint64_t reservation = next_reservation++;
  for (Scope scope : kScopes) {
    if (books.windows()[static_cast<size_t>(scope)].people.empty()) continue;
    undo->books.push_back(opened[static_cast<size_t>(scope)]);
  }
  for (auto [from, to] : rows) {
    std::span<const SubjectKey> row = people.subspan(from, to - from);
    if (const Limit* limit = FirstExceeded(limits, row)) {
      fit.refusal = Refuse(opened, *limit, now);
      break;
    }
    for (const SubjectKey& key : row) {
      // Held already by this reservation in one book, held in all.
      for (const std::shared_ptr<Book>& book : undo->books) {
        PeopleSet::Slot slot = book->people.Reserve(key, now, reservation);
        if (slot != PeopleSet::kNone) undo->people.push_back(slot);
      }
    }
    ++fit.rows;
  }
  fit.reservation.undo_ = std::move(undo);
  return fit;
}

Admission::Admission(const Clock& clock) : impl_(std::make_unique<Impl>(clock)) {}
Admission::~Admission() = default;

void Admission::Configure(std::shared_ptr<const Policy> policy) {
  std::lock_guard lock(impl_->mutex);
  impl_->books.SetWindows(WindowsOf(*policy));
  impl_->policy = std::move(policy);
}

int64_t Admission::RefusalLookups(const Error& refusal) {
  static constexpr std::string_view kRules[] = {"admit.subjects", "admit.lookups", "admit.failures", "admit.statistics",
                                                "admit.role"};
  return std::ranges::find(kRules, refusal.rule) != std::end(kRules) ? 1 : 0;
}

Status Admission::Lookups(const Payer& payer, int64_t lookups) {
  CHECK(lookups >= 0);
  std::lock_guard lock(impl_->mutex);
  int64_t now = impl_->clock.BootMicros();
  PayerBooks opened = impl_->Open(payer, now);
  const Role* role = impl_->RoleOf(payer);
  if (!role) return std::unexpected(Impl::NoRole(payer, opened, now));
  for (const Limit& limit : impl_->EventLimits(opened, *role, Events::failures)) {
    if (limit.Used(now) >= limit.allowed) return std::unexpected(Impl::Refuse(opened, limit, now));
  }
  for (const Limit& limit : impl_->EventLimits(opened, *role, Events::lookups)) {
    if (lookups > limit.allowed - limit.Used(now)) return std::unexpected(Impl::Refuse(opened, limit, now));
  }
  Impl::Charge(opened, Events::lookups, lookups, now);
  return {};
}

void Admission::Failure(const Payer& payer) {
  std::lock_guard lock(impl_->mutex);
  int64_t now = impl_->clock.BootMicros();
  Impl::Charge(impl_->Open(payer, now), Events::failures, 1, now);
}

Admission::Fit Admission::Reserve(const Payer& payer, std::span<const SubjectKey> subjects,
                                  std::span<const std::pair<uint32_t, uint32_t>> rows) {
  // Sorting is done before the lock is taken: one row may tell about a million people.
  DistinctRows distinct = MakeDistinct(subjects, rows);
  return impl_->Reserve(payer, distinct.people, distinct.rows);
}

Result<Reservation> Admission::ReserveNameless(const Payer& payer, int64_t people) {
  CHECK(people >= 0);
  std::vector<SubjectKey> keys(static_cast<size_t>(people));
  for (SubjectKey& key : keys) RandomBytes(key);
  std::pair<uint32_t, uint32_t> row{0, static_cast<uint32_t>(people)};
  Fit fit = impl_->Reserve(payer, keys, {&row, 1});
  if (fit.rows == 0) return std::unexpected(std::move(fit.refusal));
  return std::move(fit.reservation);
}

Result<Reservation> Admission::ReserveStatistics(const Payer& payer, int64_t rows) {
  CHECK(rows >= 0);
  std::lock_guard lock(impl_->mutex);
  int64_t now = impl_->clock.BootMicros();
  PayerBooks opened = impl_->Open(payer, now);
  const Role* role = impl_->RoleOf(payer);
  if (!role) return std::unexpected(Impl::NoRole(payer, opened, now));
  std::vector<Limit> limits = impl_->EventLimits(opened, *role, Events::statistics);
  if (limits.empty()) {
    Impl::Charge(opened, Events::lookups, 1, now);
    return Fail(sqlstate::kNotAllowed, fmt::format("role \"{}\" has no statistics", payer.role),
                "Ask for the people one by one, or ask whoever writes the policy for `statistics`.",
                "admit.statistics");
  }
  for (const Limit& limit : limits) {
    if (rows > limit.allowed - limit.Used(now)) return std::unexpected(Impl::Refuse(opened, limit, now));
  }
  const std::shared_ptr<Book>& book = opened[static_cast<size_t>(Scope::account)];
  book->Add(Events::statistics, now, rows);
  Reservation reservation;
  reservation.undo_ = std::make_unique<Reservation::Undo>();
  *reservation.undo_ = {.impl = impl_.get(), .books = {}, .people = {}, .statistics = book, .time = now, .rows = rows};
  return reservation;
}

std::vector<BudgetLine> Admission::Budget(const Payer& payer) const {
  std::lock_guard lock(impl_->mutex);
  int64_t now = impl_->clock.BootMicros();
  const Role* role = impl_->RoleOf(payer);
  if (!role) return {};
  PayerBooks opened = impl_->Open(payer, now);
  std::vector<Limit> limits = impl_->PeopleLimits(opened, *role);
  for (Events events : {Events::lookups, Events::failures, Events::statistics}) {
    for (const Limit& limit : impl_->EventLimits(opened, *role, events)) limits.push_back(limit);
  }
  std::vector<BudgetLine> lines;
  for (const Limit& limit : limits) {
    BudgetLine& line = lines.emplace_back();
    line.scope = ScopeName(limit.scope);
    line.window.counts = limit.people                       ? Window::Counts::subjects
                         : limit.events == Events::failures ? Window::Counts::failures
                                                            : Window::Counts::lookups;
    line.window.limit = limit.allowed;
    line.window.per = std::chrono::duration_cast<std::chrono::seconds>(std::chrono::microseconds(limit.length));
    line.name = limit.Name();
    line.used = limit.Used(now);
    line.left = std::max<int64_t>(limit.allowed - line.used, 0);
    if (line.left == 0) line.resets_seconds = SecondsUntil(limit.FreesAt(now), now);
  }
  return lines;
}

}  // namespace ecluse
