// Any bytes are a policy or a list of problems; a policy that loads has what the rest of the gate relies on.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/check.h"
#include "policy/policy.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  auto policy = ecluse::ParsePolicy(text, "/etc/ecluse/policy.yaml", nullptr);
  if (!policy) {
    CHECK(!policy.error().empty());
    for (const auto& problem : policy.error()) CHECK(problem.mark.line > 0 && !problem.message.empty());
    return 0;
  }
  CHECK((*policy)->sql.has_value() && !(*policy)->tables.empty() && !(*policy)->roles.empty());
  for (const auto& [name, role] : (*policy)->roles) {
    bool subjects = false;
    for (const auto& window : role.budgets) subjects = subjects || window.counts == ecluse::Window::Counts::subjects;
    CHECK(subjects);
    for (const auto& [table, masks] : role.read) {
      CHECK((*policy)->tables.contains(table) && masks.size() == (*policy)->tables.at(table).columns.size());
    }
  }
  return 0;
}
