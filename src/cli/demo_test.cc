#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <set>

#include "base/file.h"
#include "cli/demo_folder.h"
#include "cli/demo_load.h"
#include "cli/demo_postgres.h"
#include "cli/demo_prepare.h"
#include "cli/demo_register.h"
#include "cli/demo_words.h"
#include "policy/database.h"

namespace ecluse::demo {
namespace {

namespace fs = std::filesystem;

class DemoTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = (fs::temp_directory_path() / "ecluse-demo-test-XXXXXX").string();
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    folder_ = pattern;
    fs::permissions(folder_, fs::perms::owner_all | fs::perms::group_exec | fs::perms::others_exec);
  }
  void TearDown() override { fs::remove_all(folder_); }
  fs::path folder_;
};

std::string Content(const Shape& shape, const Table& table) {
  std::string out;
  for (int64_t unit = 1; unit <= table.units(shape); ++unit) table.rows(shape, unit, out);
  return out;
}

TEST(DemoRegisterTest, TheSameSeedGivesTheSameBytesAndAnotherSeedOthers) {
  Shape shape{.subjects = 300, .seed = 7}, other{.subjects = 300, .seed = 8};
  for (const Table& table : Tables()) {
    EXPECT_EQ(Content(shape, table), Content(shape, table)) << table.name;
    if (std::string_view(table.name) != "ref.offence")
      EXPECT_NE(Content(shape, table), Content(other, table)) << table.name;
  }
}

TEST(DemoRegisterTest, NirsAreUniqueWithARightKeyAndBelongToNobody) {
  Shape shape;
  std::set<std::string> seen;
  // Around the borders of the four blocks as well as at the start.
  for (int64_t base : {0LL, 4'699'000LL, 9'399'000LL, 14'099'000LL, kMaxSubjects - 20'000LL}) {
    for (int64_t id = base + 1; id <= base + 20'000; ++id) {
      std::string nir = Nir(shape, id);
      ASSERT_EQ(nir.size(), 15u);
      ASSERT_TRUE(seen.insert(nir).second) << id;
      int64_t digits = std::stoll(nir.substr(0, 13)), key = std::stoll(nir.substr(13));
      ASSERT_EQ(97 - digits % 97, key);
      int department = std::stoi(nir.substr(5, 2)), commune = std::stoi(nir.substr(7, 3));
      ASSERT_TRUE(department >= 1 && department <= 95 && department != 20) << nir;
      ASSERT_TRUE(commune >= 950 && commune <= 999) << nir;
    }
  }
}

TEST(DemoRegisterTest, PlatesAreUniqueAndNeverIssued) {
  std::set<std::string> seen;
  for (int64_t base : {0LL, 26'000'000LL, 49'900'000LL}) {
    for (int64_t number = base + 1; number <= base + 100'000; ++number) {
      std::string plate = Plate(number);
      ASSERT_EQ(plate.size(), 9u);
      ASSERT_TRUE(plate[0] == 'I' || plate[0] == 'O' || plate[0] == 'U') << plate;
      ASSERT_TRUE(seen.insert(plate).second) << number;
    }
  }
}

TEST(DemoRegisterTest, WordsDiffer) {
  std::set<std::string> families, towns;
  for (size_t i = 0; i < FamilyNames(); ++i) families.insert(FamilyName(i));
  for (size_t i = 0; i < Towns(); ++i) towns.insert(TownName(i));
  EXPECT_EQ(families.size(), FamilyNames());
  EXPECT_EQ(towns.size(), Towns());
}

TEST_F(DemoTest, APrivatePostgresIsMadeLoadedStoppedAndFoundAgain) {
  std::string home = (folder_ / "postgres").string();
  auto port = FreePort();
  ASSERT_TRUE(port);
  Shape shape{.subjects = 2'000, .seed = 3};
  std::string url;
  {
    auto server = PrivatePostgres::Start(home, "secret", *port);
    ASSERT_TRUE(server) << server.error().message << server.error().operator_detail;
    url = server->Url("postgres", "secret", "postgres");
    int64_t last = 0, of = 0;
    auto loaded = LoadRegister(url, shape, 2, [&](const std::string&, int64_t done, int64_t all) {
      last = done;
      of = all;
    });
    ASSERT_TRUE(loaded) << loaded.error().operator_detail;
    EXPECT_EQ(last, of) << "progress ends at its end";
    EXPECT_FALSE(Database::Connect(server->Url("postgres", "wrong", "postgres"))) << "the password is asked for";
  }
  EXPECT_FALSE(Database::Connect(url)) << "stopped with its owner";

  auto server = PrivatePostgres::Start(home, "ignored now", *port);
  ASSERT_TRUE(server) << server.error().operator_detail;
  auto database = Database::Connect(url);
  ASSERT_TRUE(database) << database.error().operator_detail;
  auto one = [&](const std::string& sql) {
    auto rows = database->Query(sql);
    return rows && rows->size() == 1 ? rows->Text(0, 0) : (rows ? "no row" : rows.error().operator_detail);
  };
  EXPECT_EQ(one("SELECT count(*) FROM taj.person"), "2000");
  EXPECT_EQ(one("SELECT count(*) FROM taj.\"case\" c WHERE NOT EXISTS (SELECT FROM taj.involvement i WHERE i.case_id = "
                "c.case_id)"),
            "0")
      << "every case is about somebody";
  EXPECT_EQ(one("SELECT nir FROM taj.person WHERE person_id = 42"), Nir(shape, 42));
  EXPECT_EQ(one("SELECT count(*) FROM lapi.sighting"), "4000");
  EXPECT_EQ(one("SELECT octet_length(photo) FROM taj.person WHERE photo IS NOT NULL LIMIT 1"), "64");
  EXPECT_EQ(one("INSERT INTO sia.permit (owner_id, kind, issued, expires) VALUES (1, 'sport', now(), now()) RETURNING "
                "permit_id"),
            "501");
}

TEST_F(DemoTest, TheFolderIsMadeOnceAndOnlyItsPortsChange) {
  std::string password;
  {
    auto folder = DemoFolder::Open(folder_ / "demo");
    ASSERT_TRUE(folder) << folder.error().message;
    password = folder->Password("alice");
    EXPECT_GE(password.size(), 16u);
    auto second = DemoFolder::Open(folder_ / "demo");
    ASSERT_FALSE(second);
    EXPECT_NE(second.error().message.find("another"), std::string::npos);
    ASSERT_TRUE(folder->WritePolicy({"/run/socket", 5555, 6432}));
    ASSERT_TRUE(folder->WriteAccounts());
  }
  auto folder = DemoFolder::Open(folder_ / "demo");
  ASSERT_TRUE(folder);
  EXPECT_EQ(folder->Password("alice"), password);
  EXPECT_EQ(folder->LastPlaces().database_port, 5555);
  EXPECT_EQ(folder->LastPlaces().sql_port, 6432);
  std::ofstream(folder->File("ecluse.yaml"), std::ios::app) << "# edited by hand\n";
  ASSERT_TRUE(folder->WritePolicy({"/run/other", 5556, 6433}));
  auto text = ReadWholeFile(RealFiles(), folder->File("ecluse.yaml"), 1'000'000);
  ASSERT_TRUE(text);
  EXPECT_EQ(*text, DemoPolicy({"/run/other", 5556, 6433}) + "# edited by hand\n");
  for (const char* secret : {"passwords", "gate.key", "root.key", "accounts.yaml"}) {
    EXPECT_EQ(fs::status(folder->File(secret)).permissions() & (fs::perms::group_all | fs::perms::others_all),
              fs::perms::none)
        << secret;
  }
}

TEST_F(DemoTest, ItsPolicyHoldsNoMistake) {
  std::string file = (folder_ / "ecluse.yaml").string();
  std::ofstream(file) << DemoPolicy({"/run/socket", 5555, 6432});
  std::vector<PolicyProblem> warnings;
  auto policy = LoadPolicy(file, &warnings);
  if (!policy) {
    for (const PolicyProblem& problem : policy.error()) ADD_FAILURE() << problem.mark.line << ": " << problem.message;
    return;
  }
  for (const DemoAccount& account : kAccounts) {
    ASSERT_TRUE((*policy)->roles.contains(account.role));
    EXPECT_TRUE((*policy)->roles.at(account.role).purposes.contains(account.purpose));
  }
}

TEST_F(DemoTest, IsPreparedOnceAndFoundAgain) {
  DemoWish wish{.folder = (folder_ / "demo").string(), .subjects = 500, .seed = {}, .sql_port = 0};
  std::string password, url;
  {
    auto demo = PrepareDemo(wish, nullptr);
    ASSERT_TRUE(demo) << demo.error().message << " " << demo.error().operator_detail;
    EXPECT_TRUE(demo->made);
    password = demo->folder.Password("camille");
    url = OwnerUrl(*demo);
    auto owner = Database::Connect(url);
    ASSERT_TRUE(owner) << owner.error().operator_detail;
    auto logins = owner->Query("SELECT rolname FROM pg_catalog.pg_roles WHERE rolname LIKE 'ecluse%' ORDER BY 1");
    ASSERT_TRUE(logins);
    ASSERT_EQ(logins->size(), 4) << "a login for each role of the policy, and the gate's own";
  }
  {
    auto demo = PrepareDemo({.folder = wish.folder, .subjects = {}, .seed = {}, .sql_port = {}}, nullptr);
    ASSERT_TRUE(demo) << demo.error().message << " " << demo.error().operator_detail;
    EXPECT_FALSE(demo->made);
    EXPECT_EQ(demo->shape.subjects, 500);
    EXPECT_EQ(demo->folder.Password("camille"), password);
    // As a crash while the register was being made would leave it.
    auto super = Database::Connect(demo->postgres.Url("postgres", demo->folder.Password("postgres"), kDatabase));
    ASSERT_TRUE(super);
    ASSERT_TRUE(super->Run("COMMENT ON DATABASE interior IS NULL; TRUNCATE lapi.sighting"));
  }
  {
    auto other = PrepareDemo({.folder = wish.folder, .subjects = 600, .seed = {}, .sql_port = {}}, nullptr);
    ASSERT_TRUE(other) << other.error().message << " " << other.error().operator_detail;
    EXPECT_TRUE(other->made);
    EXPECT_EQ(other->shape.subjects, 600);
  }
  auto wrong = PrepareDemo(wish, nullptr);
  ASSERT_FALSE(wrong);
  EXPECT_NE(wrong.error().message.find("600"), std::string::npos) << wrong.error().message;
}

}  // namespace
}  // namespace ecluse::demo
