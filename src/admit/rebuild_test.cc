// Budgets are a function of the ledger: what a restarted gate counts is what the stopped one did.
#include <gtest/gtest.h>

#include <filesystem>
#include <map>
#include <random>

#include "admit/admission.h"
#include "ledger/testing.h"

namespace ecluse {
namespace {

using std::chrono::seconds;
constexpr int64_t kSecond = 1'000'000;

Window People(int64_t limit, int64_t per) { return {Window::Counts::subjects, limit, seconds(per)}; }

std::shared_ptr<Policy> SomePolicy() {
  auto policy = std::make_shared<Policy>();
  Role& role = policy->roles["officer"];
  role.name = "officer";
  role.budgets = {People(8, 30),
                  People(20, 120),
                  {Window::Counts::lookups, 200, seconds(60)},
                  {Window::Counts::failures, 9, seconds(90)}};
  role.statistics.emplace();
  role.statistics->rows = 40;
  role.statistics->per = seconds(100);
  policy->per_address = {People(15, 60)};
  policy->per_organisation = {People(30, 80), {Window::Counts::lookups, 500, seconds(60)}};
  policy->per_register = {People(40, 150)};
  return policy;
}

const std::vector<Payer> kPayers = {{"anna", "police", "10.0.0.1", "officer"},
                                    {"bert", "police", "10.0.0.2", "officer"},
                                    {"caro", "customs", "10.0.0.1", "officer"}};

std::vector<std::string> Lines(const Admission& admission) {
  std::vector<std::string> lines;
  for (const Payer& payer : kPayers) {
    for (const BudgetLine& line : admission.Budget(payer)) {
      lines.push_back(payer.account + " " + line.scope + " " + line.name + ": " + std::to_string(line.used) +
                      ", resets " + std::to_string(line.resets_seconds));
    }
  }
  return lines;
}

class RebuildTest : public testing::Test {
 protected:
  // What a session does: reserve, write down, commit.
  size_t Disclose(Admission& admission, Ledger& ledger, const Payer& payer, const std::vector<uint64_t>& ids,
                  bool together = false) {
    std::vector<SubjectKey> keys;
    std::vector<std::pair<uint32_t, uint32_t>> rows;
    for (uint64_t id : ids) {
      if (!together) rows.emplace_back(keys.size(), keys.size() + 1);
      keys.push_back(folder_.KeyOf(std::to_string(id)));
    }
    if (together) rows.emplace_back(0, keys.size());
    Admission::Fit fit = admission.Reserve(payer, keys, rows);
    size_t people = together ? fit.rows * ids.size() : fit.rows;
    if (people > 0) {
      // Whom a statement named stays charged where the statement is refused afterwards.
      EntryDraft draft = Draft(payer, ids[0] % 5 == 0 ? EntryKind::refusal : EntryKind::disclosure);
      for (size_t i = 0; i < people; ++i) {
        if (i % 2 == 0) draft.subjects.push_back({"taj.person", {}, {}, {}});
        auto token = folder_.TokenOf(ledger, std::to_string(ids[i])).value();
        (i % 3 == 0 ? draft.subjects.back().asked : draft.subjects.back().returned).push_back(token);
      }
      EXPECT_TRUE(ledger.AppendAndWait(draft));
    }
    fit.reservation.Commit();
    if (fit.rows < rows.size()) WriteRefusal(ledger, payer, fit.refusal);
    return fit.rows;
  }
  void WriteRefusal(Ledger& ledger, const Payer& payer, const Error& refusal) {
    EntryDraft draft = Draft(payer, EntryKind::refusal);
    draft.lookups = Admission::RefusalLookups(refusal);
    EXPECT_TRUE(ledger.AppendAndWait(draft));
  }
  EntryDraft Draft(const Payer& payer, EntryKind kind) {
    EntryDraft draft;
    draft.kind = kind;
    draft.policy = "ab12";
    draft.principal = payer.account;
    draft.organisation = payer.organisation;
    draft.role = payer.role;
    draft.session = "s";
    draft.address = payer.address;
    return draft;
  }

  LedgerFolder folder_;
};

TEST_F(RebuildTest, ARestartedGateCountsWhatTheStoppedOneDid) {
  for (unsigned seed = 0; seed < 4; ++seed) {
    std::mt19937_64 random(seed);
    auto ledger = folder_.Open();
    auto admission = std::make_unique<Admission>(folder_.clock());
    admission->Configure(SomePolicy());
    ASSERT_TRUE(admission->Rebuild(*ledger));
    for (int step = 0; step < 250; ++step) {
      const Payer& payer = kPayers[random() % kPayers.size()];
      switch (random() % 8) {
        case 0:
          folder_.clock().Advance(static_cast<int64_t>(random() % 12) * kSecond + 1);
          break;
        case 1: {
          if (Status admitted = admission->Lookups(payer, 3); !admitted) {
            WriteRefusal(*ledger, payer, admitted.error());
            break;
          }
          EntryDraft draft = Draft(payer, EntryKind::lookup);
          draft.lookups = 3;
          ASSERT_TRUE(ledger->AppendAndWait(draft));
          break;
        }
        case 2: {
          auto nobody = admission->ReserveNameless(payer, 1);
          if (!nobody) {
            WriteRefusal(*ledger, payer, nobody.error());
            break;
          }
          EntryDraft draft = Draft(payer, EntryKind::lookup);
          draft.nameless = 1;
          ASSERT_TRUE(ledger->AppendAndWait(draft));
          nobody->Commit();
          break;
        }
        case 3: {
          admission->Failure(payer);
          ASSERT_TRUE(ledger->AppendAndWait(Draft(payer, EntryKind::failure)));
          break;
        }
        case 4: {
          auto rows = admission->ReserveStatistics(payer, 4);
          if (!rows) {
            WriteRefusal(*ledger, payer, rows.error());
            break;
          }
          EntryDraft draft = Draft(payer, EntryKind::statistic);
          draft.statistic_rows = 4;
          ASSERT_TRUE(ledger->AppendAndWait(draft));
          rows->Commit();
          break;
        }
        default: {
          std::vector<uint64_t> ids(1 + random() % 4);
          for (uint64_t& id : ids) id = random() % 60;
          Disclose(*admission, *ledger, payer, ids);
        }
      }
      if (random() % 60 != 0) continue;
      auto before = Lines(*admission);
      admission.reset();
      ledger.reset();
      ledger = folder_.Open();
      admission = std::make_unique<Admission>(folder_.clock());
      admission->Configure(SomePolicy());
      ASSERT_TRUE(admission->Rebuild(*ledger));
      ASSERT_EQ(Lines(*admission), before) << "seed " << seed << " step " << step;
    }
    ledger.reset();
    folder_.clock().Advance(1'000 * kSecond);
  }
}

TEST_F(RebuildTest, ADisclosureSplitOverSeveralEntriesCountsEverybody) {
  auto policy = SomePolicy();
  policy->roles["officer"].budgets = {People(5'000, 3'600)};
  policy->per_address = policy->per_organisation = policy->per_register = {};
  std::vector<uint64_t> ids(2'500);
  for (size_t i = 0; i < ids.size(); ++i) ids[i] = i;
  auto ledger = folder_.Open();
  {
    Admission admission(folder_.clock());
    admission.Configure(policy);
    ASSERT_EQ(Disclose(admission, *ledger, kPayers[0], ids, true), 1u);
  }
  Admission admission(folder_.clock());
  admission.Configure(policy);
  ASSERT_TRUE(admission.Rebuild(*ledger));
  EXPECT_EQ(admission.Budget(kPayers[0])[0].used, 2'500);
}

TEST_F(RebuildTest, AReloadFillsWindowsThatAreNewFromTheLedger) {
  auto ledger = folder_.Open();
  Admission admission(folder_.clock());
  auto policy = std::make_shared<Policy>();
  policy->roles["officer"].budgets = {People(5, 60)};
  admission.Configure(policy);
  ASSERT_TRUE(admission.Rebuild(*ledger));
  ASSERT_TRUE(admission.Lookups(kPayers[0], 7));
  EntryDraft looked = Draft(kPayers[0], EntryKind::lookup);
  looked.lookups = 7;
  ASSERT_TRUE(ledger->AppendAndWait(looked));
  EXPECT_EQ(Disclose(admission, *ledger, kPayers[0], {1, 2, 3}), 3u);
  folder_.clock().Advance(100 * kSecond);
  EXPECT_EQ(Disclose(admission, *ledger, kPayers[0], {3, 4}), 2u);

  auto longer = std::make_shared<Policy>();
  longer->roles["officer"].budgets = {People(5, 600), {Window::Counts::lookups, 100, seconds(600)}};
  longer->per_organisation = {People(100, 600)};
  ASSERT_TRUE(admission.Reload(longer, *ledger, [] { return Status(); }));
  auto lines = admission.Budget(kPayers[0]);
  ASSERT_EQ(lines.size(), 3u);
  EXPECT_EQ(lines[0].used, 4) << "people from before the longest window of the old policy";
  EXPECT_EQ(lines[1].used, 4) << "the organisation had no window before";
  EXPECT_EQ(lines[2].used, 7);
  EXPECT_EQ(Disclose(admission, *ledger, kPayers[0], {5, 6}), 1u);
  ASSERT_TRUE(admission.Reload(longer, *ledger, [] { return Status(); }));
  EXPECT_EQ(admission.Budget(kPayers[0])[2].used, 8) << "windows that were full are not filled twice";
}

TEST_F(RebuildTest, AReloadThatCannotBeWrittenDownChangesNothing) {
  auto ledger = folder_.Open();
  Admission admission(folder_.clock());
  admission.Configure(SomePolicy());
  ASSERT_TRUE(admission.Rebuild(*ledger));
  EXPECT_EQ(Disclose(admission, *ledger, kPayers[0], {1, 2, 3}), 3u);
  auto before = Lines(admission);
  auto other = std::make_shared<Policy>();
  other->roles["clerk"].budgets = {People(1'000, 600)};
  Status refused = admission.Reload(other, *ledger, [&]() -> Status {
    EXPECT_EQ(Lines(admission), before) << "the old limits hold until it is written down";
    return Fail(sqlstate::kIo, "no space left", "");
  });
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().message, "no space left");
  EXPECT_EQ(Lines(admission), before);
  EXPECT_EQ(Disclose(admission, *ledger, kPayers[0], {4, 5, 6, 7, 8, 9}), 5u);
}

TEST_F(RebuildTest, RefusesWhereThePastCannotBeOpened) {
  auto ledger = folder_.Open();
  Admission before(folder_.clock());
  before.Configure(SomePolicy());
  Disclose(before, *ledger, kPayers[0], {1, 2, 3});
  ledger.reset();
  for (const auto& day : std::filesystem::directory_iterator(folder_.data() + "/keys/days")) {
    std::filesystem::remove(day.path());
  }
  auto keys = KeyRing::Open(folder_.root(), folder_.data());
  ASSERT_TRUE(keys) << keys.error().message;
  auto blind = Ledger::Open(folder_.options(), **keys);
  ASSERT_TRUE(blind) << blind.error().message;
  Admission admission(folder_.clock());
  admission.Configure(SomePolicy());
  auto rebuilt = admission.Rebuild(**blind);
  ASSERT_FALSE(rebuilt);
  EXPECT_EQ(rebuilt.error().sqlstate, sqlstate::kIo);
  EXPECT_NE(rebuilt.error().operator_detail.find("does not open"), std::string::npos)
      << rebuilt.error().operator_detail;
  // Past the longest window nobody needs it any more.
  folder_.clock().Advance(151 * kSecond);
  EXPECT_TRUE(admission.Rebuild(**blind));
}

}  // namespace
}  // namespace ecluse
