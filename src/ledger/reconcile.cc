#include "ledger/reconcile.h"

#include <algorithm>

#include "base/limits.h"

namespace ecluse {
namespace {

constexpr int64_t kMinute = 60'000'000;
constexpr int64_t kSlack = 2 * kMinute;  // a statement's entry may come so much later, and clocks differ
constexpr std::string_view kGateName = "ecluse";

std::set<std::string> LoginsOf(const Policy& policy) {
  const auto logins = policy.Logins();
  return {logins.begin(), logins.end()};
}

// The statement in a message of log_statement or log_min_duration_statement; empty for other messages.
std::string_view StatementIn(std::string_view message) {
  if (message.starts_with("duration: ")) message.remove_prefix(std::min(message.find("  "), message.size() - 2) + 2);
  for (const std::string_view begin : {"statement: ", "execute "}) {
    if (!message.starts_with(begin)) continue;
    const size_t colon = message.find(": ");
    return message.substr(std::min(colon, message.size() - 2) + 2);
  }
  return {};
}

}  // namespace

Reconciler::Reconciler(const Policy& policy, std::set<std::string> known, std::set<std::string> gate_hosts)
    : policy_(policy), known_(std::move(known)), own_(LoginsOf(policy)), gate_hosts_(std::move(gate_hosts)) {
  for (const auto& [name, role] : policy.roles) {
    const std::string login = policy.LoginOf(name);
    roles_[login] = name;
    for (const auto& [table, guarded] : policy.tables)
      views_[login].push_back("\"" + table.Text() + "\"");  // however its schema is written
  }
}

void Reconciler::Take(const PostgresRecord& record) {
  // A copy of the whole server names no database.
  const bool replication = record.message.starts_with("replication connection authorized: ");
  if (record.session.empty() || record.user.empty()) return;
  if (record.database != policy_.database.name && !replication) return;
  ++out_.records;
  if (out_.first == 0 || record.time < out_.first) out_.first = record.time;
  out_.last = std::max(out_.last, record.time);
  Session& session = sessions_[record.session];
  if (session.first == 0 || record.time < session.first) session.first = record.time;
  session.last = std::max(session.last, record.time);
  session.user = record.user;
  session.host = record.host;
  const bool authorized = replication || record.message.starts_with("connection authorized: ");
  out_.connections = out_.connections || authorized;
  const std::string_view statement = StatementIn(record.message);
  session.entered = session.entered || authorized || !statement.empty();
  if (statement.empty()) return;
  ++session.statements;
  if (record.application != kGateName) ++session.unnamed;
  const auto views = views_.find(record.user);
  if (views == views_.end()) return;
  if (std::ranges::none_of(views->second, [&](const std::string& view) { return statement.contains(view); })) return;
  ++session.people[record.time / kMinute];
  ++out_.statements;
}

void Reconciler::Count(std::map<std::tuple<Bypass::Kind, std::string, std::string>, Bypass>& all, Bypass::Kind kind,
                       const Session& session, uint64_t statements) {
  Bypass& one = all[{kind, session.user, session.host}];
  one.kind = kind;
  one.user = session.user;
  one.host = session.host;
  ++one.sessions;
  one.statements += statements;
  if (one.first == 0 || session.first < one.first) one.first = session.first;
  one.last = std::max(one.last, session.last);
}

Result<Reconciliation> Reconciler::Compare(LedgerQuery& ledger) {
  // Of the ledger in that time: the minutes in which a role did something, and when no gate served.
  std::map<std::string, std::set<int64_t>> busy;
  std::vector<std::pair<int64_t, int64_t>> away;
  Query query;
  query.from = out_.first - kSlack;
  query.to = out_.last + kSlack;
  uint64_t closed = 0;
  int64_t stopped = 0;
  ECLUSE_OK(ledger.Find(
      query,
      [&](const EntryFacts& facts) -> Status {
        if (facts.kind == "session" && facts.door == "gate" && facts.reason == "stop") stopped = facts.time;
        if (facts.kind == "start" && stopped != 0) away.emplace_back(std::exchange(stopped, 0), facts.time);
        if (facts.role.empty()) return {};
        ++out_.entries;
        busy[facts.role].insert(facts.time / kMinute);
        return {};
      },
      &closed));
  if (stopped != 0) away.emplace_back(stopped, INT64_MAX);

  if (gate_hosts_.empty())
    for (const auto& [id, session] : sessions_)
      if (session.user == policy_.GateLogin() && session.entered) gate_hosts_.insert(session.host);
  out_.gate_seen = !gate_hosts_.empty();

  std::map<std::tuple<Bypass::Kind, std::string, std::string>, Bypass> bypasses, known;
  for (const auto& [id, session] : sessions_) {
    if (!session.entered) continue;
    if (!own_.contains(session.user)) {
      Count(known_.contains(session.user) ? known : bypasses, Bypass::Kind::other_user, session, session.statements);
      continue;
    }
    if (out_.gate_seen && !gate_hosts_.contains(session.host))
      Count(bypasses, Bypass::Kind::other_host, session, session.statements);
    if (session.unnamed > 0) Count(bypasses, Bypass::Kind::other_name, session, session.unnamed);
    if (std::ranges::any_of(away, [&](const auto& gap) {
          return session.first > gap.first + kSlack && session.first < gap.second - kSlack;
        }))
      Count(bypasses, Bypass::Kind::no_gate, session, session.statements);
    const auto role = roles_.find(session.user);
    if (role == roles_.end()) continue;
    const std::set<int64_t>& minutes = busy[role->second];
    Session alone;  // as far as it was
    alone.user = session.user;
    alone.host = session.host;
    uint64_t statements = 0;
    for (const auto& [minute, count] : session.people) {
      const auto near = minutes.lower_bound(minute - kSlack / kMinute);
      if (near != minutes.end() && *near <= minute + kSlack / kMinute) continue;
      statements += count;
      if (alone.first == 0) alone.first = minute * kMinute;
      alone.last = (minute + 1) * kMinute;
    }
    if (statements > 0) Count(bypasses, Bypass::Kind::no_entry, alone, statements);
  }
  for (auto& [key, bypass] : bypasses) out_.bypasses.push_back(std::move(bypass));
  for (auto& [key, bypass] : known) out_.known.push_back(std::move(bypass));
  return std::move(out_);
}

}  // namespace ecluse
