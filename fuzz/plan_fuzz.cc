// Scan, parse, resolve, splice and verify any bytes as a statement. What passes as guarded must carry its people, and
// its rewritten text must pass the scanner again.
#include <cstdint>
#include <string_view>

#include "base/check.h"
#include "plan/lexer.h"
#include "plan/plan_fixture_test.h"
#include "plan/planner.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static ecluse::Planner planner;
  static const ecluse::PlanContext context{ecluse::FixtureSchema(), {"taj", "ref"}};
  if (size > 16'384) return 0;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto planned = planner.PlanSimple(context, text);
  if (!planned) {
    CHECK(planned.error().sqlstate.size() == 5 && !planned.error().message.empty());
    return 0;
  }
  for (const auto& statement : *planned) {
    const ecluse::Plan& plan = *statement.plan;
    const bool runs = plan.kind == ecluse::Plan::Kind::rows || plan.kind == ecluse::Plan::Kind::write;
    if (!runs) continue;
    CHECK(ecluse::Lex(plan.sql).has_value());
    CHECK(plan.guarded == (plan.sql.find("\"ecluse_test_officer\".\"taj.") != std::string::npos ||
                           plan.sql.find("\"ecluse_test_officer\".\"sia.") != std::string::npos ||
                           plan.sql.find("\"ecluse_test_officer\".\"med.") != std::string::npos));
    CHECK(!plan.guarded || (!plan.hidden.empty() && plan.sql.find("__subject") != std::string::npos));
  }
  return 0;
}
