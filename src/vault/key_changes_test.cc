#include "vault/key_changes.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "base/bytes.h"
#include "base/file.h"
#include "base/sim_files.h"
#include "vault/root_key.h"
#include "vault/vault_fixture_test.h"
#include "vault/xaes.h"

namespace ecluse {
namespace {

TEST_F(RingTest, CompartmentsHaveKeysOfTheirOwn) {
  const std::vector<std::string> first = {"main", "contact"}, more = {"contact", "health"};
  const auto open = [&](std::span<const std::string> names) { return KeyRing::Open(root_, data_, nullptr, names); };
  KeyId id;
  std::string sealed, link;
  {
    auto ring = open(first);
    ASSERT_TRUE(ring) << ring.error().message;
    const auto main = (*ring)->Compartment("main");
    const auto contact = (*ring)->Compartment("contact");
    ASSERT_TRUE(main != nullptr && contact != nullptr);
    EXPECT_EQ((*ring)->Compartment("health"), nullptr);
    std::set<std::string> all;
    for (const auto& one : {main, contact})
      all.insert({std::string(Secret(one->current().key.key()).text()), std::string(one->search.text()),
                  std::string(one->link.text())});
    EXPECT_EQ(all.size(), 6u);
    id = main->current().id;
    sealed = SealEnvelope(main->current().key, id, "value", "");
    link = main->link.text();
    EXPECT_EQ(contact->Find(id), nullptr);
  }
  EXPECT_EQ(Open()->Compartment("health"), nullptr) << "none is made where none is asked for";
  for (const std::string& name : {std::string("a b"), std::string(), std::string("a\nb")}) {
    EXPECT_FALSE(open(std::vector<std::string>{name})) << name;
    EXPECT_TRUE(Open()) << "the ring is as it was";
  }
  EXPECT_FALSE(open(std::vector<std::string>{"twice", "twice"}));
  EXPECT_TRUE(Open());
  auto ring = open(more);
  ASSERT_TRUE(ring) << ring.error().message;
  ASSERT_TRUE((*ring)->Compartment("health") != nullptr && (*ring)->Compartment("contact") != nullptr);
  const auto main = (*ring)->Compartment("main");
  ASSERT_TRUE(main != nullptr && main->Find(id) != nullptr);
  EXPECT_EQ(OpenEnvelope(*main->Find(id), sealed, ""), "value");
  EXPECT_EQ(main->link.text(), link);
  EXPECT_EQ(main->Find(KeyId{}), nullptr);
  size_t listed = 0;
  for (const KeyInfo& info : (*ring)->List().value()) listed += info.name == "health" ? 1 : 0;
  EXPECT_EQ(listed, 4u) << "compartment, data, search, link";
}

// A line more or less than a compartment has, or another's.
TEST_F(RingTest, ACompartmentIsWholeOrRefused) {
  const std::vector<std::string> names = {"main", "contact"};
  ASSERT_TRUE(KeyRing::Open(root_, data_, nullptr, names));
  const std::string path = data_ + "/keys/ring", good = ReadWholeFile(RealFiles(), path, 20'000).value();
  const auto refused = [&](const std::string& text) {
    EXPECT_TRUE(ReplaceFile(RealFiles(), path, text));
    return !KeyRing::Open(root_, data_);
  };
  EXPECT_FALSE(refused(good));
  EXPECT_TRUE(refused(good.substr(0, good.size() - 1))) << "what is added would stand on the last line";
  for (const char* kind : {"\ncompartment main ", "\ndata main ", "\nsearch main ", "\nlink main ", "\nkek gate "}) {
    const size_t at = good.find(kind) + 1, end = good.find('\n', at) + 1;
    ASSERT_GT(at, 1u);
    const std::string line = good.substr(at, end - at);
    EXPECT_TRUE(refused(good.substr(0, at) + good.substr(end))) << kind;
    EXPECT_TRUE(refused(good + line)) << kind << "twice";
    // The key of another compartment, or of another kind, in its place: each opens where it belongs alone.
    const std::string_view words(line);
    const std::string_view own = words.substr(words.find(' ', words.find(' ') + 1));  // id and key
    for (const char* other : {"\ncompartment contact ", "\ndata contact ", "\nsearch contact ", "\nlink main "}) {
      const size_t there = good.find(other) + std::string_view(other).size() - 1;
      const std::string theirs = good.substr(there, good.find('\n', there) + 1 - there);
      if (theirs == own) continue;
      EXPECT_TRUE(refused(good.substr(0, end - own.size()) + theirs + good.substr(end))) << kind << other;
    }
  }
}

TEST_F(RingTest, ANewDataKeySealsAndTheFormerOneStillOpens) {
  const std::vector<std::string> names = {"main", "contact"};
  auto ring = KeyRing::Open(root_, data_, nullptr, names);
  ASSERT_TRUE(ring);
  const auto before = (*ring)->Compartment("main");
  const std::string sealed = SealEnvelope(before->current().key, before->current().id, "value", "");
  std::vector<std::string> told;
  (*ring)->OnKeyMade([&](const KeyInfo& info) { told.push_back(info.kind + " " + info.name + " " + info.id); });
  const std::vector<std::string> one = {"main"}, unknown = {"main", "health"};
  auto keys = KeyChanges(root_, data_).AddDataKeys(one);
  ASSERT_TRUE(keys && keys->size() == 1) << keys.error().message;
  const KeyInfo* made = &keys->front();
  EXPECT_EQ((*ring)->Compartment("main"), before) << "nothing changes before it is taken";
  EXPECT_EQ((*ring)->TakeRing(), 1u);
  EXPECT_EQ(told, std::vector<std::string>{"data main " + made->id});
  EXPECT_EQ((*ring)->TakeRing(), 0u);
  EXPECT_EQ(told.size(), 1u);
  for (const auto& after : {(*ring)->Compartment("main"), Open()->Compartment("main")}) {
    EXPECT_EQ(HexEncode(after->current().id), made->id);
    ASSERT_NE(after->Find(before->current().id), nullptr);
    EXPECT_EQ(OpenEnvelope(*after->Find(before->current().id), sealed, ""), "value");
    EXPECT_EQ(after->search.text(), before->search.text());
  }
  EXPECT_EQ(OpenEnvelope(before->current().key, sealed, ""), "value") << "whoever holds the former goes on with them";
  EXPECT_FALSE(KeyChanges(root_, data_).AddDataKeys(unknown));
  EXPECT_EQ((*ring)->TakeRing(), 0u) << "none of them, where one cannot be made";
  EXPECT_EQ(KeyChanges(root_, data_).AddDataKeys(names).value().size(), 2u);
  EXPECT_EQ((*ring)->TakeRing(), 2u);
  ASSERT_TRUE(KeyRing::Init(folder_ + "/other.key"));
  EXPECT_FALSE(KeyChanges(folder_ + "/other.key", data_).AddDataKeys(one));
}

TEST_F(RingTest, ADestroyedDataKeyIsGoneAndTheOneThatSealsIsKept) {
  const std::vector<std::string> names = {"main", "contact"};
  auto ring = KeyRing::Open(root_, data_, nullptr, names);
  const KeyId first = (*ring)->Compartment("main")->current().id;
  KeyChanges changes(root_, data_);
  EXPECT_FALSE(changes.DestroyDataKey(HexEncode(first)));
  ASSERT_TRUE(changes.AddDataKeys(std::vector<std::string>{"main"}));
  EXPECT_FALSE(changes.DestroyDataKey("0011223344556677"));
  EXPECT_FALSE(changes.DestroyDataKey(""));
  for (const KeyInfo& info : Open()->List().value()) {
    if (info.kind == "data" && info.id == HexEncode(first)) continue;
    EXPECT_FALSE(changes.DestroyDataKey(info.id)) << info.kind << " " << info.name;
  }
  EXPECT_TRUE(changes.DestroyDataKey(HexEncode(first)));
  EXPECT_EQ(Open()->Compartment("main")->Find(first), nullptr);
  EXPECT_TRUE(Open()->Compartment("contact") != nullptr);
  // Under a ring that is open none goes, whoever took it away: the only copy may be the one in memory.
  EXPECT_FALSE((*ring)->TakeRing());
  EXPECT_NE((*ring)->Compartment("main")->Find(first), nullptr);
}

TEST_F(RingTest, ANewRootLeavesTheFormerRingOfNoUse) {
  const std::vector<std::string> names = {"main"};
  auto ring = KeyRing::Open(root_, data_, nullptr, names);
  const auto keys = (*ring)->Compartment("main");
  auto sealed = (*ring)->SealForDay(kFirstOfMay, "said", "");
  const std::string former_ring = ReadWholeFile(RealFiles(), data_ + "/keys/ring", 20'000).value();
  std::filesystem::copy_file(root_, folder_ + "/former.key");
  ASSERT_TRUE(KeyChanges(root_, data_).RenewRoot(false));
  EXPECT_FALSE(std::filesystem::exists(root_ + ".next"));
  EXPECT_EQ((*ring)->TakeRing(), 1u) << "the compartment's key-encryption key";
  auto after = Open();
  ASSERT_TRUE(after);
  EXPECT_EQ(after->OpenForDay(*sealed, ""), "said");
  EXPECT_EQ(after->Compartment("main")->current().id, keys->current().id);
  EXPECT_TRUE(std::ranges::equal(after->Compartment("main")->current().key.key(), keys->current().key.key()));
  EXPECT_FALSE(KeyRing::Open(folder_ + "/former.key", data_));
  // What the new ring holds opens nothing of the former one but through the former root.
  for (const char* kind : {"\ndata main ", "\nlink main "}) {
    const auto line = [&](const std::string& text) {
      const size_t at = text.find(kind) + 1;
      return text.substr(at, text.find('\n', at) + 1 - at);
    };
    std::string mixed = ReadWholeFile(RealFiles(), data_ + "/keys/ring", 20'000).value();
    const std::string own = line(mixed);
    ASSERT_NE(own, line(former_ring));
    mixed.replace(mixed.find(own), own.size(), line(former_ring));
    const std::string good = ReadWholeFile(RealFiles(), data_ + "/keys/ring", 20'000).value();
    ASSERT_TRUE(ReplaceFile(RealFiles(), data_ + "/keys/ring", mixed));
    EXPECT_FALSE(KeyRing::Open(root_, data_)) << kind;
    ASSERT_TRUE(ReplaceFile(RealFiles(), data_ + "/keys/ring", good));
  }
}

// Whatever a failed call or a power cut leaves, running it again finishes it, and no key is lost.
TEST(KeyChanges, EveryFaultLeavesARingThatOpensOrIsFinished) {
  const std::vector<std::string> names = {"main"};
  const auto keys_of = [&](SimFiles& files) {
    auto ring = KeyRing::Open("/etc/root.key", "/data", &files, names);
    return ring ? std::string(Secret((*ring)->Compartment("main")->current().key.key()).text()) : std::string();
  };
  for (const bool power : {false, true}) {
    for (const auto kind : {SimFault::Kind::error, SimFault::Kind::short_write, SimFault::Kind::kill}) {
      for (uint64_t at = 1;; ++at) {
        ASSERT_LT(at, 200u);
        SimFiles files;
        ASSERT_TRUE(files.MakeDirectory("/etc"));
        ASSERT_TRUE(MakeRoot(files, "/etc/root.key", false));
        const std::string key = keys_of(files);
        ASSERT_FALSE(key.empty());
        files.Restart(false, 0);
        files.Arm({kind, at});
        const bool done = KeyChanges("/etc/root.key", "/data", &files).RenewRoot(false).has_value();
        const bool hit = files.hit();
        files.Restart(power, static_cast<uint32_t>(at));
        const std::string then = keys_of(files);
        if (done) EXPECT_EQ(then, key) << at;
        if (then.empty()) {
          auto why = KeyRing::Open("/etc/root.key", "/data", &files);
          ASSERT_FALSE(why);
          EXPECT_NE(why.error().hint.find("rotate --root"), std::string::npos) << at << " " << why.error().message;
        }
        ASSERT_TRUE(KeyChanges("/etc/root.key", "/data", &files).RenewRoot(false)) << at;
        EXPECT_EQ(keys_of(files), key) << at;
        if (!hit) break;
      }
    }
  }
}

TEST_F(RingTest, ARunningGateTakesNoOtherSearchKey) {
  const std::vector<std::string> names = {"main"};
  auto running = KeyRing::Open(root_, data_, nullptr, names);
  ASSERT_TRUE(running);
  const std::string held((*running)->Compartment("main")->search.text());
  KeyChanges changes(root_, data_);
  ASSERT_TRUE(changes.BeginSearchKeys(names, {}));
  EXPECT_FALSE((*running)->TakeRing());
  ASSERT_TRUE(changes.EndSearchKeys());
  EXPECT_FALSE((*running)->TakeRing()) << "the one it searches by is gone";
  EXPECT_EQ((*running)->Compartment("main")->search.text(), held);
}

TEST_F(RingTest, ASearchKeyIsRenewedInTwoSteps) {
  const std::vector<std::string> names = {"main", "contact"}, unlinked = {"main"};
  const auto keys = [&](const char* name) {
    auto ring = KeyRing::Open(root_, data_, nullptr, names);
    EXPECT_TRUE(ring) << ring.error().message;
    return (*ring)->Compartment(name);
  };
  const auto main = keys("main"), contact = keys("contact");
  EXPECT_FALSE(main->renewing);
  KeyChanges changes(root_, data_);
  ASSERT_TRUE(changes.EndSearchKeys()) << "nothing was begun";
  EXPECT_EQ(keys("main")->search_id, main->search_id);
  auto running = KeyRing::Open(root_, data_, nullptr, names);
  ASSERT_TRUE(running);
  const auto made = changes.BeginSearchKeys(names, unlinked);
  ASSERT_TRUE(made) << made.error().message;
  ASSERT_EQ(made->size(), 3u) << "search of both, link of one";
  EXPECT_TRUE(changes.BeginSearchKeys(names, unlinked).value().empty()) << "it is gone on with";
  const auto between = keys("main");
  EXPECT_TRUE(between->renewing && keys("contact")->renewing);
  EXPECT_NE(between->search_id, main->search_id);
  EXPECT_NE(between->search.text(), main->search.text());
  const auto taken = (*running)->TakeRing();
  ASSERT_FALSE(taken) << "a gate that runs searches by the former tokens";
  EXPECT_NE(taken.error().message.find("searched under"), std::string::npos);
  EXPECT_TRUE(changes.RenewRoot(false)) << "both are wrapped anew";
  EXPECT_EQ(keys("main")->search.text(), between->search.text());
  ASSERT_TRUE(changes.EndSearchKeys());
  const auto after = keys("main"), other = keys("contact");
  EXPECT_FALSE(after->renewing || other->renewing);
  EXPECT_EQ(after->search.text(), between->search.text());
  EXPECT_EQ(after->search_id, between->search_id);
  EXPECT_NE(after->link.text(), main->link.text());
  EXPECT_EQ(other->link.text(), contact->link.text());
  EXPECT_NE(other->search.text(), contact->search.text());
  EXPECT_NE(other->search.text(), after->search.text());
  size_t lines = 0;
  auto ring = KeyRing::Open(root_, data_, nullptr, names);
  for (const KeyInfo& info : (*ring)->List().value()) lines += info.kind == "search" || info.kind == "link" ? 1 : 0;
  EXPECT_EQ(lines, 4u) << "the former ones are gone";
}

TEST_F(RingTest, EveryDamagedByteOfTheRingRefuses) {
  const std::vector<std::string> names = {"main"};
  ASSERT_TRUE(KeyRing::Open(root_, data_, nullptr, names));
  auto good = ReadWholeFile(RealFiles(), data_ + "/keys/ring", 10'000).value();
  for (size_t i = 0; i < good.size(); ++i) {
    std::string bad = good;
    bad[i] = bad[i] == 'A' ? 'B' : 'A';
    ASSERT_TRUE(ReplaceFile(RealFiles(), data_ + "/keys/ring", bad));
    EXPECT_FALSE(KeyRing::Open(root_, data_)) << "byte " << i;
  }
}

TEST_F(RingTest, AMissingRingIsNotMadeAnewOverALedger) {
  Open()->SealForDay(kFirstOfMay, "x", "").value();
  std::filesystem::remove(data_ + "/keys/ring");
  auto ring = KeyRing::Open(root_, data_);
  ASSERT_FALSE(ring);
  EXPECT_NE(ring.error().message.find("missing"), std::string::npos);
}

}  // namespace
}  // namespace ecluse
