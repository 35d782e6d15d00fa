// The planner: statement text -> Plan, or a refusal that says how to write it so that it can be counted.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "plan/plan.h"

namespace ecluse {

// What of a session decides how its statements are read.
struct PlanContext {
  std::shared_ptr<const RoleSchema> schema;
  std::vector<std::string> search_path;  // the session's own, virtual; "$user" already resolved away
};

// Thread-safe. Planning runs on threads of the planner's own, whose stacks fit limits::kStatementNesting; the calling
// thread waits for it (a cache hit does not leave the calling thread).
class Planner {
 public:
  Planner();
  ~Planner();
  Planner(const Planner&) = delete;
  Planner& operator=(const Planner&) = delete;

  // Plans a text of the simple protocol: zero or more statements separated by semicolons. An empty text gives one Plan
  // of kind `empty`. The first statement that is refused refuses the whole text (nothing of it has run). `text` is
  // client input: any bytes.
  Result<std::vector<PlannedStatement>> PlanSimple(const PlanContext& context, std::string_view text);

  // Plans the text of a Parse message: at most one statement, with the parameter types the client declared.
  Result<std::shared_ptr<const Plan>> PlanExtended(const PlanContext& context, std::string_view text,
                                                   std::span<const Oid> declared);

  // Forgets plans of generations older than `generation`. For reloads.
  void Forget(uint64_t generation);

  struct Stats {
    uint64_t hits = 0, misses = 0;
    size_t bytes = 0, plans = 0;
  };
  Stats stats() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace ecluse
