// What the planner makes of a statement over the fixture's register.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "plan/plan_fixture_test.h"
#include "plan/planner.h"

namespace ecluse {

class PlannerTest : public testing::Test {
 protected:
  static Result<std::shared_ptr<const Plan>> Make(std::string_view sql, std::vector<Oid> types = {}) {
    return planner_.PlanExtended({FixtureSchema(), {"taj", "ref"}}, sql, types);
  }
  // The rule that refuses `sql`, or "passes: " and what it became.
  static std::string Rule(std::string_view sql) {
    const auto plan = Make(sql);
    return plan ? "passes: " + (*plan)->sql : plan.error().rule;
  }

  static inline Planner planner_;
};

}  // namespace ecluse
