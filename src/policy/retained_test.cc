#include "policy/retained.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "base/limits.h"

namespace ecluse {
namespace {

using namespace std::chrono_literals;

constexpr int64_t kNow = 1'800'000'000'000'000, kHour = 3'600'000'000;
constexpr int64_t kDue = std::chrono::microseconds(limits::kRetainDue).count();

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
  std::string path_ = "/tmp/ecluse-retained-XXXXXX";
};

TEST(Retained, ComesBackAsItWasWritten) {
  const Folder folder;
  const auto none = ReadRetained(RealFiles(), folder.path());
  ASSERT_TRUE(none);
  EXPECT_TRUE(none->empty());
  const RetainedTables tables{{kPerson, {kNow, 7, "born", 48h}}, {{"a.b", "\"c\""}, {0, 0, "é", 1s}}};
  ASSERT_TRUE(WriteRetained(RealFiles(), folder.path(), tables));
  const auto read = ReadRetained(RealFiles(), folder.path());
  ASSERT_TRUE(read);
  ASSERT_EQ(read->size(), 2u);
  const Retained& one = read->at(kPerson);
  EXPECT_EQ(one.time, kNow);
  EXPECT_EQ(one.left, 7);
  EXPECT_EQ(one.column, "born");
  EXPECT_EQ(one.keep, 48h);
  EXPECT_EQ(read->at({"a.b", "\"c\""}).column, "é");
}

TEST(Retained, WhatIsNoNoteIsRefused) {
  const Folder folder;
  const std::string head = "ecluse retained v1\n";
  for (const std::string& bad :
       {std::string(), std::string("[]"), head, head + "{}", head + "[1]", head + "[{}]", head + "[",
        head + R"([{"schema":"a","table":"b","time":-1,"left":0,"column":"c","keep":1}])",
        head + R"([{"schema":"a","table":"b","time":1,"left":"0","column":"c","keep":1}])",
        head + R"([{"schema":"","table":"b","time":1,"left":0,"column":"c","keep":1}])"}) {
    folder.Write(bad);
    EXPECT_FALSE(ReadRetained(RealFiles(), folder.path())) << bad;
  }
  folder.Write(head + R"([{"schema":"a","table":"b","time":1,"left":0,"column":"c","keep":1}])");
  EXPECT_TRUE(ReadRetained(RealFiles(), folder.path()));
}

TEST(Retained, IsWarnedOfWhereItIsNotDone) {
  const auto warnings = [](const Retained& one) { return RetentionWarnings(Some(), {{kPerson, one}}, kNow); };
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

}  // namespace
}  // namespace ecluse
