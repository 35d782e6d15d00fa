#include "ledger/deletion.h"

#include <boost/json.hpp>
#include <numeric>

#include "base/limits.h"
#include "ledger/testing.h"

namespace ecluse {
namespace {

namespace json = boost::json;

Deletion Some(std::vector<std::string> people = {"4242", "17"}) {
  return {"taj.involvement", "person", std::move(people), 5, "retention of taj.involvement: old"};
}

TEST(Deletion, ComesBackAsItWasAskedFor) {
  const auto read = ReadDeletion(DeletionRequest(Some()));
  ASSERT_TRUE(read);
  EXPECT_EQ(read->table, "taj.involvement");
  EXPECT_EQ(read->space, "person");
  EXPECT_EQ(read->people, Some().people);
  EXPECT_EQ(read->rows, 5);
  EXPECT_EQ(read->reason, Some().reason);
}

TEST(Deletion, IsRefusedWhereItIsNone) {
  const auto refused = [](const char* member, const auto& value) {
    json::object request = DeletionRequest(Some());
    request[member] = json::value_from(value);
    return !ReadDeletion(request);
  };
  EXPECT_FALSE(refused("rows", 5));
  // What is said of keys is said by whoever destroys them.
  for (const char* reason : {"", "erased by key at noon", "old", "Retention of x", "retention of x\n"})
    EXPECT_TRUE(refused("reason", reason)) << reason;
  EXPECT_TRUE(refused("reason", "retention of " + std::string(limits::kEntryMember, 'x')));
  EXPECT_TRUE(refused("rows", -1));
  EXPECT_TRUE(refused("rows", "5"));
  EXPECT_TRUE(refused("table", ""));
  EXPECT_TRUE(refused("space", ""));
  EXPECT_TRUE(refused("people", json::array()));
  EXPECT_TRUE(refused("people", "4242"));
  EXPECT_TRUE(refused("people", json::array{1}));
  EXPECT_TRUE(refused("people", json::array{""}));
  EXPECT_TRUE(refused("people", json::array{std::string(limits::kSubjectId + 1, 'x')}));
  EXPECT_TRUE(refused("people", json::array(limits::kEntrySubjects + 1, "x")));
}

TEST(Deletion, IsSplitSoThatEachPartFitsARequestAndAnEntry) {
  // The longest of ids, as JSON writes them; and as many short ones as an entry does not hold.
  for (const size_t count : {1ul, 699ul, 700ul, 701ul, 5'000ul}) {
    for (const bool long_ids : {false, true}) {
      std::vector<std::string> people;
      for (size_t i = 0; i < count; ++i)
        people.push_back(std::to_string(i) + (long_ids ? std::string(limits::kSubjectId - 8, '\x01') : ""));
      const std::vector<Deletion> parts = SplitDeletion(Some(people));
      std::vector<std::string> all;
      for (const Deletion& part : parts) {
        EXPECT_EQ(part.rows, &part == &parts.back() ? 5 : 0);
        EXPECT_TRUE(ReadDeletion(DeletionRequest(part)));
        EXPECT_LT(json::serialize(DeletionRequest(part)).size() + limits::kEntryMember, limits::kControlRequest);
        all.insert(all.end(), part.people.begin(), part.people.end());
      }
      EXPECT_EQ(all, people);
    }
  }
}

TEST(Deletion, NamesPeopleInOneEntry) {
  LedgerFolder folder;
  auto ledger = folder.Open();
  const SubjectToken known = folder.TokenOf(*ledger, "17").value();
  ASSERT_TRUE(WriteDeletion(*ledger, folder.keys(), Some(), "ab12"));
  const auto erasures = OfKind(All(*ledger), "erasure");
  ASSERT_EQ(erasures.size(), 1u);
  const json::object entry = json::parse(erasures[0].json).as_object();
  EXPECT_EQ(entry.at("rows").as_int64(), 5);
  EXPECT_EQ(entry.at("door").as_string(), "command");
  EXPECT_EQ(entry.at("policy").as_string(), "ab12");
  EXPECT_EQ(entry.at("reason").as_string(), "retention of taj.involvement: old");
  const json::object subjects = json::parse(erasures[0].opened).at("subjects").at(0).as_object();
  EXPECT_EQ(subjects.at("table").as_string(), "taj.involvement");
  ASSERT_EQ(subjects.at("returned").as_array().size(), 2u);
  EXPECT_EQ(subjects.at("returned").at(1).as_string(), Base64UrlEncode(known));
  // Nobody has lost a key: they are the same as before.
  EXPECT_EQ(folder.TokenOf(*ledger, "17").value(), known);
}

}  // namespace
}  // namespace ecluse
