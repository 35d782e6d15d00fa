#include "pgwire/stream.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/deferred.hpp>
#include <cerrno>
#include <cstring>
#include <vector>

#include "base/check.h"

namespace ecluse {
namespace asio = boost::asio;

namespace {

// Buffers that no stream of this thread holds at the moment. Bounded, so that a burst does not keep its memory.
class BufferPool {
 public:
  ~BufferPool() {
    for (char* chunk : chunks_) delete[] chunk;
  }
  char* TakeChunk() {
    if (chunks_.empty()) return new char[limits::kReadChunk];
    char* chunk = chunks_.back();
    chunks_.pop_back();
    return chunk;
  }
  void GiveChunk(char* chunk) {
    if (chunks_.size() >= limits::kPooledBuffers) {
      delete[] chunk;
    } else {
      chunks_.push_back(chunk);
    }
  }
  void TakeOut(std::string& out) {
    if (outs_.empty()) {
      out.reserve(limits::kIdleBuffer);
      return;
    }
    out.swap(outs_.back());
    outs_.pop_back();
  }
  void GiveOut(std::string& out) {
    out.clear();
    if (out.capacity() > limits::kPooledOut || outs_.size() >= limits::kPooledBuffers) {
      std::string().swap(out);
    } else {
      outs_.emplace_back().swap(out);
    }
  }

 private:
  std::vector<char*> chunks_;
  std::vector<std::string> outs_;
};

thread_local BufferPool buffer_pool;

}  // namespace

// Outlives its stream by as long as a timer's handler is on its way.
struct Stream::Watchdog {
  Watchdog(const asio::any_io_executor& executor, Stream* owner) : timer(executor), stream(owner) {}
  asio::steady_timer timer;
  Stream* stream;
  Deadline armed = kNoDeadline;
};

Stream::Stream(Socket socket) : socket_(std::move(socket)) {
  boost::system::error_code ignored;
  socket_.native_non_blocking(true, ignored);
  int on = 1;  // fails harmlessly on Unix sockets
  setsockopt(socket_.native_handle(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  setsockopt(socket_.native_handle(), SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
}

Stream::~Stream() {
  Close();
  if (watchdog_) {
    watchdog_->stream = nullptr;
    watchdog_->timer.cancel();
  }
}

void Stream::ReleaseBuffer() {
  if (buffer_ == nullptr) return;
  if (capacity_ == limits::kReadChunk) {
    buffer_pool.GiveChunk(buffer_);
  } else {
    delete[] buffer_;
  }
  buffer_ = nullptr;
  capacity_ = begin_ = end_ = 0;
}

// Room for at least one byte after end_. Doubling follows what has arrived: an announced length costs nothing.
void Stream::MakeRoom() {
  if (buffer_ == nullptr) {
    buffer_ = buffer_pool.TakeChunk();
    capacity_ = limits::kReadChunk;
  }
  if (begin_ == end_) begin_ = end_ = 0;
  if (capacity_ - end_ >= capacity_ / 4) return;
  if (begin_ >= capacity_ / 4) {
    std::memmove(buffer_, buffer_ + begin_, end_ - begin_);
    end_ -= begin_;
    begin_ = 0;
    return;
  }
  if (end_ < capacity_) return;
  uint32_t size = end_ - begin_, capacity = capacity_ * 2;
  char* larger = new char[capacity];
  std::memcpy(larger, buffer_ + begin_, size);
  ReleaseBuffer();
  buffer_ = larger;
  capacity_ = capacity;
  end_ = size;
}

Io Stream::SocketFailed(const char* what) {
  int error = errno;
  if (error == EAGAIN || error == EWOULDBLOCK) return Io::would_block;
  failure_ = std::string(what) + ": " + std::strerror(error);
  return error == ECONNRESET || error == EPIPE || error == ENOTCONN ? Io::closed : Io::failed;
}

Io Stream::ReadSome() {
  size_t room = capacity_ - end_;
  if (ssl_ != nullptr) {
    int got = TlsRead(buffer_ + end_, room);
    if (got > 0) {
      end_ += static_cast<uint32_t>(got);
      return Io::ok;
    }
    return TlsFailed(got, "read", &read_wants_);
  }
  while (true) {
    ssize_t got = recv(socket_.native_handle(), buffer_ + end_, room, 0);
    if (got > 0) {
      end_ += static_cast<uint32_t>(got);
      drained_ = static_cast<size_t>(got) < room;
      return Io::ok;
    }
    drained_ = got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK);
    if (got == 0) return Io::closed;
    if (errno != EINTR) return SocketFailed("read");
  }
}

Io Stream::TryFill() {
  if (!open_) return Io::closed;
  MakeRoom();
  Io io = ReadSome();
  if (begin_ == end_) ReleaseBuffer();
  return io;
}

Io Stream::Interrupted() const {
  if (!open_) return Io::closed;
  return timed_out_ ? Io::timed_out : Io::cancelled;
}

asio::awaitable<Io> Stream::Fill() {
  // A wait is armed anew each time, so bytes that came since the last read end it at once.
  Io io = drained_ && open_ ? Io::would_block : TryFill();
  while (io == Io::would_block) {
    if (timed_out_ || !open_) co_return Interrupted();
    if (begin_ == end_) ReleaseBuffer();
    auto [error] = co_await socket_.async_wait(read_wants_, asio::as_tuple(asio::deferred));
    if (error || !open_) co_return Interrupted();
    io = TryFill();
  }
  co_return io;
}

asio::awaitable<Io> Stream::WaitReadable() {
  if (timed_out_ || !open_) co_return Interrupted();
  if (begin_ == end_) ReleaseBuffer();
  auto [error] = co_await socket_.async_wait(Socket::wait_read, asio::as_tuple(asio::deferred));
  co_return error || !open_ ? Interrupted() : Io::ok;
}

Io Stream::PeekSocket() {
  if (!open_) return Io::closed;
  if (begin_ != end_) return Io::ok;
  char byte = 0;
  ssize_t got = recv(socket_.native_handle(), &byte, 1, MSG_PEEK | MSG_DONTWAIT);
  if (got == 0) return Io::closed;
  return got > 0 ? Io::ok : SocketFailed("read");
}

std::string& Stream::TakeOut() {
  buffer_pool.TakeOut(out_);
  return out_;
}

void Stream::ReleaseOut() {
  sent_ = 0;
  if (out_.capacity() > kInline) buffer_pool.GiveOut(out_);
}

Io Stream::WriteSome() {
  const char* from = out_.data() + sent_;
  size_t size = out_.size() - sent_;
  if (ssl_ != nullptr) {
    int put = TlsWrite(from, size);
    if (put <= 0) return TlsFailed(put, "write", &write_wants_);
    sent_ += static_cast<size_t>(put);
    return Io::ok;
  }
  while (true) {
    ssize_t put = send(socket_.native_handle(), from, size, MSG_NOSIGNAL);
    if (put >= 0) {
      sent_ += static_cast<size_t>(put);
      return Io::ok;
    }
    if (errno != EINTR) return SocketFailed("write");
  }
}

Io Stream::TryFlush() {
  if (!open_) return Io::closed;
  while (sent_ < out_.size()) {
    if (Io io = WriteSome(); io != Io::ok) {
      if (sent_ > out_.size() / 2) {
        out_.erase(0, sent_);
        sent_ = 0;
      }
      return io;
    }
  }
  ReleaseOut();
  return Io::ok;
}

asio::awaitable<Io> Stream::Flush() {
  Io io = TryFlush();
  while (io == Io::would_block) {
    if (timed_out_ || !open_) co_return Interrupted();
    auto [error] = co_await socket_.async_wait(write_wants_, asio::as_tuple(asio::deferred));
    if (error || !open_) co_return Interrupted();
    io = TryFlush();
  }
  co_return io;
}

void Stream::SetDeadline(Deadline deadline) {
  deadline_ = deadline;
  timed_out_ = false;
  if (deadline == kNoDeadline || !open_) return;
  if (!watchdog_) watchdog_ = std::make_shared<Watchdog>(socket_.get_executor(), this);
  if (deadline < watchdog_->armed) ArmWatchdog();
}

void Stream::ArmWatchdog() {
  watchdog_->armed = deadline_;
  watchdog_->timer.expires_at(deadline_);
  watchdog_->timer.async_wait([watchdog = watchdog_](const boost::system::error_code& error) {
    if (!error && watchdog->stream != nullptr) watchdog->stream->WatchdogFired();
  });
}

// A deadline that was moved later leaves the timer as it was: it is set again when it fires too early.
void Stream::WatchdogFired() {
  watchdog_->armed = kNoDeadline;
  if (deadline_ == kNoDeadline || !open_) return;
  if (std::chrono::steady_clock::now() < deadline_) return ArmWatchdog();
  timed_out_ = true;
  Cancel();
}

void Stream::Cancel() {
  boost::system::error_code ignored;
  socket_.cancel(ignored);
}

void Stream::Close() {
  if (!open_) return;
  open_ = false;
  TlsEnd();
  boost::system::error_code ignored;
  socket_.close(ignored);
  if (watchdog_) watchdog_->timer.cancel();
  ReleaseBuffer();
  ReleaseOut();
}

Error IoError(Io io, const Stream& stream, std::string_view who) {
  Error error{"08006",   {}, "Connect again; if it happens again, ask the operator to look at the gate's log.",
              "wire.io", {}, 0};
  error.operator_detail = stream.failure();
  std::string name(who);
  switch (io) {
    case Io::timed_out:
      error.message = name + " did not answer in time";
      break;
    case Io::cancelled:
      error.message = "waiting for " + name + " was given up";
      break;
    case Io::failed:
      error.message = "the connection to " + name + " failed";
      break;
    case Io::ok:
    case Io::would_block:
    case Io::closed:
      error.message = name + " closed the connection";
      break;
  }
  return error;
}

}  // namespace ecluse
