#include <gtest/gtest.h>
#include <sys/stat.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <thread>
#include <utility>

#include "base/bytes.h"
#include "base/file.h"
#include "base/limits.h"
#include "base/sim_files.h"
#include "vault/hmac.h"
#include "vault/key_changes.h"
#include "vault/keys.h"
#include "vault/ring_file.h"
#include "vault/vault_fixture_test.h"
#include "vault/xaes.h"

namespace ecluse {
namespace {

std::array<uint8_t, kXaesNonce> Nonce(std::string_view text) {
  std::array<uint8_t, kXaesNonce> nonce;
  std::copy_n(text.begin(), nonce.size(), nonce.begin());
  return nonce;
}

// The two published vectors of C2SP XAES-256-GCM: with the top bit of L clear and set.
TEST(Xaes, PublishedVectors) {
  auto nonce = Nonce("ABCDEFGHIJKLMNOPQRSTUVWX");
  Xaes one(Secret(std::string_view(std::string(32, '\x01'))));
  EXPECT_EQ(HexEncode(AsBytes(one.Seal(nonce, "XAES-256-GCM", ""))),
            "ce546ef63c9cc60765923609b33a9a1974e96e52daf2fcf7075e2271");
  Xaes three(Secret(std::string_view(std::string(32, '\x03'))));
  EXPECT_EQ(HexEncode(AsBytes(three.Seal(nonce, "XAES-256-GCM", "c2sp.org/XAES-256-GCM"))),
            "986ec1832593df5443a179437fd083bf3fdb41abd740a21f71eb769d");
}

TEST(Xaes, OpensOnlyWhatItSealed) {
  Xaes key(Secret(std::string_view(std::string(32, 'k'))));
  Xaes other(Secret(std::string_view(std::string(32, 'l'))));
  KeyId id{1, 2, 3, 4, 5, 6, 7, 8};
  for (std::string plain : {std::string(), std::string("x"), std::string(100'000, 'y')}) {
    std::string sealed = SealEnvelope(key, id, plain, "where");
    EXPECT_EQ(sealed.size(), plain.size() + kEnvelopeOverhead);
    EXPECT_EQ(EnvelopeKeyId(sealed), id);
    EXPECT_EQ(OpenEnvelope(key, sealed, "where"), plain);
    EXPECT_FALSE(OpenEnvelope(key, sealed, "elsewhere"));
    EXPECT_FALSE(OpenEnvelope(key, sealed, ""));
    EXPECT_FALSE(OpenEnvelope(other, sealed, "where"));
    for (size_t i : {size_t{0}, size_t{9}, size_t{20}, size_t{32}, sealed.size() - 17, sealed.size() - 1}) {
      std::string bent = sealed;
      bent[i] ^= 1;
      EXPECT_FALSE(OpenEnvelope(key, bent, "where")) << i;
    }
    for (size_t n = 0; n < std::min<size_t>(sealed.size(), 60); ++n)
      EXPECT_FALSE(OpenEnvelope(key, std::string_view(sealed).substr(0, n), "where") && n < sealed.size());
  }
  EXPECT_NE(SealEnvelope(key, id, "same", ""), SealEnvelope(key, id, "same", ""));
}

// RFC 4231, test cases 1, 2, 6.
TEST(Hmac, VectorsOfTheStandard) {
  auto sign = [](std::string_view key, std::initializer_list<std::string_view> parts) {
    uint8_t out[32];
    HmacKey(AsBytes(key)).Sign(parts, out);
    return HexEncode(out);
  };
  EXPECT_EQ(sign(std::string(20, '\x0b'), {"Hi ", "There"}),
            "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7");
  EXPECT_EQ(sign("Jefe", {"what do ya want ", "for nothing?"}),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
  EXPECT_EQ(sign(std::string(131, '\xaa'), {"Test Using Larger Than Block-Size Key - Hash Key First"}),
            "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
}

constexpr int64_t kDay = 86'400'000'000;

TEST_F(RingTest, RootKeyFileIsPrivateAndNeverReplaced) {
  struct stat st{};
  ASSERT_EQ(stat(root_.c_str(), &st), 0);
  EXPECT_EQ(st.st_mode & 0777, 0600u);
  auto again = KeyRing::Init(root_);
  ASSERT_FALSE(again);
  EXPECT_NE(again.error().message.find("never replaced"), std::string::npos);
}

TEST_F(RingTest, RefusesARootOthersMayRead) {
  for (mode_t mode : {0640, 0604, 0660}) {
    ASSERT_EQ(chmod(root_.c_str(), mode), 0);
    auto ring = KeyRing::Open(root_, data_);
    ASSERT_FALSE(ring);
    EXPECT_NE(ring.error().hint.find("chmod 600"), std::string::npos);
  }
  ASSERT_EQ(chmod(root_.c_str(), 0400), 0);
  EXPECT_TRUE(KeyRing::Open(root_, data_));
}

TEST_F(RingTest, RefusesARootInsideTheDataFolder) {
  EXPECT_FALSE(KeyRing::Open(root_, folder_));
  EXPECT_FALSE(KeyRing::Open(root_, folder_ + "/x/.."));
}

TEST_F(RingTest, SaysWhereARootIsMissingOrNone) {
  auto missing = KeyRing::Open(folder_ + "/none", data_);
  ASSERT_FALSE(missing);
  EXPECT_NE(missing.error().hint.find("ecluse keys init"), std::string::npos);
  for (const char* bad : {"", "ecluse root key v1\n", "ecluse root key v1\nAAAA\n", "something else\n"}) {
    ASSERT_TRUE(ReplaceFile(RealFiles(), root_, bad));
    EXPECT_FALSE(KeyRing::Open(root_, data_)) << bad;
  }
}

TEST_F(RingTest, AnotherRootIsNamedAsSuch) {
  Open();
  ASSERT_TRUE(KeyRing::Init(folder_ + "/other.key"));
  auto ring = KeyRing::Open(folder_ + "/other.key", data_);
  ASSERT_FALSE(ring);
  EXPECT_NE(ring.error().message.find("wrapped under root key"), std::string::npos);
}

void WriteSecret(const std::string& path, const std::string& line) {
  ASSERT_TRUE(ReplaceFile(RealFiles(), path, line + "\n"));
}

TEST_F(RingTest, ARootUnderAPassphrase) {
  RootSource source(folder_ + "/sealed.key");
  source.passphrase_file = folder_ + "/word";
  EXPECT_FALSE(KeyRing::Init(source, true)) << "there is no such file";
  WriteSecret(source.passphrase_file, "too short");
  EXPECT_FALSE(KeyRing::Init(source, true));
  WriteSecret(source.passphrase_file, "several words of no sentence");
  ASSERT_EQ(chmod(source.passphrase_file.c_str(), 0644), 0);
  EXPECT_FALSE(KeyRing::Init(source, true)) << "others may read it";
  ASSERT_EQ(chmod(source.passphrase_file.c_str(), 0600), 0);
  EXPECT_FALSE(std::filesystem::exists(source.file));
  ASSERT_TRUE(KeyRing::Init(source, true));
  EXPECT_FALSE(KeyRing::Init(source, true)) << "never replaced";

  std::string sealed;
  {
    auto ring = KeyRing::Open(source, data_);
    ASSERT_TRUE(ring) << ring.error().message;
    sealed = (*ring)->SealForDay(kFirstOfMay, "secret", "where").value();
  }
  {
    auto ring = KeyRing::Open(source, data_);
    ASSERT_TRUE(ring) << ring.error().message;
    EXPECT_EQ((*ring)->OpenForDay(sealed, "where").value(), "secret");
  }
  WriteSecret(source.passphrase_file, "several words of no sentences");
  auto wrong = KeyRing::Open(source, data_);
  ASSERT_FALSE(wrong);
  EXPECT_NE(wrong.error().message.find("does not open with this passphrase"), std::string::npos);
  WriteSecret(source.passphrase_file, "several words of no sentence");

  const std::string good = ReadWholeFile(RealFiles(), source.file, 10'000).value();
  EXPECT_EQ(good.find("several words"), std::string::npos);
  const size_t cost = good.find("scrypt 17 8 1 ");
  ASSERT_NE(cost, std::string::npos);
  const size_t key = good.find('\n', cost) + 1;
  for (const size_t at : {size_t{3}, size_t{30}, cost + 8, cost + 10, cost + 20, key + 2, key + 30, good.size() - 3}) {
    std::string bent = good;
    bent[at] = bent[at] == 'A' ? 'B' : 'A';
    ASSERT_TRUE(ReplaceFile(RealFiles(), source.file, bent));
    EXPECT_FALSE(KeyRing::Open(source, data_)) << at;
  }
  for (const char* cheap :
       {"scrypt 10 8 1 ", "scrypt 17 1 1 ", "scrypt 63 8 1 ", "scrypt -1 8 1 ", "scrypt 17 8 ", "pbkdf 17 8 1 "}) {
    std::string bent = good;
    bent.replace(cost, 14, cheap);
    ASSERT_TRUE(ReplaceFile(RealFiles(), source.file, bent));
    auto ring = KeyRing::Open(source, data_);
    ASSERT_FALSE(ring);
    EXPECT_NE(ring.error().message.find("is not a root key file"), std::string::npos) << cheap;
  }
  source.file = root_;
  auto bare = KeyRing::Open(source, data_);
  ASSERT_FALSE(bare);
  EXPECT_NE(bare.error().message.find("under none"), std::string::npos);
}

// SoftHSM 2 with a token of the test's own.
class TokenTest : public RingTest {
 protected:
  void SetUp() override {
    RingTest::SetUp();
    ASSERT_TRUE(std::filesystem::exists(kModule)) << "softhsm2 is among the packages of the tests";
    std::filesystem::create_directory(folder_ + "/tokens");
    std::ofstream(folder_ + "/softhsm2.conf") << "directories.tokendir = " << folder_ << "/tokens\nlog.level = ERROR\n";
    ASSERT_EQ(setenv("SOFTHSM2_CONF", (folder_ + "/softhsm2.conf").c_str(), 1), 0);
    MakeToken("ecluse");
    source_ = Source("ecluse");
  }
  void MakeToken(const std::string& label) {
    ASSERT_EQ(
        std::system(
            ("softhsm2-util --init-token --free --label " + label + " --pin 4711 --so-pin 4712 >/dev/null").c_str()),
        0);
  }
  RootSource Source(const std::string& label, const std::string& pin = "4711") {
    RootSource source;
    source.module = kModule;
    source.token = label;
    source.pin_file = folder_ + "/pin-" + pin;
    WriteSecret(source.pin_file, pin);
    return source;
  }
  static constexpr const char* kModule = "/usr/lib/softhsm/libsofthsm2.so";
  RootSource source_;
};

// A key that somebody else may know is no root, whatever it is called.
TEST_F(TokenTest, AKeyThatWasPutThereIsNoRoot) {
  WriteSecret(folder_ + "/known", std::string(31, 'k'));  // and a line feed: 32 bytes
  ASSERT_EQ(std::system(("softhsm2-util --import " + folder_ +
                         "/known --aes --token ecluse --pin 4711 --label 'ecluse root key' --id 0102030405060708 "
                         ">/dev/null")
                            .c_str()),
            0);
  const auto made = KeyRing::Init(source_);
  const auto opened = KeyRing::Open(source_, data_);
  ASSERT_TRUE(!made && !opened);
  for (const Error& refused : {made.error(), opened.error()})
    EXPECT_NE(refused.message.find("was not made by"), std::string::npos) << refused.message;
}

TEST_F(TokenTest, ANewRootStandsBesideTheFormerUntilThatIsDestroyed) {
  const std::vector<std::string> names = {"main"};
  const auto key_of = [&]() -> std::string {
    auto ring = KeyRing::Open(source_, data_, nullptr, names);
    return ring ? std::string(Secret((*ring)->Compartment("main")->current().key.key()).text()) : ring.error().message;
  };
  ASSERT_TRUE(KeyRing::Init(source_));
  const std::string key = key_of(), path = data_ + "/keys/ring";
  const std::string former = ReadWholeFile(RealFiles(), path, 10'000).value();
  KeyChanges changes(source_, data_);
  EXPECT_TRUE(changes.TokenRoots()->others.empty());
  ASSERT_TRUE(changes.RenewRoot(false));
  const std::string now = ReadWholeFile(RealFiles(), path, 10'000).value();
  EXPECT_NE(RootOf(now), RootOf(former));
  EXPECT_EQ(key_of(), key);
  const auto others = changes.TokenRoots().value().others;
  ASSERT_EQ(others, std::vector{HexEncode(*RootOf(former))});
  ASSERT_TRUE(ReplaceFile(RealFiles(), path, former));  // a copy from before opens while the token has its root
  EXPECT_EQ(key_of(), key);
  EXPECT_EQ(changes.TokenRoots().value().others, std::vector{HexEncode(*RootOf(now))});
  ASSERT_TRUE(ReplaceFile(RealFiles(), path, now));

  // Without a ring nobody can tell which one is meant, and none is made.
  ASSERT_TRUE(RealFiles().Remove(path));
  const auto which = KeyRing::Open(source_, data_);
  ASSERT_FALSE(which);
  EXPECT_NE(which.error().message.find("holds 2 root keys"), std::string::npos) << which.error().message;
  ASSERT_TRUE(ReplaceFile(RealFiles(), path, now));

  for (const std::string& wrong : {HexEncode(*RootOf(now)), std::string("0123456789abcdef"), std::string("x")})
    EXPECT_FALSE(changes.DestroyRoot(wrong, [] { return Status(); })) << wrong;
  EXPECT_EQ(key_of(), key);
  ASSERT_TRUE(changes.DestroyRoot(others[0], [] { return Status(); }));
  EXPECT_TRUE(changes.TokenRoots()->others.empty());
  EXPECT_EQ(key_of(), key);
  ASSERT_TRUE(ReplaceFile(RealFiles(), path, former));
  EXPECT_NE(key_of().find("wrapped under root key"), std::string::npos);
  ASSERT_TRUE(ReplaceFile(RealFiles(), path, now));
  for (size_t i = 1; i < limits::kTokenRoots; ++i) ASSERT_TRUE(changes.RenewRoot(false)) << i;
  const auto full = changes.RenewRoot(false);
  ASSERT_FALSE(full);
  EXPECT_NE(full.error().message.find("holds 16 root keys"), std::string::npos) << full.error().message;
  EXPECT_EQ(key_of(), key);
}

// Whatever a failed call or a power cut leaves opens, and holds the same keys.
TEST_F(TokenTest, EveryFaultOfARenewalLeavesARingThatOpens) {
  const std::vector<std::string> names = {"main"};
  ASSERT_TRUE(KeyRing::Init(source_));
  source_.generations = "/etc/generations";
  const std::string pin = std::exchange(source_.pin_file, "/etc/pin");
  const auto keys_of = [&](SimFiles& files) {
    auto ring = KeyRing::Open(source_, "/data", &files, names);
    return ring ? std::string(Secret((*ring)->Compartment("main")->current().key.key()).text()) : ring.error().message;
  };
  for (const bool power : {false, true}) {
    for (const auto kind : {SimFault::Kind::error, SimFault::Kind::short_write, SimFault::Kind::kill}) {
      for (uint64_t at = 1;; ++at) {
        ASSERT_LT(at, 200u);
        SimFiles files;
        ASSERT_TRUE(files.MakeDirectory("/etc"));
        ASSERT_TRUE(ReplaceFile(files, "/etc/pin", "4711\n"));
        const std::string key = keys_of(files);
        ASSERT_EQ(key.size(), kXaesKey) << key;
        files.Restart(false, 0);
        files.Arm({kind, at});
        (void)KeyChanges(source_, "/data", &files).RenewRoot(false);
        const bool hit = files.hit();
        files.Restart(power, static_cast<uint32_t>(at));
        EXPECT_EQ(keys_of(files), key) << at;
        KeyChanges changes(source_, "/data", &files);
        ASSERT_TRUE(changes.RenewRoot(false)) << at;
        EXPECT_EQ(keys_of(files), key) << at;
        const auto others = changes.TokenRoots().value().others;
        EXPECT_GE(others.size(), 1u);
        for (const std::string& id : others) ASSERT_TRUE(changes.DestroyRoot(id, [] { return Status(); })) << at;
        if (!hit) break;
      }
    }
  }
}

TEST_F(TokenTest, HoldsTheRootAndKeepsIt) {
  auto none = KeyRing::Open(source_, data_);
  ASSERT_FALSE(none);
  EXPECT_NE(none.error().hint.find("ecluse keys init"), std::string::npos);
  ASSERT_TRUE(KeyRing::Init(source_));
  EXPECT_FALSE(KeyRing::Init(source_)) << "never replaced";
  std::string sealed;
  {
    auto ring = KeyRing::Open(source_, data_);
    ASSERT_TRUE(ring) << ring.error().message;
    sealed = (*ring)->SealForDay(kFirstOfMay, "secret", "where").value();
  }
  auto ring = KeyRing::Open(source_, data_);
  ASSERT_TRUE(ring) << ring.error().message;
  EXPECT_EQ((*ring)->OpenForDay(sealed, "where").value(), "secret");

  auto wrong = KeyRing::Open(Source("ecluse", "0815"), data_);
  ASSERT_FALSE(wrong);
  EXPECT_EQ(wrong.error().sqlstate, "28000");
  EXPECT_NE(wrong.error().message.find("PIN"), std::string::npos);
  auto absent = KeyRing::Open(Source("gone"), data_);
  ASSERT_FALSE(absent);
  EXPECT_NE(absent.error().message.find("no tokens are called"), std::string::npos);
  RootSource no_library = source_;
  no_library.module = folder_ + "/none.so";
  EXPECT_FALSE(KeyRing::Open(no_library, data_));
  no_library.module = "/usr/lib/x86_64-linux-gnu/libz.so.1";
  EXPECT_FALSE(KeyRing::Open(no_library, data_)) << "a library of another kind";

  MakeToken("other");
  ASSERT_TRUE(KeyRing::Init(Source("other")));
  auto other = KeyRing::Open(Source("other"), data_);
  ASSERT_FALSE(other);
  EXPECT_NE(other.error().message.find("wrapped under root key"), std::string::npos);
  auto file = KeyRing::Open(root_, data_);
  ASSERT_FALSE(file);
  EXPECT_NE(file.error().message.find("wrapped under root key"), std::string::npos);

  const std::string path = data_ + "/keys/ring", good = ReadWholeFile(RealFiles(), path, 10'000).value();
  const size_t line = good.find("kek gate ");
  for (const size_t at : {line + 30, line + 45, line + 60, line + 90}) {
    std::string bent = good;
    bent[at] = bent[at] == 'A' ? 'B' : 'A';
    ASSERT_TRUE(ReplaceFile(RealFiles(), path, bent));
    EXPECT_FALSE(KeyRing::Open(source_, data_)) << at;
  }
}

TEST_F(RingTest, DataFolderOthersMayEnterIsRefused) {
  Open();
  ASSERT_EQ(chmod(data_.c_str(), 0750), 0);
  EXPECT_FALSE(KeyRing::Open(root_, data_));
}

TEST_F(RingTest, DayKeysSealAndOpenAcrossRestarts) {
  std::string monday, tuesday;
  {
    auto ring = Open();
    std::vector<std::string> made;
    ring->OnKeyMade([&](const KeyInfo& info) { made.push_back(info.kind + " " + info.name); });
    monday = ring->SealForDay(kFirstOfMay, "on the first", "entry 1").value();
    ring->SealForDay(kFirstOfMay + 1, "again", "").value();
    tuesday = ring->SealForDay(kFirstOfMay + kDay, "on the second", "entry 2").value();
    EXPECT_EQ(made, (std::vector<std::string>{"day 2024-05-01", "day 2024-05-02"}));
  }
  auto ring = Open();
  ring->OnKeyMade([](const KeyInfo&) { FAIL() << "no key had to be made"; });
  EXPECT_EQ(ring->OpenForDay(monday, "entry 1").value(), "on the first");
  EXPECT_EQ(ring->OpenForDay(tuesday, "entry 2").value(), "on the second");
  EXPECT_FALSE(ring->OpenForDay(tuesday, "entry 1"));
  EXPECT_EQ(ring->List()->size(), 7u);
  ring->SealForDay(kFirstOfMay, "same day, same key", "").value();
  std::filesystem::remove(data_ + "/keys/days/2024-05-02");
  auto later = Open();
  auto gone = later->OpenForDay(tuesday, "entry 2");
  ASSERT_FALSE(gone);
  EXPECT_NE(gone.error().message.find("2024-05-02"), std::string::npos);
  EXPECT_EQ(later->OpenForDay(monday, "entry 1").value(), "on the first");
}

TEST_F(RingTest, ADayKeyIsWrappedForGateAndAuditors) {
  Open()->SealForDay(kFirstOfMay, "x", "").value();
  auto text = ReadWholeFile(RealFiles(), data_ + "/keys/days/2024-05-01", 10'000).value();
  EXPECT_NE(text.find("\nday 2024-05-01 "), std::string::npos);
  EXPECT_NE(text.find("\nauditors 2024-05-01 "), std::string::npos);
}

TEST_F(RingTest, WrapsSecretsForOneUseOnly) {
  auto wrapped = Open()->Wrap("password", "login a").value();
  EXPECT_EQ(Open()->Unwrap(wrapped, "login a").value(), "password");
  EXPECT_FALSE(Open()->Unwrap(wrapped, "login b"));
  EXPECT_FALSE(Open()->Unwrap("", "login a"));
}

TEST_F(RingTest, PeopleAreKnownStablyAndApart) {
  auto key = [](KeyRing& ring, const char* space, const char* id) {
    std::array<uint8_t, 16> out;
    ring.SubjectKey(space, id, out.data());
    return out;
  };
  auto name = [](KeyRing& ring, const char* role, const char* id) {
    std::array<uint8_t, 16> out;
    ring.Pseudonym(role, "person", id, out.data());
    return out;
  };
  auto a = Open();
  auto b = Open();
  EXPECT_EQ(key(*a, "person", "1"), key(*b, "person", "1"));
  EXPECT_NE(key(*a, "person", "1"), key(*a, "person", "2"));
  EXPECT_NE(key(*a, "person", "1"), key(*a, "plate", "1"));
  EXPECT_EQ(name(*a, "officer", "1"), name(*b, "officer", "1"));
  EXPECT_NE(name(*a, "officer", "1"), name(*a, "clerk", "1"));
  EXPECT_NE(name(*a, "officer", "1"), key(*a, "person", "1"));
}

TEST_F(RingTest, ThreadsShareOneKeyOfTheDay) {
  auto ring = Open();
  std::atomic<int> made = 0;
  ring->OnKeyMade([&](const KeyInfo&) { ++made; });
  std::vector<std::thread> threads;
  for (int t = 0; t < 8; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 100; ++i) {
        auto sealed = ring->SealForDay(kFirstOfMay, "x", "a");
        ASSERT_EQ(ring->OpenForDay(*sealed, "a").value(), "x");
      }
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(made, 1);
}

}  // namespace
}  // namespace ecluse
