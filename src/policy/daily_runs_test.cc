#include "policy/daily_runs.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "base/limits.h"

namespace ecluse {
namespace {

using namespace std::chrono_literals;

constexpr int64_t kNow = 1'800'000'000'000'000, kHour = 3'600'000'000;
constexpr int64_t kDue = std::chrono::microseconds(limits::kDailyDue).count();

const TableName kPerson{"taj", "person"};

Policy Some() {
  Policy policy;
  policy.tables[kPerson].retention = {"born", 48h};
  policy.tables[{"taj", "case"}];
  return policy;
}

class Folder {
 public:
  Folder() { EXPECT_NE(mkdtemp(path_.data()), nullptr); }
  ~Folder() { std::filesystem::remove_all(path_); }
  const std::string& path() const { return path_; }
  void Write(const std::string& text) const { std::ofstream(path_ + "/retained") << text; }

 private:
  std::string path_ = "/tmp/ecluse-daily-XXXXXX";
};

TEST(DailyRuns, ComesBackAsItWasWritten) {
  const Folder folder;
  const auto none = ReadGoneThrough(RealFiles(), folder.path(), DailyRun::retain);
  ASSERT_TRUE(none);
  EXPECT_TRUE(none->empty());
  const GoneThroughTables tables{{kPerson, {kNow, 7, "born", 48h}}, {{"a.b", "\"c\""}, {0, 0, "é", 1s}}};
  ASSERT_TRUE(WriteGoneThrough(RealFiles(), folder.path(), DailyRun::retain, tables));
  const auto read = ReadGoneThrough(RealFiles(), folder.path(), DailyRun::retain);
  ASSERT_TRUE(read);
  ASSERT_EQ(read->size(), 2u);
  const GoneThrough& one = read->at(kPerson);
  EXPECT_EQ(one.time, kNow);
  EXPECT_EQ(one.left, 7);
  EXPECT_EQ(one.column, "born");
  EXPECT_EQ(one.keep, 48h);
  EXPECT_EQ(read->at({"a.b", "\"c\""}).column, "é");
}

TEST(DailyRuns, WhatIsNoNoteIsRefused) {
  const Folder folder;
  const std::string head = "ecluse retained v1\n";
  for (const std::string& bad :
       {std::string(), std::string("[]"), head, head + "{}", head + "[1]", head + "[{}]", head + "[",
        head + R"([{"schema":"a","table":"b","time":-1,"left":0,"column":"c","keep":1}])",
        head + R"([{"schema":"a","table":"b","time":1,"left":"0","column":"c","keep":1}])",
        head + R"([{"schema":"","table":"b","time":1,"left":0,"column":"c","keep":1}])"}) {
    folder.Write(bad);
    EXPECT_FALSE(ReadGoneThrough(RealFiles(), folder.path(), DailyRun::retain)) << bad;
  }
  folder.Write(head + R"([{"schema":"a","table":"b","time":1,"left":0,"column":"c","keep":1}])");
  EXPECT_TRUE(ReadGoneThrough(RealFiles(), folder.path(), DailyRun::retain));
}

TEST(DailyRuns, IsWarnedOfWhereItIsNotDone) {
  const auto warnings = [](const GoneThrough& one) { return RetentionWarnings(Some(), {{kPerson, one}}, kNow); };
  const auto never = RetentionWarnings(Some(), {}, kNow);
  ASSERT_EQ(never.size(), 1u);
  EXPECT_EQ(never[0],
            "taj.person keeps rows for 48h by born, and older ones were never looked for by that rule: run `ecluse "
            "retain`");
  EXPECT_EQ(warnings({kNow - kHour, 0, "born", 48h}).size(), 0u);
  EXPECT_EQ(warnings({kNow - kDue, 0, "born", 48h}).size(), 0u);
  ASSERT_EQ(warnings({kNow - kDue - 1, 0, "born", 48h}).size(), 1u);
  EXPECT_NE(warnings({kNow - kDue - 1, 0, "born", 48h})[0].find("looked for at 2027-01-1"), std::string::npos);
  EXPECT_EQ(warnings({kNow, 0, "born", 47h}), never);
  EXPECT_EQ(warnings({kNow, 0, "died", 48h}), never);
  ASSERT_EQ(warnings({kNow, 3, "born", 48h}).size(), 1u);
  EXPECT_NE(warnings({kNow, 3, "born", 48h})[0].find("and 3 older ones were left at"), std::string::npos);
}

TEST(DailyRuns, TablesInCompartmentsAreToBeShuffled) {
  const Folder folder;
  Policy policy = Some();
  policy.data_dir = folder.path();
  policy.tables[kPerson].compartment = "contact";
  const auto warnings = [&](int64_t now) {
    return ShuffleWarnings(policy, ReadGoneThrough(RealFiles(), folder.path(), DailyRun::shuffle).value(), now);
  };
  ASSERT_EQ(warnings(kNow).size(), 1u);
  EXPECT_EQ(warnings(kNow)[0],
            "taj.person is in the compartment contact, and its rows were never written in another order: run `ecluse "
            "shuffle`, once a day");
  ASSERT_TRUE(NoteShuffled(RealFiles(), policy, {kPerson, {"taj", "case"}}, kNow));
  EXPECT_EQ(ReadGoneThrough(RealFiles(), folder.path(), DailyRun::shuffle)->size(), 1u);
  EXPECT_TRUE(ReadGoneThrough(RealFiles(), folder.path(), DailyRun::retain)->empty());
  EXPECT_TRUE(warnings(kNow + kDue).empty());
  ASSERT_EQ(warnings(kNow + kDue + 1).size(), 1u);
  EXPECT_NE(warnings(kNow + kDue + 1)[0].find("at 2027-01-1"), std::string::npos);
  ASSERT_TRUE(NoteShuffled(RealFiles(), policy, {}, kNow + kHour));
  EXPECT_TRUE(warnings(kNow + kDue).empty());
  policy.tables[kPerson].compartment = std::string(kMainCompartment);
  ASSERT_TRUE(NoteShuffled(RealFiles(), policy, {}, kNow));
  EXPECT_TRUE(ReadGoneThrough(RealFiles(), folder.path(), DailyRun::shuffle)->empty());
}

}  // namespace
}  // namespace ecluse
