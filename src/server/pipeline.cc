// The life of a statement over people: plan -> admit -> execute -> deliver.
//
// The plan comes from the planner (extended_query.cc, simple_query.cc). OpenPortal() admits it, with the values it was
// given, has PostgreSQL find the people who have to be known before it runs (Plan::resolve, Plan::crossings), and binds
// it; ExecutePortal() has PostgreSQL run it; rows go into its Delivery as they come (replies.cc), and FinishRun() lets
// them out once they are charged and written down.
#include <fmt/format.h>

#include "base/bytes.h"
#include "base/limits.h"
#include "base/log.h"
#include "deliver/copy_rows.h"
#include "execute/run.h"
#include "seal/parameters.h"
#include "seal/table_keys.h"
#include "server/errors.h"
#include "server/refusals.h"
#include "server/session.h"

namespace ecluse {

using boost::asio::awaitable;

namespace {

// What the ledger keeps, sealed, of the values: bounded like the statement's text.
std::vector<std::string> LiteralsOf(const Plan& plan, const BoundValues& values) {
  std::vector<std::string> literals = plan.literals;
  size_t left = limits::kStatementText;
  for (const BoundValue& value : values) {
    std::string text = !value.bytes   ? "NULL"
                       : value.binary ? "\\x" + HexEncode(AsBytes(value.bytes->substr(0, left / 2)))
                                      : std::string(value.bytes->substr(0, left));
    left -= std::min(left, text.size());
    literals.push_back(std::move(text));
  }
  return literals;
}

// How PostgreSQL would print times now, by what it has told of its DateStyle ("ISO, DMY") and TimeZone.
TimeStyle StyleOf(const std::map<std::string, std::string, std::less<>>& parameters) {
  TimeStyle style;
  if (const auto zone = parameters.find("TimeZone"); zone != parameters.end()) style.zone = zone->second;
  const auto date = parameters.find("DateStyle");
  if (date == parameters.end()) return style;
  if (date->second.starts_with("SQL")) style.style = TimeStyle::Style::sql;
  if (date->second.starts_with("Postgres")) style.style = TimeStyle::Style::postgres;
  if (date->second.starts_with("German")) style.style = TimeStyle::Style::german;
  style.day_first = date->second.ends_with("DMY");
  return style;
}

std::unexpected<Error> NoId() {
  return Fail(sqlstate::kInternal, "the people of this statement cannot be told, so it is not run",
              "Report this statement to whoever runs the gate.", "server.look-up");
}

}  // namespace

bool Session::MovesSettings(const Plan& plan) {
  switch (plan.kind) {
    case Plan::Kind::set:
    case Plan::Kind::reset_all:
    case Plan::Kind::commit:
    case Plan::Kind::rollback:
    case Plan::Kind::savepoint:
      return true;
    default:
      return false;
  }
}

// Results that are decided on as a whole before the transaction may go on: writes, statistics, and statements that name
// people who have to be found first.
bool Session::Holds(const Plan& plan) const {
  return plan.guarded && (plan.statistic || !plan.resolve.empty() || !plan.crossings.empty() || IsWrite(plan));
}

// Rows that one transaction wrote or locked have its number, by which whoever has the tables would join them.
Status Session::WritesInOne(const Plan& plan) {
  if (!plan.written_in) return {};
  if (written_in_ && *written_in_ != *plan.written_in) {
    return Fail(sqlstate::kNotSupported,
                fmt::format("one transaction writes in one compartment, and this one has written or locked rows in "
                            "another than {}",
                            *plan.written_in),
                "COMMIT between the two: PostgreSQL keeps with every row which transaction wrote or locked it.",
                "session.compartment");
  }
  written_in_ = plan.written_in;
  return {};
}

// Admits a guarded statement with the values it was given.
Status Session::AdmitPortal(Portal* portal, const pg::BindMessage& message) {
  const Plan& plan = portal->plan->kind == Plan::Kind::declare ? *portal->plan->inner : *portal->plan;
  ECLUSE_OK(WritesInOne(plan));
  BoundValues values = ValuesOf(message);
  ECLUSE_TRY(portal->asked, ReadAsked(plan, values));
  portal->literals = LiteralsOf(plan, values);
  ECLUSE_TRY(int64_t lookups, CountLookups(plan, values));
  if (portal->plan->kind == Plan::Kind::declare) {  // charged as rows are fetched
    portal->lookups = lookups;
    return {};
  }
  ECLUSE_TRY(int64_t skip, ReadSkip(plan, values));
  if (plan.swallow || plan.kind == Plan::Kind::copy_in) skip = Delivery::kSwallowAll;
  ECLUSE_TRY(Admitted admitted, Admit(services_.admission, services_.clock, caller_, portal->plan, lookups));
  DeliveryServices services{services_.keys, services_.admission, services_.ledger, services_.may_release,
                            services_.witnessed};
  portal->delivery = std::make_unique<Delivery>(services, std::move(admitted), std::move(portal->asked),
                                                std::move(portal->literals), skip);
  return portal->delivery->Begin();
}

// From here on the portal has the parameters that PostgreSQL gets: none of them holds a value of a sealed column.
awaitable<Status> Session::SealPortal(std::shared_ptr<Portal> portal, pg::BindMessage* message) {
  const Plan& plan = portal->plan->kind == Plan::Kind::declare ? *portal->plan->inner : *portal->plan;
  if (plan.sealed_parameters.empty()) co_return Status();
  LookedUp looked_up;
  if (!plan.draw.empty() || !plan.crossings.empty()) {
    ECLUSE_CO_OK(co_await EnsureUpstream());
    co_await Drain(true);
    if (failed_ || ended_) co_return Status();
  }
  if (!plan.draw.empty()) {
    const Resolve draw{-1, plan.draw, {}};
    residue_ = true;  // currval() would tell the next of what was drawn
    auto numbers = co_await FetchIds(ReadOf(plan, draw, portal->bind), portal->delivery.get());
    if (!numbers) co_return std::unexpected(std::move(numbers).error());
    looked_up.drawn = std::move(*numbers);
  }
  for (const Crossing& crossing : plan.crossings) {
    auto people = co_await LookUpPeople(&plan, &crossing, &portal->bind, portal->delivery.get());
    if (!people) co_return std::unexpected(std::move(people).error());
    looked_up.crossed.push_back(std::move(*people));
  }
  const size_t wanted = static_cast<size_t>(
      std::ranges::count(plan.sealed_parameters, SealedParameter::Kind::drawn, &SealedParameter::kind));
  if (looked_up.drawn.size() != wanted)
    co_return Fail(sqlstate::kInternal, "the sequence gave another number of values than it was asked for",
                   "Try again.", "server.draw");
  auto sealed = SealParameters(plan, *message, services_.keys, caller_->policy->register_name, looked_up);
  if (!sealed) co_return std::unexpected(std::move(sealed).error());
  portal->bind = std::move(*sealed);
  if (!pg::ReadBind(portal->bind, message))
    co_return Fail(sqlstate::kInternal, "the sealed values of this statement do not fit into one message",
                   "Send it in smaller parts.", "server.seal");
  co_return Status();
}

// How the client wants what is opened for it.
void Session::SetSealedForms(const Plan& plan, const std::vector<int16_t>& asked, Delivery* delivery) const {
  if (plan.sealed.empty()) return;
  SealedForms forms;
  forms.zone = caller_->role->hours.time_zone;
  forms.style = StyleOf(upstream_->parameters());
  for (size_t i = 0; i < plan.sealed.size(); ++i) forms.binary.push_back(FormatOf(asked, i) == 1);
  delivery->SetSealedForms(std::move(forms));
}

// Admits and binds. An Error is the gate's refusal; nothing of the statement has run.
awaitable<Status> Session::OpenPortal(std::shared_ptr<Portal> portal, pg::BindMessage message, bool show) {
  const Plan& plan = *portal->plan;
  if (plan.kind == Plan::Kind::declare && cursors_.size() >= limits::kCursorsPerSession) {
    co_return Fail(sqlstate::kProgramLimit, fmt::format("a session has at most {} cursors", limits::kCursorsPerSession),
                   "Close those that are no longer used.", "session.cursor-count");
  }
  if (plan.guarded || (plan.kind == Plan::Kind::declare && plan.inner->guarded)) {
    ECLUSE_CO_OK(AdmitPortal(portal.get(), message));
    ECLUSE_CO_OK(co_await SealPortal(portal, &message));
    if (failed_ || ended_) co_return Status();
  } else {
    Result<Admitted> admitted = Admit(services_.admission, services_.clock, caller_, portal->plan, 0);
    if (!admitted) co_return std::unexpected(std::move(admitted).error());
  }
  if (GateRuns(plan)) {
    if (show) PushText('2');
    co_return Status();
  }
  if (plan.kind == Plan::Kind::declare && portals_.contains(plan.name) && portals_.find(plan.name)->second != portal) {
    co_return Fail("42P03", fmt::format("cursor \"{}\" already exists", plan.name),
                   "Close it first, or give the new one another name.", "protocol.portal");
  }
  ECLUSE_CO_OK(co_await EnsureUpstream());
  if (portal->delivery) SetSealedForms(plan, portal->formats, portal->delivery.get());
  portal->upstream_name = NextPortalName();
  if (!plan.resolve.empty()) {
    co_await Drain(true);
    if (failed_ || ended_) co_return Status();
    ECLUSE_CO_OK(co_await ResolvePeople(portal->plan, &portal->bind, portal->delivery.get()));
  }
  std::vector<int16_t> formats;
  ECLUSE_CO_OK(ResultFormats(Shape(plan), portal->formats, &formats));
  std::string_view statement = upstream_->Prepare(plan.sql, plan.parameter_types);
  AppendBind(upstream_->out(), portal->upstream_name, statement, message, formats);
  sent_ = true;
  Reply reply;
  reply.kind = Reply::Kind::bound;
  reply.show = show;
  reply.portal = portal;
  queue_.push_back(std::move(reply));
  if (portal->delivery && portal->delivery->needs_forms()) {
    // Pseudonyms are made in the form of their column, which only PostgreSQL knows.
    pg::WriteDescribe(upstream_->out(), 'P', portal->upstream_name);
    Reply describe;
    describe.kind = Reply::Kind::portal_described;
    describe.show = false;
    describe.portal = std::move(portal);
    queue_.push_back(std::move(describe));
  }
  co_return Status();
}

// Finds the people that a statement names by a unique column, who are charged before it runs. Nothing may be owed by
// PostgreSQL.
awaitable<Status> Session::ResolvePeople(std::shared_ptr<const Plan> plan, const std::string* bind,
                                         Delivery* delivery) {
  std::vector<NamedPerson> people;
  for (const Resolve& resolve : plan->resolve) {
    Result<std::vector<std::string>> ids = co_await FetchIds(ReadOf(*plan, resolve, *bind), delivery);
    if (!ids) co_return std::unexpected(std::move(ids).error());
    ECLUSE_CO_OK(OpenIds(*plan, resolve.table_ref, &*ids));
    for (std::string& id : *ids) people.push_back({resolve.table_ref, std::move(id)});
  }
  co_return delivery->Ask(std::move(people));
}

// Finds the people of a join between compartments, who are charged before it runs. Nothing may be owed by PostgreSQL.
awaitable<Result<std::vector<std::string>>> Session::LookUpPeople(const Plan* plan, const Crossing* crossing,
                                                                  const std::string* bind, Delivery* delivery) {
  const Plan& inner = *crossing->inner;
  // Each of them once, and one more than there may be at most.
  IdQuery query{fmt::format("SELECT DISTINCT person FROM ({}) AS rows (one, person) LIMIT {}", inner.sql,
                            limits::kAskedValues + 1),
                inner.parameter_types,
                {}};
  pg::BindMessage message;
  CHECK(pg::ReadBind(*bind, &message));
  query.bind = SelectParameters(message, crossing->parameters);
  if (!inner.sealed_parameters.empty()) {
    pg::BindMessage own;
    CHECK(pg::ReadBind(query.bind, &own));
    auto sealed = SealParameters(inner, own, services_.keys, caller_->policy->register_name);
    if (!sealed) co_return std::unexpected(std::move(sealed).error());
    query.bind = std::move(*sealed);
  }
  Result<std::vector<std::string>> ids = co_await FetchIds(std::move(query), delivery);
  if (!ids) co_return std::unexpected(std::move(ids).error());
  ECLUSE_CO_OK(OpenIds(*plan, crossing->table_ref, &*ids));
  std::vector<NamedPerson> people;
  for (const std::string& id : *ids) people.push_back({crossing->table_ref, id});
  ECLUSE_CO_OK(delivery->Ask(std::move(people)));
  co_return ids;
}

// Ids that came as pseudonyms of their table's compartment.
Status Session::OpenIds(const Plan& plan, int table_ref, std::vector<std::string>* ids) const {
  if (!plan.tables[static_cast<size_t>(table_ref)].linked()) return {};
  TableKeys keys(plan, services_.keys, caller_->policy->register_name);
  for (std::string& id : *ids) {
    ECLUSE_TRY(const std::string_view opened, keys.IdOf(static_cast<size_t>(table_ref), id));
    id = std::string(opened);
  }
  return {};
}

Session::IdQuery Session::ReadOf(const Plan& plan, const Resolve& resolve, const std::string& bind) {
  pg::BindMessage message;
  CHECK(pg::ReadBind(bind, &message));
  std::vector<Oid> types;  // what the client binds is read as in the statement itself
  for (const int number : resolve.parameters) {
    const auto index = static_cast<size_t>(number) - 1;
    types.push_back(index < plan.parameter_types.size() ? plan.parameter_types[index] : 0);
  }
  return {resolve.sql, std::move(types), SelectParameters(message, resolve.parameters)};
}

awaitable<Result<std::vector<std::string>>> Session::FetchIds(IdQuery query, Delivery* delivery) {
  pg::BindMessage selected;
  CHECK(pg::ReadBind(query.bind, &selected));
  Upstream& upstream = *upstream_;
  std::string_view statement = upstream.Prepare(query.sql, query.types);
  std::string name = NextPortalName();
  AppendBind(upstream.out(), name, statement, selected, {});
  pg::WriteExecute(upstream.out(), name, 0);
  upstream.WriteClose('P', name);
  upstream.WriteFlush();
  sent_ = true;
  if (!SendUpstream())
    co_return Fail(sqlstate::kShutdown, "the connection to PostgreSQL was lost", "Connect again.", "upstream.lost");
  std::vector<std::string> ids;
  while (true) {
    Result<pg::Frame> frame = co_await upstream.Next();
    if (!frame) co_return std::unexpected(std::move(frame).error());
    pg::Values values;
    pg::ErrorFields fields;
    if (frame->type == 'D' && pg::ReadDataRow(frame->payload, &values) && values.size() == 1) {
      const std::optional<std::string_view> id = *values.begin();
      if (!id || id->empty()) co_return NoId();
      ids.emplace_back(*id);
      if (ids.size() > limits::kAskedValues)
        co_return Fail(sqlstate::kTooComplex, "the statement names too many people", "Split it.",
                       "deliver.asked-values");
    } else if (frame->type == 'E' && pg::ReadErrorFields(frame->payload, &fields)) {
      Log().info("session {}: withheld from the client: {}", id_, DescribeError(frame->payload));
      Error error = GuardedError(fields, false, context_.schema->login);
      ECLUSE_CO_OK(co_await delivery->Fail("SQLSTATE " + error.sqlstate));
      co_return std::unexpected(std::move(error));
    } else if (frame->type == 'D') {
      co_return NoId();
    } else if (frame->type == '3') {
      co_return ids;
    }
  }
}

// Has PostgreSQL run what is bound. The answer comes through the queue.
void Session::ExecutePortal(std::shared_ptr<Portal> portal, int32_t max_rows) {
  const Plan& plan = *portal->plan;
  // Judged as a whole; and PostgreSQL runs a write to its end at the first row it is asked for.
  if (plan.held() || IsWrite(plan)) max_rows = 0;
  pg::WriteExecute(upstream_->out(), portal->upstream_name, max_rows);
  sent_ = true;
  wrote_ = wrote_ || IsWrite(plan);
  guarded_pending_ = guarded_pending_ || plan.guarded;
  touched_ = touched_ || plan.guarded;
  // Whatever becomes of it: currval() would tell the next of what it drew.
  residue_ = residue_ || plan.draws_sequence || IsWrite(plan);
  if (MovesSettings(plan)) upstream_->SettingsMayMove();
  portal->executing = true;
  Reply reply;
  reply.kind = Reply::Kind::executed;
  reply.portal = std::move(portal);
  queue_.push_back(std::move(reply));
}

// The batch is full ('D'), or the result has ended ('C', 's'): charge, record, and only then release.
awaitable<void> Session::FinishRun(std::shared_ptr<Portal> portal, char end, std::string tag) {
  Delivery* delivery = portal->delivery.get();
  if (end == 'C' && delivery->admitted().plan().statistic && delivery->FallsShort())
    co_return co_await RunFallback(std::move(portal));
  const Plan& plan = *portal->plan;
  // A cursor of which more may be fetched has not answered yet whether an arm of it is empty.
  bool complete = plan.kind != Plan::Kind::fetch || plan.count < 0 || delivery->rows_taken() < plan.count;
  if (portal->more && end == 'C') end = 'b';  // the end of one batch
  std::string rows;
  std::string* out = portal->copy ? &rows : &client_->out();
  Result<bool> done = end == 'C' ? co_await delivery->Finish(out, complete) : co_await delivery->Release(out);
  if (portal->copy) WriteCopyRows(client_->out(), rows, *portal->copy);
  if (!done) co_return Refuse(done.error());
  if (!*done) {
    // The budget ended inside the result: what is left of it is not wanted.
    RequestCancel();
    co_return Refuse(delivery->refusal());
  }
  if (cancelled_ && end != 'C') {
    (void)co_await delivery->Fail("cancelled behind its first rows");
    co_return Refuse({"57014", "canceling statement due to user request", "", "protocol.cancel", {}, 0});
  }
  if (end == 'D') co_return;
  if (end == 'b') co_return Pop();
  if (end == 's') {
    portal->answered = delivery->rows_released();
    pg::WriteEmpty(client_->out(), 's');
  } else {
    portal->finished = true;
    int64_t count = plan.swallow ? delivery->rows_taken() : delivery->rows_released();
    std::string shown = CommandTag(plan, tag, count - portal->answered);
    if (portal->copy)
      WriteCopyEnd(client_->out(), shown);
    else
      Complete(shown);
    Completed(plan, tag);
  }
  Pop();
}

// A statistic some of whose rows stand for too few people: the same statement again, counted by person.
awaitable<void> Session::RunFallback(std::shared_ptr<Portal> portal) {
  portal->delivery = portal->delivery->FallBack();
  auto counted = std::make_shared<Portal>();
  counted->upstream_name = NextPortalName();
  counted->plan = portal->plan->fallback;
  counted->bind = portal->bind;
  counted->delivery = std::move(portal->delivery);
  counted->copy = portal->copy;
  SetSealedForms(*counted->plan, portal->formats, counted->delivery.get());
  pg::BindMessage message;
  CHECK(pg::ReadBind(portal->bind, &message));
  std::vector<int16_t> formats;
  if (Status fits = ResultFormats(*counted->plan, portal->formats, &formats); !fits) {
    Status recorded = co_await counted->delivery->Refuse(fits.error());
    co_return Refuse(recorded ? fits.error() : recorded.error());
  }
  std::string_view statement = upstream_->Prepare(counted->plan->sql, counted->plan->parameter_types);
  AppendBind(upstream_->out(), counted->upstream_name, statement, message, formats);
  pg::WriteExecute(upstream_->out(), counted->upstream_name, 0);
  upstream_->WriteClose('P', counted->upstream_name);
  upstream_->WriteFlush();
  Pop();
  portal->finished = true;
  Reply closed;
  closed.kind = Reply::Kind::closed;
  closed.show = false;
  queue_.push_front(std::move(closed));
  Reply executed;
  executed.kind = Reply::Kind::executed;
  executed.portal = counted;
  queue_.push_front(std::move(executed));
  Reply bound;
  bound.kind = Reply::Kind::bound;
  bound.show = false;
  bound.portal = std::move(counted);
  queue_.push_front(std::move(bound));
  if (!SendUpstream()) co_await LoseUpstream(upstream_->stream().failure());
}

}  // namespace ecluse
