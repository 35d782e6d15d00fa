#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdlib>
#include <filesystem>
#include <mutex>
#include <set>
#include <thread>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/parallel.h"
#include "base/random.h"
#include "base/secret.h"

namespace ecluse {
namespace {

std::string Text(const std::optional<std::vector<uint8_t>>& bytes) {
  return bytes ? std::string(bytes->begin(), bytes->end()) : "(refused)";
}

// RFC 4648, section 10.
TEST(Bytes, Base64VectorsOfTheStandard) {
  const std::pair<const char*, const char*> vectors[] = {{"", ""},
                                                         {"f", "Zg=="},
                                                         {"fo", "Zm8="},
                                                         {"foo", "Zm9v"},
                                                         {"foob", "Zm9vYg=="},
                                                         {"fooba", "Zm9vYmE="},
                                                         {"foobar", "Zm9vYmFy"}};
  for (auto [plain, coded] : vectors) {
    EXPECT_EQ(Base64Encode(AsBytes(plain)), coded);
    EXPECT_EQ(Text(Base64Decode(coded)), plain);
  }
}

TEST(Bytes, Base64RefusesWhatIsNotTheOneSpelling) {
  for (const char* bad : {"Zg", "Zg=", "Zh==", "Zm9=", "Zg==Zg==", "Z===", "====", "Zm 9", "Zm9v\n", "Zm9-"})
    EXPECT_EQ(Text(Base64Decode(bad)), "(refused)") << bad;
  for (const char* bad : {"Z", "Zh", "Zg==", "Zm9vY", "+A"}) EXPECT_EQ(Text(Base64UrlDecode(bad)), "(refused)") << bad;
}

TEST(Random, NoBytesAreGivenOutTwice) {
  std::set<std::array<uint8_t, 16>> seen;
  std::mutex mutex;
  const auto draw = [&] {
    for (int i = 0; i < 5'000; ++i) {
      std::array<uint8_t, 16> bytes;
      RandomBytes(bytes);
      std::lock_guard lock(mutex);
      EXPECT_TRUE(seen.insert(bytes).second);
    }
  };
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) threads.emplace_back(draw);
  for (auto& thread : threads) thread.join();
  draw();
}

TEST(Random, AChildProcessGivesOutOthersThanItsParent) {
  std::array<uint8_t, 16> mine{}, theirs{};
  RandomBytes(mine);  // what is made together is there now
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  const pid_t child = fork();
  if (child == 0) {
    RandomBytes(theirs);
    _exit(write(ends[1], theirs.data(), theirs.size()) == 16 ? 0 : 1);
  }
  RandomBytes(mine);
  EXPECT_EQ(read(ends[0], theirs.data(), theirs.size()), 16);
  int status = -1;
  waitpid(child, &status, 0);
  EXPECT_EQ(status, 0);
  EXPECT_NE(mine, theirs);
  close(ends[0]);
  close(ends[1]);
}

TEST(Parallel, EachIsDoneOnceAndTheFirstFailureIsTold) {
  for (const size_t count : {0, 1, 7, 31, 1'000, 10'000}) {
    std::vector<std::atomic<int>> done(count);
    std::array<std::atomic<int>, 8> inside{};
    EXPECT_TRUE(ForEachInParallel(count, 8, [&](size_t i, unsigned thread) -> Status {
      EXPECT_EQ(inside.at(thread).fetch_add(1), 0) << "two threads of one number";
      ++done[i];
      inside.at(thread).fetch_sub(1);
      return {};
    }));
    EXPECT_TRUE(std::ranges::all_of(done, [](const auto& times) { return times == 1; })) << count;
  }
  for (int round = 0; round < 50; ++round) {
    const Status failed = ForEachInParallel(1'000, 8, [&](size_t i, unsigned) -> Status {
      if (i % 100 == 37) return Fail(sqlstate::kIo, std::to_string(i), {}, "test");
      return {};
    });
    ASSERT_FALSE(failed);
    EXPECT_EQ(failed.error().message, "37") << "of those before it none had begun in vain";
  }
}

TEST(Bytes, UrlAlphabetGoesBothWaysAtEveryLength) {
  for (size_t n = 0; n < 70; ++n) {
    std::vector<uint8_t> bytes(n);
    RandomBytes(bytes);
    EXPECT_EQ(Base64UrlDecode(Base64UrlEncode(bytes)), bytes);
    EXPECT_EQ(Base64Decode(Base64Encode(bytes)), bytes);
    EXPECT_EQ(HexDecode(HexEncode(bytes)), bytes);
  }
  EXPECT_EQ(Base64UrlEncode(std::vector<uint8_t>{0xFB, 0xFF}), "-_8");
  EXPECT_EQ(HexEncode(std::vector<uint8_t>{0x00, 0xAF}), "00af");
  EXPECT_FALSE(HexDecode("0"));
  EXPECT_FALSE(HexDecode("0g"));
}

TEST(Secret, MovesAndComparesWholly) {
  Secret a(std::string_view("abc"));
  Secret b = std::move(a);
  EXPECT_EQ(b.text(), "abc");
  a = Secret(std::string_view("x"));
  EXPECT_EQ(a.text(), "x");
  EXPECT_TRUE(ConstantTimeEqual(b.bytes(), AsBytes("abc")));
  EXPECT_FALSE(ConstantTimeEqual(b.bytes(), AsBytes("abd")));
  EXPECT_FALSE(ConstantTimeEqual(b.bytes(), AsBytes("abcd")));
}

TEST(Clock, FakeMovesAsTold) {
  FakeClock clock(100, 10);
  clock.Advance(5);
  clock.StepWall(-50);
  EXPECT_EQ(clock.WallMicros(), 55);
  EXPECT_EQ(clock.BootMicros(), 15);
}

TEST(Clock, MachineClockIsUtcMicroseconds) {
  EXPECT_NEAR(static_cast<double>(SystemClock().WallMicros()), static_cast<double>(time(nullptr)) * 1e6, 5e6);
  EXPECT_GT(SystemClock().BootMicros(), 0);
}

TEST(Printable, EscapesWhatCouldForgeALine) {
  EXPECT_EQ(Printable("Lefèvre"), "Lefèvre");
  EXPECT_EQ(Printable("a\nb\x1b[2J\x7f"), "a\\x0ab\\x1b[2J\\x7f");
  EXPECT_EQ(Printable("\\x0a"), "\\\\x0a");                 // an escape cannot be forged either
  EXPECT_EQ(Printable("\xC3"), "\\xc3");                    // cut short
  EXPECT_EQ(Printable("\xED\xA0\x80"), "\\xed\\xa0\\x80");  // a surrogate
  EXPECT_EQ(Printable("\xC0\x8A"), "\\xc0\\x8a");           // overlong line feed
  EXPECT_EQ(Printable("\xC2\x85"), "\\xc2\\x85");           // next line, a C1 control
  EXPECT_EQ(Printable("\xE2\x80\xA8"), "\\xe2\\x80\\xa8");  // line separator
  EXPECT_EQ(Printable(std::string_view("\0", 1)), "\\x00");
}

class FileTest : public testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/ecluse-file-XXXXXX";
    folder_ = mkdtemp(name);
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }
  std::string folder_;
};

TEST_F(FileTest, WritesReadsSyncsAndLooks) {
  auto file = RealFiles().Open(folder_ + "/a", OpenMode::create);
  ASSERT_TRUE(file);
  EXPECT_EQ((*file)->WriteAt(3, AsBytes("xyz")).value(), 3u);
  EXPECT_TRUE((*file)->SyncData());
  uint8_t read[10];
  EXPECT_EQ((*file)->ReadAt(0, read).value(), 6u);
  EXPECT_EQ(read[2], 0);
  EXPECT_EQ(read[5], 'z');
  auto info = (*file)->Info();
  EXPECT_EQ(info->size, 6u);
  EXPECT_EQ(info->links, 1u);
  EXPECT_EQ(info->mode, 0600u);
  EXPECT_TRUE(RealFiles().Remove(folder_ + "/a"));
  EXPECT_EQ((*file)->Info()->links, 0u);
}

TEST_F(FileTest, CreateNeverTakesWhatIsThere) {
  ASSERT_TRUE(ReplaceFile(RealFiles(), folder_ + "/a", "one"));
  auto again = RealFiles().Open(folder_ + "/a", OpenMode::create);
  ASSERT_FALSE(again);
  EXPECT_EQ(again.error().sqlstate, "58030");
  EXPECT_EQ(again.error().message.find(folder_), std::string::npos) << "paths are for the operator";
  EXPECT_NE(again.error().operator_detail.find(folder_), std::string::npos);
}

TEST_F(FileTest, ReplaceSurvivesALeftOver) {
  ASSERT_TRUE(ReplaceFile(RealFiles(), folder_ + "/a.new", "left over by a crash"));
  ASSERT_TRUE(ReplaceFile(RealFiles(), folder_ + "/a", "one"));
  ASSERT_TRUE(ReplaceFile(RealFiles(), folder_ + "/a", "two"));
  EXPECT_EQ(ReadWholeFile(RealFiles(), folder_ + "/a", 100).value(), "two");
  EXPECT_FALSE(ReadWholeFile(RealFiles(), folder_ + "/a", 2));
  EXPECT_EQ(RealFiles().List(folder_).value(), std::vector<std::string>{"a"});
}

TEST_F(FileTest, OneHoldsALockAtATime) {
  auto first = RealFiles().Open(folder_ + "/lock", OpenMode::lock);
  auto second = RealFiles().Open(folder_ + "/lock", OpenMode::lock);
  EXPECT_TRUE((*first)->TryLock().value());
  EXPECT_FALSE((*second)->TryLock().value());
  first->reset();
  EXPECT_TRUE((*second)->TryLock().value());
}

TEST_F(FileTest, MissingIsNotAnError) {
  EXPECT_FALSE(RealFiles().Find(folder_ + "/no").value().has_value());
  EXPECT_TRUE(RealFiles().MakeDirectory(folder_ + "/sub"));
  EXPECT_TRUE(RealFiles().MakeDirectory(folder_ + "/sub"));
  EXPECT_EQ(RealFiles().Find(folder_ + "/sub").value()->mode, 0700u);
}

TEST(Log, KeepsItsOwnDescriptorAndOneLineAnEvent) {
  int pipe_ends[2];
  ASSERT_EQ(pipe(pipe_ends), 0);
  pid_t child = fork();
  if (child == 0) {
    dup2(pipe_ends[1], 2);
    Log().warn("first {}", 1);
    close(2);  // as a library that silences standard error does
    Log().error("second\nline");
    _exit(0);
  }
  close(pipe_ends[1]);
  std::string seen;
  char chunk[512];
  for (ssize_t n; (n = read(pipe_ends[0], chunk, sizeof chunk)) > 0;) seen.append(chunk, static_cast<size_t>(n));
  close(pipe_ends[0]);
  EXPECT_NE(seen.find("Z warning first 1\n"), std::string::npos) << seen;
  EXPECT_NE(seen.find("Z error second line\n"), std::string::npos) << seen;
  EXPECT_EQ(std::count(seen.begin(), seen.end(), '\n'), 2);
}

}  // namespace
}  // namespace ecluse
