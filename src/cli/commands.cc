#include "cli/commands.h"

#include <cstdio>
#include <utility>

#include "base/clock.h"
#include "base/file.h"
#include "base/time_text.h"

namespace ecluse {

int Complain(const char* command, const Error& error) {
  std::fprintf(stderr, "ecluse %s: %s\n", command, error.message.c_str());
  if (!error.hint.empty()) std::fprintf(stderr, "  %s\n", error.hint.c_str());
  if (!error.operator_detail.empty()) std::fprintf(stderr, "  (%s)\n", error.operator_detail.c_str());
  return 2;
}

std::shared_ptr<const Policy> PolicyOf(const std::string& config, std::vector<PolicyProblem>* warnings) {
  auto policy = LoadPolicy(config, warnings);
  if (policy) return *policy;
  for (const PolicyProblem& problem : policy.error())
    std::fprintf(stderr, "%s\n", ProblemText(config, problem).c_str());
  return nullptr;
}

Result<std::unique_ptr<KeyRing>> OpenLedgerKeys(const Policy& policy) {
  ECLUSE_TRY(auto present, RealFiles().Find(policy.data_dir + "/ledger/origin"));
  if (!present)
    return Fail(sqlstate::kIo, "there is no ledger in " + policy.data_dir, "it is made when the gate first serves",
                "ledger.none");
  return KeyRing::Open(policy.root_key_file, policy.data_dir);
}

bool ReadPeriod(const char* command, const std::string& from, const std::string& to, int64_t* first, int64_t* end) {
  const std::pair<const char*, std::pair<const std::string*, int64_t*>> limits[] = {{"--from", {&from, first}},
                                                                                    {"--to", {&to, end}}};
  for (const auto& [name, limit] : limits) {
    if (limit.first->empty()) continue;
    auto time = ParseTime(*limit.first, SystemClock().WallMicros());
    if (!time) {
      std::fprintf(stderr, "ecluse %s: %s %s is no time; write %s\n", command, name, limit.first->c_str(), kTimeForms);
      return false;
    }
    *limit.second = *time;
  }
  return true;
}

}  // namespace ecluse
