#include "admit/admission.h"

#include <gtest/gtest.h>

#include <atomic>
#include <deque>
#include <map>
#include <random>
#include <set>
#include <thread>

#include "base/clock.h"

namespace ecluse {
namespace {

using std::chrono::seconds;
constexpr int64_t kSecond = 1'000'000;

SubjectKey Person(uint64_t id) {
  SubjectKey key{};
  id = id * 0x9E3779B97F4A7C15u + 1;
  __builtin_memcpy(key.data(), &id, sizeof id);
  return key;
}

Window People(int64_t limit, int64_t per) { return {Window::Counts::subjects, limit, seconds(per)}; }
Window LookupsOf(int64_t limit, int64_t per) { return {Window::Counts::lookups, limit, seconds(per)}; }
Window FailuresOf(int64_t limit, int64_t per) { return {Window::Counts::failures, limit, seconds(per)}; }

std::shared_ptr<Policy> MakePolicy(std::vector<Window> officer, std::vector<Window> clerk = {}) {
  auto policy = std::make_shared<Policy>();
  policy->roles["officer"].name = "officer";
  policy->roles["officer"].budgets = std::move(officer);
  policy->roles["clerk"].name = "clerk";
  policy->roles["clerk"].budgets = std::move(clerk);
  return policy;
}

const Payer kAnna{"anna", "police", "10.0.0.1", "officer"};
const Payer kBert{"bert", "police", "10.0.0.1", "officer"};
const Payer kCaro{"caro", "customs", "10.0.0.2", "officer"};

// Rows of one person each.
Admission::Fit Ask(Admission& admission, const Payer& payer, const std::vector<uint64_t>& ids) {
  std::vector<SubjectKey> keys;
  std::vector<std::pair<uint32_t, uint32_t>> rows;
  for (uint64_t id : ids) {
    rows.emplace_back(keys.size(), keys.size() + 1);
    keys.push_back(Person(id));
  }
  return admission.Reserve(payer, keys, rows);
}
// One row about all of them.
Admission::Fit AskTogether(Admission& admission, const Payer& payer, const std::vector<uint64_t>& ids) {
  std::vector<SubjectKey> keys;
  for (uint64_t id : ids) keys.push_back(Person(id));
  std::pair<uint32_t, uint32_t> row{0, static_cast<uint32_t>(keys.size())};
  return admission.Reserve(payer, keys, {&row, 1});
}
size_t Take(Admission& admission, const Payer& payer, const std::vector<uint64_t>& ids) {
  Admission::Fit fit = Ask(admission, payer, ids);
  fit.reservation.Commit();
  return fit.rows;
}
BudgetLine Line(const Admission& admission, const Payer& payer, const std::string& scope,
                Window::Counts counts = Window::Counts::subjects, size_t nth = 0) {
  for (const BudgetLine& line : admission.Budget(payer)) {
    if (line.scope == scope && line.window.counts == counts && nth-- == 0) return line;
  }
  ADD_FAILURE() << "no budget line of " << scope;
  return {};
}

TEST(AdmissionTest, APersonCostsOnceAndCountsUntilOneWindowAfterTheirLastDisclosure) {
  FakeClock clock;
  Admission admission(clock);
  admission.Configure(MakePolicy({People(2, 60)}));
  EXPECT_EQ(Take(admission, kAnna, {1, 1, 2, 1}), 4u);
  EXPECT_EQ(Take(admission, kAnna, {3}), 0u);
  clock.Advance(40 * kSecond);
  EXPECT_EQ(Take(admission, kAnna, {2}), 1u);
  clock.Advance(20 * kSecond - 1);
  EXPECT_EQ(Take(admission, kAnna, {3}), 0u);
  clock.Advance(1);  // person 1 leaves, person 2 was seen again
  EXPECT_EQ(Line(admission, kAnna, "account").used, 1);
  EXPECT_EQ(Take(admission, kAnna, {3}), 1u);
  EXPECT_EQ(Take(admission, kAnna, {1}), 0u);
}

TEST(AdmissionTest, ReleasesTheRowsThatFitAndSaysWhichBudgetEndedThem) {
  FakeClock clock;
  Admission admission(clock);
  admission.Configure(MakePolicy({People(3, 3600), LookupsOf(100, 3600)}));
  Admission::Fit fit = Ask(admission, kAnna, {1, 2, 3, 4, 5, 6, 7, 8, 9});
  EXPECT_EQ(fit.rows, 3u);
  EXPECT_EQ(fit.refusal.sqlstate, sqlstate::kBudget);
  EXPECT_EQ(fit.refusal.rule, "admit.subjects");
  EXPECT_NE(fit.refusal.message.find("account"), std::string::npos);
  EXPECT_NE(fit.refusal.message.find("3 used"), std::string::npos);
  EXPECT_NE(fit.refusal.message.find("3600 s"), std::string::npos);
  EXPECT_EQ(fit.refusal.message.find('9'), std::string::npos) << "tells how many it would have taken";
  EXPECT_EQ(Line(admission, kAnna, "account", Window::Counts::lookups).used, 1) << "a refusal costs a lookup";
}

TEST(AdmissionTest, ARowIsReleasedWithAllItsPeopleOrNotAtAll) {
  FakeClock clock;
  Admission admission(clock);
  admission.Configure(MakePolicy({People(3, 3600)}));
  EXPECT_EQ(Take(admission, kAnna, {1}), 1u);
  Admission::Fit four = AskTogether(admission, kAnna, {1, 2, 3, 4});
  EXPECT_EQ(four.rows, 0u);
  EXPECT_EQ(Line(admission, kAnna, "account").used, 1);
  Admission::Fit repeated = AskTogether(admission, kAnna, {2, 2, 1, 3, 2, 3});
  EXPECT_EQ(repeated.rows, 1u);
  EXPECT_EQ(Line(admission, kAnna, "account").used, 3);
}

TEST(AdmissionTest, SetsBelongToTheAccountWhateverTheRole) {
  FakeClock clock;
  Admission admission(clock);
  admission.Configure(MakePolicy({People(3, 3600)}, {People(5, 3600), People(8, 86'400)}));
  Payer clerk = kAnna;
  clerk.role = "clerk";
  EXPECT_EQ(Take(admission, clerk, {1, 2, 3, 4}), 4u);
  EXPECT_EQ(Take(admission, kAnna, {5}), 0u);
  EXPECT_EQ(Take(admission, kAnna, {4}), 1u);
  EXPECT_EQ(Take(admission, clerk, {5, 6}), 1u);
  EXPECT_EQ(Line(admission, clerk, "account", Window::Counts::subjects, 1).used, 5);
}

TEST(AdmissionTest, AddressOrganisationAndRegisterHaveSetsOfTheirOwn) {
  FakeClock clock;
  Admission admission(clock);
  auto policy = MakePolicy({People(100, 60)});
  policy->per_address = {People(3, 60)};
  policy->per_organisation = {People(4, 60)};
  policy->per_register = {People(5, 60)};
  admission.Configure(policy);
  EXPECT_EQ(Take(admission, kAnna, {1, 2}), 2u);
  Admission::Fit at_address = Ask(admission, kBert, {3, 4});
  EXPECT_EQ(at_address.rows, 1u);
  EXPECT_NE(at_address.refusal.message.find("address"), std::string::npos);
  Payer elsewhere = kBert;
  elsewhere.address = "10.0.0.9";
  Admission::Fit in_organisation = Ask(admission, elsewhere, {1, 4, 5});
  EXPECT_EQ(in_organisation.rows, 2u);
  EXPECT_NE(in_organisation.refusal.message.find("organisation"), std::string::npos);
  Admission::Fit in_register = Ask(admission, kCaro, {4, 6, 7});
  EXPECT_EQ(in_register.rows, 2u);
  EXPECT_NE(in_register.refusal.message.find("register"), std::string::npos);
}

TEST(AdmissionTest, GivingBackRestoresWhatWasBefore) {
  FakeClock clock;
  Admission admission(clock);
  admission.Configure(MakePolicy({People(3, 60), People(10, 600)}));
  EXPECT_EQ(Take(admission, kAnna, {1, 2}), 2u);
  clock.Advance(50 * kSecond);
  {
    Admission::Fit lost = Ask(admission, kAnna, {1, 3, 1});
  }
  EXPECT_EQ(Line(admission, kAnna, "account").used, 2);
  clock.Advance(10 * kSecond);
  EXPECT_EQ(Line(admission, kAnna, "account").used, 0) << "person 1 was refreshed by what never happened";
  EXPECT_EQ(Line(admission, kAnna, "account", Window::Counts::subjects, 1).used, 2);
}

TEST(AdmissionTest, GivingBackDoesNotTakeWhatAnotherSessionWasGiven) {
  FakeClock clock;
  Admission admission(clock);
  admission.Configure(MakePolicy({People(3, 60)}));
  auto first = std::make_unique<Admission::Fit>(Ask(admission, kAnna, {1, 2}));
  Admission::Fit second = Ask(admission, kAnna, {2, 3});
  first.reset();
  EXPECT_EQ(Line(admission, kAnna, "account").used, 2);
  second.reservation.Commit();
  EXPECT_EQ(Line(admission, kAnna, "account").used, 2);

  auto third = std::make_unique<Admission::Fit>(Ask(admission, kAnna, {2}));
  Admission::Fit fourth = Ask(admission, kAnna, {2});
  fourth.reservation.Commit();
  third.reset();
  EXPECT_EQ(Line(admission, kAnna, "account").used, 2);
}

TEST(AdmissionTest, PeopleOfAReservationThatIsNotSettledDoNotLeaveTheWindow) {
  FakeClock clock;
  Admission admission(clock);
  admission.Configure(MakePolicy({People(1, 10), People(5, 20)}));
  Admission::Fit slow = Ask(admission, kAnna, {1});
  ASSERT_EQ(slow.rows, 1u);
  clock.Advance(30 * kSecond);
  EXPECT_EQ(Take(admission, kAnna, {2}), 0u);
  clock.Advance(5 * kSecond);
  slow.reservation.Commit();
  clock.Advance(10 * kSecond - 1);
  EXPECT_EQ(Take(admission, kAnna, {2}), 0u) << "a person counts from the moment they may have been released";
  clock.Advance(1);
  EXPECT_EQ(Take(admission, kAnna, {2}), 1u);
}

TEST(AdmissionTest, NamelessPeopleCountLikePeople) {
  FakeClock clock;
  Admission admission(clock);
  admission.Configure(MakePolicy({People(3, 60)}));
  auto nobody = admission.ReserveNameless(kAnna, 2);
  ASSERT_TRUE(nobody);
  nobody->Commit();
  EXPECT_FALSE(admission.ReserveNameless(kAnna, 2));
  {
    auto given_back = admission.ReserveNameless(kAnna, 1);
  }
  EXPECT_EQ(Line(admission, kAnna, "account").used, 2);
  EXPECT_EQ(Take(admission, kAnna, {1, 2}), 1u);
}

TEST(AdmissionTest, LookupsAndFailuresEndProbing) {
  FakeClock clock;
  Admission admission(clock);
  admission.Configure(MakePolicy({LookupsOf(10, 60), FailuresOf(2, 30)}));
  EXPECT_TRUE(admission.Lookups(kAnna, 7));
  auto refused = admission.Lookups(kAnna, 4);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().rule, "admit.lookups");
  EXPECT_EQ(Line(admission, kAnna, "account", Window::Counts::lookups).used, 8);
  EXPECT_TRUE(admission.Lookups(kAnna, 1));
  admission.Failure(kAnna);
  EXPECT_TRUE(admission.Lookups(kAnna, 0));
  admission.Failure(kAnna);
  auto ended = admission.Lookups(kAnna, 0);
  ASSERT_FALSE(ended);
  EXPECT_EQ(ended.error().rule, "admit.failures");
  EXPECT_TRUE(admission.Lookups(kBert, 1)) << "another account pays for itself";
  clock.Advance(30 * kSecond);
  EXPECT_TRUE(admission.Lookups(kAnna, 0));
  clock.Advance(30 * kSecond);
  EXPECT_EQ(Line(admission, kAnna, "account", Window::Counts::lookups).used, 0);
}

TEST(AdmissionTest, StatisticsHaveABudgetOfTheirOwn) {
  FakeClock clock;
  Admission admission(clock);
  auto policy = MakePolicy({People(1, 60)});
  policy->roles["officer"].statistics.emplace();
  policy->roles["officer"].statistics->rows = 10;
  policy->roles["officer"].statistics->per = seconds(60);
  admission.Configure(policy);
  auto six = admission.ReserveStatistics(kAnna, 6);
  ASSERT_TRUE(six);
  six->Commit();
  {
    auto given_back = admission.ReserveStatistics(kAnna, 4);
  }
  auto four = admission.ReserveStatistics(kAnna, 4);
  EXPECT_TRUE(four);
  auto refused = admission.ReserveStatistics(kAnna, 1);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().rule, "admit.statistics");
  Payer clerk = kAnna;
  clerk.role = "clerk";
  EXPECT_EQ(admission.ReserveStatistics(clerk, 1).error().sqlstate, sqlstate::kNotAllowed);
}

TEST(AdmissionTest, RefusesARoleThatThePolicyLost) {
  FakeClock clock;
  Admission admission(clock);
  EXPECT_FALSE(admission.Lookups(kAnna, 1)) << "nothing is configured yet";
  admission.Configure(MakePolicy({People(1, 60)}));
  Payer stranger = kAnna;
  stranger.role = "gone";
  EXPECT_EQ(Ask(admission, stranger, {1}).refusal.rule, "admit.role");
  EXPECT_FALSE(admission.Lookups(stranger, 1));
  EXPECT_FALSE(admission.ReserveNameless(stranger, 1));
}

// 32 sessions of one account race for 60 people out of many, each with its own taste, some of them giving back.
TEST(AdmissionTest, ExactUnderParallelSessions) {
  Admission admission(SystemClock());
  admission.Configure(MakePolicy({People(60, 86'400)}));
  std::mutex mutex;
  std::set<uint64_t> received;
  std::vector<std::thread> threads;
  for (unsigned t = 0; t < 32; ++t) {
    threads.emplace_back([&, t] {
      std::mt19937_64 random(t);
      for (int i = 0; i < 300; ++i) {
        std::vector<uint64_t> ids(1 + random() % 5);
        for (uint64_t& id : ids) id = random() % 500;
        Admission::Fit fit = Ask(admission, kAnna, ids);
        if (random() % 8 == 0) continue;
        fit.reservation.Commit();
        std::lock_guard lock(mutex);
        received.insert(ids.begin(), ids.begin() + fit.rows);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_LE(received.size(), 60u);
  for (uint64_t id = 1000; Take(admission, kAnna, {id}) == 1; ++id) received.insert(id);
  EXPECT_LE(received.size(), 60u);
  EXPECT_EQ(Line(admission, kAnna, "account").used, 60);
}

TEST(AdmissionTest, ParallelSessionsReceiveTheWholeBudget) {
  Admission admission(SystemClock());
  admission.Configure(MakePolicy({People(60, 86'400)}));
  std::atomic<int> received = 0;
  std::vector<std::thread> threads;
  for (unsigned t = 0; t < 32; ++t) {
    threads.emplace_back([&, t] {
      for (uint64_t i = 0; i < 20; ++i) received += static_cast<int>(Take(admission, kAnna, {t * 1000 + i}));
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(received, 60);
}

// What the windows should hold, by brute force: every disclosure ever, in a list.
class Model {
 public:
  struct Disclosure {
    std::string account, address, organisation;
    uint64_t person;
    int64_t time;
    int reservation;  // pending while not -1
  };
  std::deque<Disclosure> disclosures;

  std::set<uint64_t> Held(const std::string& scope, const Payer& payer, int64_t length, int64_t now) const {
    std::set<uint64_t> people;
    for (const Disclosure& d : disclosures) {
      bool mine = scope == "account"        ? d.account == payer.account
                  : scope == "address"      ? d.address == payer.address
                  : scope == "organisation" ? d.organisation == payer.organisation
                                            : true;
      if (mine && (d.time + length > now || d.reservation != -1)) people.insert(d.person);
    }
    return people;
  }
};

struct Drawn {
  Payer payer;
  std::vector<std::vector<uint64_t>> rows;
  Admission::Fit fit;
};

// Random sessions of three accounts ask for random rows, commit or give back in any order, and time passes: the windows
// hold exactly what the model says, and rows fit exactly where it says they do.
TEST(AdmissionTest, AgreesWithABruteForceModel) {
  for (unsigned seed = 0; seed < 30; ++seed) {
    FakeClock clock;
    Admission admission(clock);
    auto policy = MakePolicy({People(6, 20), People(11, 70)}, {People(9, 45)});
    policy->per_address = {People(9, 30)};
    policy->per_organisation = {People(12, 50), People(14, 90)};
    policy->per_register = {People(16, 60)};
    admission.Configure(policy);
    Model model;
    std::mt19937_64 random(seed);
    std::map<int, Drawn> open;
    int next = 0;
    auto fits = [&](const Payer& payer, const std::vector<uint64_t>& row) {
      for (const BudgetLine& line : admission.Budget(payer)) {
        auto held = model.Held(line.scope, payer, line.window.per.count() * kSecond, clock.BootMicros());
        held.insert(row.begin(), row.end());
        if (static_cast<int64_t>(held.size()) > line.window.limit) {
          auto before = model.Held(line.scope, payer, line.window.per.count() * kSecond, clock.BootMicros());
          if (held.size() > before.size()) return false;
        }
      }
      return true;
    };
    for (int step = 0; step < 1'500; ++step) {
      Payer payer = std::array{kAnna, kBert, kCaro}[random() % 3];
      if (random() % 4 == 0) payer.role = "clerk";
      unsigned dice = random() % 10;
      if (dice < 4) {
        Drawn drawn{payer, {}, {}};
        std::vector<SubjectKey> keys;
        std::vector<std::pair<uint32_t, uint32_t>> ranges;
        for (size_t rows = random() % 4; rows-- > 0;) {
          auto& row = drawn.rows.emplace_back(random() % 4);
          for (uint64_t& id : row) id = random() % 30;
          ranges.emplace_back(keys.size(), keys.size() + row.size());
          for (uint64_t id : row) keys.push_back(Person(id));
        }
        drawn.fit = admission.Reserve(payer, keys, ranges);
        for (size_t i = 0; i < drawn.rows.size() && i <= drawn.fit.rows; ++i) {
          bool allowed = fits(payer, drawn.rows[i]);
          if (i < drawn.fit.rows) {
            ASSERT_TRUE(allowed) << "seed " << seed << " step " << step << ": released over a limit";
            for (uint64_t id : drawn.rows[i]) {
              model.disclosures.push_back(
                  {payer.account, payer.address, payer.organisation, id, clock.BootMicros(), next});
            }
          } else {
            ASSERT_FALSE(allowed) << "seed " << seed << " step " << step << ": refused what fits";
          }
        }
        open.emplace(next++, std::move(drawn));
      } else if (dice < 8 && !open.empty()) {
        auto chosen = std::next(open.begin(), static_cast<long>(random() % open.size()));
        bool commit = random() % 3 != 0;
        for (auto& d : model.disclosures) {
          if (d.reservation != chosen->first) continue;
          d.reservation = -1;
          d.time = commit ? clock.BootMicros() : INT64_MIN / 2;
        }
        if (commit) chosen->second.fit.reservation.Commit();
        open.erase(chosen);
      } else {
        clock.Advance(static_cast<int64_t>(random() % 9) * kSecond);
      }
      for (const BudgetLine& line : admission.Budget(payer)) {
        auto truth = static_cast<int64_t>(
            model.Held(line.scope, payer, line.window.per.count() * kSecond, clock.BootMicros()).size());
        ASSERT_EQ(line.used, truth) << "seed " << seed << " step " << step << " " << line.scope << " " << line.name;
      }
    }
  }
}

}  // namespace
}  // namespace ecluse
