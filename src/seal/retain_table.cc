#include "seal/retain_table.h"

#include <fmt/format.h>

#include <cstdlib>
#include <set>
#include <span>

#include "base/clock.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/time_text.h"
#include "execute/values.h"
#include "policy/applied.h"
#include "policy/policy_reader.h"
#include "seal/cell.h"

namespace ecluse {
namespace {

constexpr const char* kBusy = "others were at work on them: the next run takes them";
constexpr const char* kNobody = "they are about nobody, so nobody could be written down";

uint64_t NumberAt(const Rows& rows, int column) {
  return static_cast<uint64_t>(std::atoll(rows.Text(0, column).c_str()));
}

// Where a row lies: the table or partition, and its place there.
struct Place {
  std::string part, tid;
};

class Deleter {
 public:
  Deleter(Database& owner, const RetainTarget& target, const RetainOptions& options)
      : owner_(owner), target_(target), options_(options) {}

  Result<RetainReport> Run() {
    ECLUSE_TRY(report_.count, CountOld(owner_, target_));
    if (report_.count.nameless > 0) report_.kept[kNobody] = report_.count.nameless;
    Shown(0);
    // Gone through once, in whatever order: rows that stay are not met again. Places are looked at again, for another
    // row may be there by then.
    ECLUSE_OK(owner_.Run("DECLARE ecluse_old NO SCROLL CURSOR WITH HOLD FOR SELECT t.tableoid, t.ctid FROM " +
                         target_.Sql() + " WHERE " + target_.old + " AND " + target_.Named()));
    for (uint64_t seen = 0;;) {
      ECLUSE_TRY(const Rows rows,
                 owner_.Query("FETCH " + std::to_string(limits::kRetainBatchRows) + " FROM ecluse_old"));
      if (rows.size() == 0) break;
      std::vector<Place> places;
      for (int i = 0; i < rows.size(); ++i) places.push_back({rows.Text(i, 0), rows.Text(i, 1)});
      ECLUSE_OK(Batch(places));
      seen += places.size();
      Shown(seen);
    }
    ECLUSE_OK(owner_.Run("CLOSE ecluse_old"));
    return std::move(report_);
  }

 private:
  void Shown(uint64_t seen) const {
    if (options_.progress)
      options_.progress("deleting old rows of " + target_.name.Text(), seen,
                        report_.count.old - report_.count.nameless);
  }

  Status Batch(std::span<const Place> places) {
    people_.clear();
    deleted_ = 0;
    // What is put off to the end of a transaction would refuse it behind what was written down.
    ECLUSE_OK(owner_.Run("BEGIN; SET CONSTRAINTS ALL IMMEDIATE"));
    ECLUSE_OK(Delete(places));
    if (deleted_ > 0) {
      const auto& [column, keep] = *target_.policy->retention;
      Deletion deletion{target_.name.Text(),
                        target_.policy->space,
                        {people_.begin(), people_.end()},
                        static_cast<int64_t>(deleted_),
                        Printable(fmt::format("{}{}: {} before {}, kept for {}{}", kRetentionEntry, target_.name.Text(),
                                              column, TimeText(target_.cutoff), DurationText(keep), options_.by))};
      for (const Deletion& part : SplitDeletion(std::move(deletion))) ECLUSE_OK(options_.tell(part));
    }
    ECLUSE_OK(owner_.Run("COMMIT"));
    report_.deleted += deleted_;
    return {};
  }

  // Those of the rows that can go; the others are found by halving.
  Status Delete(std::span<const Place> places) {
    ECLUSE_OK(owner_.Run("SAVEPOINT rows"));
    Database::Refused refused;
    auto done = Try(places, &refused);
    std::optional<std::string> why;
    if (done) {
      timeouts_ = 0;
      auto named = Take(*done);
      if (named) return owner_.Run("RELEASE SAVEPOINT rows");
      why = named.error().message;
    } else {
      const std::string& state = done.error().sqlstate;
      constexpr std::string_view kLockTimeout = "55P03", kDeadlock = "40P01";
      const bool busy = state == kLockTimeout || state == kDeadlock;
      if (busy && ++timeouts_ == limits::kRetainTimeouts)
        return Fail(state, "others keep rows of " + target_.name.Text() + " from being deleted",
                    "see who holds locks on it or on tables that refer to it (pg_stat_activity), and run this again");
      why = busy ? kBusy : KeptReason(state, refused.constraint);
      if (!why) return Ended(std::move(done).error());
    }
    ECLUSE_OK(owner_.Run("ROLLBACK TO SAVEPOINT rows; RELEASE SAVEPOINT rows"));
    if (places.size() == 1 || why == kBusy) {
      report_.kept[*why] += places.size();
      return {};
    }
    const size_t half = places.size() / 2;
    ECLUSE_OK(Delete(places.first(half)));
    return Delete(places.subspan(half));
  }

  // A trigger may have said anything, also values.
  std::unexpected<Error> Ended(Error error) const {
    if (error.sqlstate.starts_with("08")) return std::unexpected(std::move(error));
    return Fail(error.sqlstate,
                "PostgreSQL does not delete rows of " + target_.name.Text() + " (SQLSTATE " + error.sqlstate + ")",
                "its log says why; mend that, and run this again");
  }

  // Answers with how many of the rows are old still, could be had, and were deleted; and behind these, in each row,
  // somebody whom a deleted row was about.
  Result<Rows> Try(std::span<const Place> places, Database::Refused* refused) {
    std::vector<std::string> parts, tids;
    for (const Place& place : places) {
      parts.push_back(place.part);
      tids.push_back(place.tid);
    }
    // The first finds rows without reading a table, the second tells partitions apart.
    const std::string here = "t.ctid = ANY ($1::tid[])";
    const std::string from = " FROM " + target_.Sql(),
                      which = " WHERE " + here + " AND (t.tableoid, t.ctid) IN (SELECT * FROM unnest($2::oid[], " +
                              "$1::tid[])) AND " + target_.old + " AND " + target_.Named();
    std::string people;
    if (target_.via()) {
      const std::string key = QuoteName(target_.policy->via_key);
      people = "SELECT DISTINCT " + target_.SubjectList("v") + " FROM d JOIN " + QuoteTable(target_.people->name) +
               " AS v ON v." + key + " = d." + key;
    } else {
      people = "SELECT DISTINCT d.* FROM d";
    }
    return owner_.Query(
        "WITH c AS (SELECT t.ctid" + from + which + "), p AS MATERIALIZED (SELECT t.tableoid AS part, t.ctid AS place" +
            from + which + " FOR UPDATE OF t SKIP LOCKED), d AS (DELETE" + from +
            " USING p WHERE t.tableoid = p.part AND t.ctid = p.place AND " + here + " AND " + target_.old +
            " RETURNING " + (target_.via() ? "t." + QuoteName(target_.policy->via_key) : target_.SubjectList("t")) +
            ") SELECT (SELECT count(*) FROM c), (SELECT count(*) FROM p WHERE place = ANY ($1::tid[])), (SELECT "
            "count(*) FROM d), w.* FROM (VALUES (true)) AS one LEFT JOIN (" +
            people + ") AS w ON true",
        {TextArray(tids), TextArray(parts)}, refused);
  }

  Result<std::optional<std::string>> PartOf(size_t number, std::string_view text) const {
    if (!target_.links) return CanonicalId(target_.subject_types[number], text, false);
    ECLUSE_TRY(const std::string pseudonym, ByteaOf(text));
    ECLUSE_TRY(std::string id, OpenLink(*target_.links, target_.name.Text(), pseudonym));
    return std::optional(std::move(id));
  }

  // Adds what was deleted; refuses a person whom the ledger cannot name.
  Status Take(const Rows& rows) {
    const uint64_t old = NumberAt(rows, 0), had = NumberAt(rows, 1), deleted = NumberAt(rows, 2);
    std::set<std::string> people;
    for (int i = 0; deleted > 0 && i < rows.size(); ++i) {
      std::string id;
      for (size_t k = 0; k < target_.subject_types.size(); ++k) {
        const int column = static_cast<int>(3 + k);
        ECLUSE_TRY(const auto part, PartOf(k, rows.At(i, column)));
        id += (k == 0 ? "" : std::string(1, kSubjectColumnSeparator)) + part.value_or("");
        if (rows.Null(i, column) || !part || !MayBeId(*part) || id.size() > limits::kSubjectId)
          return Fail("22023", "they have an id that is nobody's: correct them");
      }
      people.insert(std::move(id));
    }
    people_.merge(people);
    deleted_ += deleted;
    if (old > had) report_.kept[kBusy] += old - had;
    if (had > deleted) report_.kept["a trigger leaves them"] += had - deleted;
    return {};
  }

  Database& owner_;
  const RetainTarget& target_;
  const RetainOptions& options_;
  RetainReport report_;
  std::set<std::string> people_;  // of this batch
  uint64_t deleted_ = 0;          // of this batch
  int timeouts_ = 0;
};

}  // namespace

uint64_t RetainReport::Left() const {
  uint64_t left = 0;
  for (const auto& [why, rows] : kept) left += rows;
  return left;
}

std::optional<std::string> KeptReason(std::string_view sqlstate, std::string_view constraint) {
  const std::string by = constraint.empty() ? "" : ": constraint " + Printable(constraint);
  if (sqlstate == "23503" || sqlstate == "23001") return fmt::format("other rows refer to them{} ({})", by, sqlstate);
  if (sqlstate.starts_with("23")) return fmt::format("a constraint refuses{} ({})", by, sqlstate);
  // Connections, transactions, rights, resources, operators, the system: about the run. A trigger may raise all others.
  for (const std::string_view state :
       {"08", "0A", "25", "26", "34", "40", "42", "53", "54", "55", "57", "58", "F0", "XX"})
    if (sqlstate.starts_with(state)) return std::nullopt;
  return fmt::format("a trigger refuses{} ({})", by, sqlstate);
}

Result<std::vector<RetainTarget>> BeginRetaining(Database& owner, KeyRing& keys, std::shared_ptr<const Policy> policy,
                                                 int64_t now) {
  ECLUSE_OK(OpenRoleSchemas(policy, keys));
  ECLUSE_OK(owner.Run(fmt::format("SET lock_timeout TO '{}s'", limits::kRetainLock.count())));
  ECLUSE_TRY(const Rows clock, owner.Query("SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::int8"));
  const int64_t apart = std::abs(std::atoll(clock.Text(0, 0).c_str()) - SystemClock().WallMicros());
  if (apart > std::chrono::microseconds(limits::kRetainClock).count())
    return Fail(sqlstate::kIo,
                fmt::format("the database's clock and this machine's are {} s apart, and rows would be deleted by one "
                            "of them",
                            apart / 1'000'000),
                "set the wrong one right, and run this again", "retain.clock");
  return WhatToRetain(owner, keys, *policy, now);
}

Result<RetainCount> CountOld(Database& owner, const RetainTarget& target) {
  ECLUSE_TRY(const Rows rows, owner.Query("SELECT count(*) FILTER (WHERE " + target.old + "), count(*) FILTER (WHERE " +
                                          target.Undated() + "), count(*) FILTER (WHERE " + target.old + " AND NOT " +
                                          target.Named() + ") FROM " + target.Sql()));
  return RetainCount{NumberAt(rows, 0), NumberAt(rows, 1), NumberAt(rows, 2)};
}

Result<uint64_t> CountPeople(Database& owner, const RetainTarget& target) {
  const std::string key = QuoteName(target.policy->via_key);
  ECLUSE_TRY(const Rows rows, owner.Query("SELECT count(*) FROM (SELECT DISTINCT " +
                                          target.SubjectList(target.via() ? "v" : "t") + " FROM " + target.Sql() +
                                          (target.via() ? " JOIN " + QuoteTable(target.people->name) + " AS v ON v." +
                                                              key + " = t." + key
                                                        : "") +
                                          " WHERE " + target.old + ") AS people"));
  return NumberAt(rows, 0);
}

Result<RetainReport> RetainTable(Database& owner, const RetainTarget& target, const RetainOptions& options) {
  return Deleter(owner, target, options).Run();
}

}  // namespace ecluse
