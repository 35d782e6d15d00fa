// One connection as a stream of messages: TCP or a Unix socket, in clear or upgraded to TLS in place.
//
// Made for sessions that are mostly idle and must be quick when they are not: TryNext(), TryFill() and TryFlush() do
// all they can without suspending; Fill() and Flush() are for when that was not enough. A stream that waits for its
// peer with nothing buffered holds no buffers at all (they belong to the thread's pool).
//
// Not thread-safe: one executor. At most one coroutine may be in Fill() and one in Flush() at a time; the two may
// overlap. Close() and Cancel() are safe while they wait: they end with Io::cancelled or Io::closed. A stream is
// destroyed when nothing waits in it any more, or together with the coroutine that does.
#pragma once

#include <boost/asio.hpp>
#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "base/limits.h"
#include "base/result.h"
#include "pgwire/codec.h"
#include "pgwire/tls.h"

namespace ecluse {

enum class Io : uint8_t {
  ok,
  would_block,  // of the Try functions only
  closed,       // the peer is gone, or this side closed
  timed_out,    // the deadline passed
  cancelled,    // Cancel()
  failed,       // anything else; failure() says what
};

class Stream {
 public:
  using Socket = boost::asio::generic::stream_protocol::socket;
  using Deadline = std::chrono::steady_clock::time_point;
  static constexpr Deadline kNoDeadline = Deadline::max();

  // Takes a connected socket. TCP sockets get TCP_NODELAY and keepalive.
  explicit Stream(Socket socket);
  ~Stream();
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;

  // ---- Reading ----

  // The next whole message in the buffer, taken off it. The view lives until the next Fill(), TryFill() or Close();
  // several may be taken and held until then. `violation` is final.
  pg::FrameState TryNext(pg::Frame* frame) {
    pg::FrameState state = Peek(frame);
    if (state == pg::FrameState::frame) begin_ += static_cast<uint32_t>(frame->whole.size());
    return state;
  }
  // The same, left in the buffer.
  pg::FrameState Peek(pg::Frame* frame) const { return pg::NextFrame(buffered(), frame_cap_, frame); }
  // The bytes that have arrived and were not taken; Consume() takes `n` of them.
  std::string_view buffered() const { return {buffer_ + begin_, static_cast<size_t>(end_ - begin_)}; }
  void Consume(size_t n) { begin_ += static_cast<uint32_t>(n); }
  // Largest payload TryNext() accepts. limits::kAuthMessage until set.
  void set_frame_cap(size_t cap) { frame_cap_ = cap; }

  // Reads what has arrived, without waiting.
  Io TryFill();
  // Waits until at least one more byte has been read. Memory grows with what has arrived, never with what was
  // announced.
  boost::asio::awaitable<Io> Fill();
  // Waits until bytes can be read, without taking any: for watching a peer that should be silent.
  boost::asio::awaitable<Io> WaitReadable();
  // Whether the peer has gone or spoken, by asking the socket (MSG_PEEK): ok = bytes wait, would_block = silent,
  // closed.
  Io PeekSocket();

  // ---- Writing ----

  // Append messages here. Nothing is sent before a flush.
  std::string& out() { return out_.capacity() > kInline ? out_ : TakeOut(); }
  // True where more than limits::kWriteHighWater waits: the caller should flush before it produces more.
  bool over_high_water() const { return out_.size() - sent_ > limits::kWriteHighWater; }
  bool has_output() const { return out_.size() > sent_; }
  // Sends what the socket takes at once: ok = all of it.
  Io TryFlush();
  // Waits until all of it is sent. What is appended meanwhile is sent too.
  boost::asio::awaitable<Io> Flush();

  // ---- TLS ----

  // The server's side of the upgrade. Refuses where bytes are buffered already: they came in clear and would be taken
  // for part of the protected session.
  boost::asio::awaitable<Status> AcceptTls(std::shared_ptr<const TlsContext> context);
  // The client's side. Where `name` is not empty the certificate must be for it (DNS name or IP address).
  boost::asio::awaitable<Status> ConnectTls(std::shared_ptr<const TlsContext> context, std::string name);
  bool encrypted() const { return ssl_ != nullptr; }
  // tls-server-end-point (RFC 5929) of the certificate in use, of either side; empty in clear.
  std::string channel_binding() const;

  // ---- Time and end ----

  // Everything that waits at or after `deadline` ends with Io::timed_out. Cheap enough to move for every message.
  void SetDeadline(Deadline deadline);
  // Ends what waits now with Io::cancelled; the stream stays usable.
  void Cancel();
  // Ends the connection: TLS says goodbye where that does not wait, then the socket closes. Idempotent.
  void Close();
  bool open() const { return open_; }
  // What failed, for the operator's log.
  const std::string& failure() const { return failure_; }

  boost::asio::any_io_executor executor() { return socket_.get_executor(); }
  int native_handle() { return socket_.native_handle(); }

 private:
  static constexpr size_t kInline = 22;  // a string that holds no memory of its own has at most this capacity
  struct Watchdog;

  std::string& TakeOut();
  void ReleaseOut();
  void MakeRoom();
  void ReleaseBuffer();
  Io ReadSome();
  Io WriteSome();
  Io SocketFailed(const char* what);
  int TlsRead(char* to, size_t room);
  int TlsWrite(const char* from, size_t size);
  void TlsEnd();
  Io TlsFailed(int result, const char* what, Socket::wait_type* wants);
  Io Interrupted() const;
  boost::asio::awaitable<Status> Handshake();
  void ArmWatchdog();
  void WatchdogFired();

  Socket socket_;
  ssl_st* ssl_ = nullptr;
  std::shared_ptr<const TlsContext> tls_;
  char* buffer_ = nullptr;
  uint32_t capacity_ = 0, begin_ = 0, end_ = 0;
  size_t frame_cap_ = limits::kAuthMessage;
  std::string out_;
  size_t sent_ = 0;
  bool open_ = true;
  bool drained_ = false;  // the last read took all there was: the next would only find nothing
  bool timed_out_ = false;
  bool tls_server_ = false;
  Socket::wait_type read_wants_ =
      Socket::wait_read;  // what a read that could not go on waits for: TLS may have to write
  Socket::wait_type write_wants_ = Socket::wait_write;  // and the other way round
  Deadline deadline_ = kNoDeadline;
  std::shared_ptr<Watchdog> watchdog_;
  std::string failure_;
};

// The error that a failed read or write is to whoever waits for it: `who` is "the client" or "PostgreSQL".
Error IoError(Io io, const Stream& stream, std::string_view who);

}  // namespace ecluse
