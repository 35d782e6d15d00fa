#include "cli/asking.h"

#include <cstdio>
#include <utility>

#include "base/clock.h"
#include "base/file.h"
#include "base/time_text.h"

namespace ecluse {

void Asking::AddOptions(CLI::App* app) {
  app->add_option("--config", config, "the policy file")->capture_default_str();
  app->add_option("--former", former, "ask a ledger that was put away: its folder under data_dir/former");
  app->add_option("--from", from, std::string("only from then on: ") + kTimeForms);
  app->add_option("--to", to, "only before then");
}

bool Asking::ReadPeriod(const char* command, int64_t* first, int64_t* end) const {
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

Result<OpenedLedger> Asking::Open(const Policy& policy) const {
  const std::string& folder = former.empty() ? policy.data_dir : former;
  ECLUSE_TRY(auto present, RealFiles().Find(folder + "/ledger/origin"));
  if (!present)
    return Fail(sqlstate::kIo, "there is no ledger in " + folder,
                former.empty() ? "it is made when the gate first serves"
                               : "name the folder that `ecluse ledger new` put it in, the one that holds ledger/",
                "ledger.none");
  OpenedLedger opened;
  ECLUSE_TRY(opened.keys, KeyRing::Open(policy.root, policy.data_dir));
  ECLUSE_TRY(opened.query, LedgerQuery::Open(folder, *opened.keys));
  return opened;
}

}  // namespace ecluse
