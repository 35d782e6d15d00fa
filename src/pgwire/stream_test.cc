#include "pgwire/stream.h"

#include <gtest/gtest.h>
#include <sys/socket.h>

#include "base/test_coroutine.h"

namespace ecluse {
namespace {

namespace asio = boost::asio;
using namespace std::chrono_literals;
using namespace std::string_literals;

// Two streams joined by a Unix socket pair.
class StreamTest : public testing::Test {
 protected:
  StreamTest() {
    int fds[2];
    EXPECT_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    for (int i = 0; i < 2; ++i) {
      Stream::Socket socket(io);
      socket.assign(asio::generic::stream_protocol(AF_UNIX, 0), fds[i]);
      (i == 0 ? near : far) = std::make_unique<Stream>(std::move(socket));
    }
  }
  asio::io_context io;
  std::unique_ptr<Stream> near, far;
};

asio::awaitable<Io> Send(Stream* stream, std::string bytes) {
  stream->out() += bytes;
  co_return co_await stream->Flush();
}

// The next frame's payload, or a word for why there is none.
asio::awaitable<std::string> Receive(Stream* stream) {
  pg::Frame frame;
  while (true) {
    switch (stream->TryNext(&frame)) {
      case pg::FrameState::frame:
        co_return std::string(frame.payload);
      case pg::FrameState::violation:
        co_return "violation";
      case pg::FrameState::need_more:
        break;
    }
    switch (co_await stream->Fill()) {
      case Io::ok:
        break;
      case Io::closed:
        co_return "closed";
      case Io::timed_out:
        co_return "timed out";
      case Io::cancelled:
        co_return "cancelled";
      default:
        co_return "failed";
    }
  }
}

asio::awaitable<void> SplitEverywhere(Stream* near, Stream* far) {
  std::string bytes;
  pg::WriteQuery(bytes, "select 1");
  pg::WriteQuery(bytes, "");
  for (size_t cut = 0; cut <= bytes.size(); ++cut) {
    EXPECT_EQ(co_await Send(near, bytes.substr(0, cut)), Io::ok);
    far->TryFill();
    EXPECT_EQ(co_await Send(near, bytes.substr(cut)), Io::ok);
    EXPECT_EQ(co_await Receive(far), "select 1\0"s);
    EXPECT_EQ(co_await Receive(far), "\0"s);
    pg::Frame frame;
    EXPECT_EQ(far->TryNext(&frame), pg::FrameState::need_more);
    EXPECT_EQ(far->TryFill(), Io::would_block);
  }
}

TEST_F(StreamTest, MessagesSplitAnywhere) { RunCoroutine(io, SplitEverywhere(near.get(), far.get())); }

asio::awaitable<void> SendMuch(Stream* stream, int messages, size_t size, Io* outcome) {
  for (int i = 0; i < messages; ++i) {
    pg::WriteCopyData(stream->out(), std::string(size, static_cast<char>('a' + i % 26)));
    if (stream->over_high_water()) co_await stream->Flush();
  }
  *outcome = co_await stream->Flush();
}

asio::awaitable<void> ReceiveMuch(Stream* near, Stream* far, int messages, size_t size) {
  Io outcome = Io::failed;
  far->set_frame_cap(size);
  asio::co_spawn(co_await asio::this_coro::executor, SendMuch(near, messages, size, &outcome), asio::detached);
  for (int i = 0; i < messages; ++i) {
    EXPECT_EQ(co_await Receive(far), std::string(size, static_cast<char>('a' + i % 26)));
  }
  EXPECT_EQ(outcome, Io::ok);
  EXPECT_FALSE(near->has_output());
}

TEST_F(StreamTest, MessagesOfEverySizeArriveWhole) {
  for (size_t size : {1, 5, 16'000, 16'379, 16'380, 17'000, 70'000, 3'000'000}) {
    RunCoroutine(io, ReceiveMuch(near.get(), far.get(), 7, size));
  }
  RunCoroutine(io, ReceiveMuch(near.get(), far.get(), 3'000, 700));
}

asio::awaitable<void> OverCap(Stream* near, Stream* far) {
  far->set_frame_cap(100);
  co_await Send(near, "Q\0\0\0\x69"s);
  EXPECT_EQ(co_await Receive(far), "violation");
}

TEST_F(StreamTest, AnAnnouncedLengthOverTheCapIsAViolationAtOnce) { RunCoroutine(io, OverCap(near.get(), far.get())); }

asio::awaitable<void> Held(Stream* near, Stream* far) {
  std::string bytes;
  for (const char* text : {"one", "two", "three"}) pg::WriteQuery(bytes, text);
  co_await Send(near, bytes);
  EXPECT_EQ(co_await far->Fill(), Io::ok);
  pg::Frame one, two, peeked;
  EXPECT_EQ(far->TryNext(&one), pg::FrameState::frame);
  EXPECT_EQ(far->Peek(&peeked), pg::FrameState::frame);
  EXPECT_EQ(far->TryNext(&two), pg::FrameState::frame);
  EXPECT_EQ(one.payload, "one\0"s);
  EXPECT_EQ(two.payload, "two\0"s);
  EXPECT_EQ(peeked.payload.data(), two.payload.data());
}

TEST_F(StreamTest, ViewsOfOneFillLiveTogether) { RunCoroutine(io, Held(near.get(), far.get())); }

asio::awaitable<void> PeerGoes(Stream* near, Stream* far) {
  co_await Send(near, "Q\0"s);
  near->Close();
  EXPECT_EQ(co_await Receive(far), "closed");
  far->out() += "x";
  EXPECT_EQ(co_await far->Flush(), Io::closed);
  EXPECT_EQ(co_await near->Fill(), Io::closed);
}

TEST_F(StreamTest, APeerThatGoesInTheMiddle) { RunCoroutine(io, PeerGoes(near.get(), far.get())); }

asio::awaitable<void> WaitFor(Stream* stream, std::string* outcome) { *outcome = co_await Receive(stream); }

asio::awaitable<void> Interrupts(Stream* stream) {
  auto executor = co_await asio::this_coro::executor;
  std::string outcome;
  stream->SetDeadline(std::chrono::steady_clock::now() + 30ms);
  EXPECT_EQ(co_await Receive(stream), "timed out");
  EXPECT_EQ(co_await Receive(stream), "timed out") << "a deadline stays passed";

  // Moved further away, it does not fire at its first time; moved nearer, it does not wait for it.
  stream->SetDeadline(std::chrono::steady_clock::now() + 30ms);
  stream->SetDeadline(std::chrono::steady_clock::now() + 120ms);
  auto start = std::chrono::steady_clock::now();
  EXPECT_EQ(co_await Receive(stream), "timed out");
  EXPECT_GE(std::chrono::steady_clock::now() - start, 110ms);
  stream->SetDeadline(std::chrono::steady_clock::now() + 1h);
  stream->SetDeadline(std::chrono::steady_clock::now() + 10ms);
  EXPECT_EQ(co_await Receive(stream), "timed out");

  stream->SetDeadline(Stream::kNoDeadline);
  asio::co_spawn(executor, WaitFor(stream, &outcome), asio::detached);
  co_await Pause(20ms);
  stream->Cancel();
  co_await Pause(20ms);
  EXPECT_EQ(outcome, "cancelled");
  EXPECT_TRUE(stream->open());

  asio::co_spawn(executor, WaitFor(stream, &outcome), asio::detached);
  co_await Pause(20ms);
  stream->Close();
  co_await Pause(20ms);
  EXPECT_EQ(outcome, "closed");
  stream->Close();
}

TEST_F(StreamTest, DeadlineCancelAndCloseEndAWait) { RunCoroutine(io, Interrupts(near.get())); }

asio::awaitable<void> SlowReader(Stream* near) {
  near->out() += std::string(8'000'000, 'x');
  near->SetDeadline(std::chrono::steady_clock::now() + 50ms);
  EXPECT_EQ(co_await near->Flush(), Io::timed_out);
  EXPECT_TRUE(near->over_high_water());
}

TEST_F(StreamTest, AReaderThatDoesNotReadRunsIntoTheDeadline) { RunCoroutine(io, SlowReader(near.get())); }

asio::awaitable<void> Watches(Stream* near, Stream* far) {
  EXPECT_EQ(far->PeekSocket(), Io::would_block);
  co_await Send(near, "S\0\0\0\4"s);
  EXPECT_EQ(co_await far->WaitReadable(), Io::ok);
  EXPECT_EQ(far->PeekSocket(), Io::ok);
  EXPECT_EQ(far->buffered(), "") << "nothing was taken";
  EXPECT_EQ(co_await Receive(far), "");
  near->Close();
  EXPECT_EQ(co_await far->WaitReadable(), Io::ok);
  EXPECT_EQ(far->PeekSocket(), Io::closed);
}

TEST_F(StreamTest, WatchesASilentPeerWithoutTaking) { RunCoroutine(io, Watches(near.get(), far.get())); }

}  // namespace
}  // namespace ecluse
