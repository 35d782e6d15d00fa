#include "execute/upstream.h"

#include <boost/asio/this_coro.hpp>

#include "base/check.h"
#include "base/limits.h"
#include "base/log.h"

namespace ecluse {
namespace asio = boost::asio;

Upstream::Upstream(std::shared_ptr<const UpstreamTarget> target, std::shared_ptr<const UpstreamLogin> login,
                   std::unique_ptr<Stream> stream)
    : target_(std::move(target)), login_(std::move(login)), stream_(std::move(stream)) {}

Upstream::~Upstream() {
  if (!stream_->open()) return;
  // A goodbye where it can be said at once; otherwise PostgreSQL finds the socket closed.
  if (at_rest()) {
    pg::WriteEmpty(stream_->out(), 'X');
    stream_->TryFlush();
  }
  stream_->Close();
}

// ---- Sending ----

void Upstream::WriteQuery(std::string_view text) {
  pg::WriteQuery(out(), text);
  expected_.push_back({'Z', false, {}});
  ++owed_;
  ++segment_;
}

void Upstream::WriteSync() {
  pg::WriteEmpty(out(), 'S');
  expected_.push_back({'Z', false, {}});
  ++owed_;
  ++segment_;
}

void Upstream::WriteFlush() {
  pg::WriteEmpty(out(), 'H');
  flushed_ = true;
}

void Upstream::WriteParse(std::string_view name, std::string_view text, std::span<const uint32_t> types) {
  pg::WriteParse(out(), name, text, types);
  expected_.push_back({'1', false, {}});
}

void Upstream::WriteClose(char kind, std::string_view name) {
  pg::WriteClose(out(), kind, name);
  expected_.push_back({'3', false, {}});
}

std::string_view Upstream::Prepare(std::string_view text, std::span<const uint32_t> types) {
  if (text.size() > limits::kUpstreamStatementText) {
    pg::WriteParse(out(), {}, text, types);
    expected_.push_back({'1', true, {}});
    ++parses_sent_;
    return {};
  }
  scratch_key_.assign(reinterpret_cast<const char*>(types.data()), types.size_bytes());
  scratch_key_.push_back('\0');
  scratch_key_ += moved_ != 0 ? std::to_string(moved_) : reading_;
  scratch_key_.push_back('\0');
  scratch_key_.append(text);
  if (auto found = statements_.find(scratch_key_); found != statements_.end()) {
    // A Parse that waits behind an earlier Sync may still be passed over because of an error before it.
    bool certain = found->second.segment == segment_ || !unconfirmed_.contains(found->second.name);
    if (certain) {
      recent_.splice(recent_.end(), recent_, found->second.used);
      return found->second.name;
    }
    CloseOurs(found->second.name);
    Forget(found->first);
  }
  if (statements_.size() >= limits::kUpstreamStatements) {
    CloseOurs(statements_.find(recent_.front())->second.name);
    Forget(recent_.front());
  }
  recent_.push_back(scratch_key_);
  Statement& statement = statements_[scratch_key_];
  statement.name = "e" + std::to_string(++next_name_);
  statement.segment = segment_;
  statement.used = std::prev(recent_.end());
  pg::WriteParse(out(), statement.name, text, types);
  expected_.push_back({'1', true, statement.name});
  ++parses_sent_;
  unconfirmed_[statement.name] = scratch_key_;
  return statement.name;
}

void Upstream::CloseOurs(const std::string& name) {
  pg::WriteClose(out(), 'S', name);
  expected_.push_back({'3', true, {}});
}

void Upstream::Forget(const std::string& key) {
  auto found = statements_.find(key);
  if (found == statements_.end()) return;
  auto used = found->second.used;
  unconfirmed_.erase(found->second.name);
  statements_.erase(found);  // `key` may be this very element, or that of recent_
  recent_.erase(used);
}

Io Upstream::TryFlush() {
  Io io = stream_->TryFlush();
  if (io != Io::ok && io != Io::would_block) broken_ = true;
  return io;
}

asio::awaitable<Io> Upstream::Flush() {
  Io io = co_await stream_->Flush();
  if (io != Io::ok) broken_ = true;
  co_return io;
}

// ---- Receiving ----

std::string Upstream::ReadingOf() const {
  std::string text;
  for (std::string_view name : {"DateStyle", "IntervalStyle", "TimeZone"}) {
    const auto found = parameters_.find(name);
    if (found != parameters_.end()) text += found->second;
    text += ';';
  }
  return text;
}

// Takes note of a message. False: it does not fit the conversation.
bool Upstream::Note(const pg::Frame& frame, bool* hide) {
  switch (frame.type) {
    case 'D':
      return owed_ > 0 || flushed_;
    case '1':
    case '3': {
      if (expected_.empty() || expected_.front().type != frame.type || !frame.payload.empty()) return false;
      *hide = expected_.front().ours;
      if (*hide) {
        if (frame.type == '1') ++parses_answered_;
        unconfirmed_.erase(expected_.front().name);
      }
      expected_.pop_front();
      return true;
    }
    case 'E':
      first_abandoned_ = parses_answered_ + 1;
      // Everything up to the next Sync is passed over, so its replies will not come.
      while (!expected_.empty() && expected_.front().type != 'Z') Abandon();
      return true;
    case 'Z':
      while (!expected_.empty() && expected_.front().type != 'Z') Abandon();
      if (expected_.empty() || !pg::ReadReady(frame.payload, &status_)) return false;
      expected_.pop_front();
      if (--owed_ == 0) {
        flushed_ = false;
        moved_ = 0;
      }
      return true;
    case 'S': {
      std::string_view name, value;
      if (!pg::ReadParameterStatus(frame.payload, &name, &value)) return false;
      parameters_[std::string(name)] = std::string(value);
      reading_ = ReadingOf();
      return true;
    }
    case 'N':
    case 'A':
      return true;
    case '2':
    case 'n':
    case 's':
    case 'I':
    case 'c':
      return (owed_ > 0 || flushed_) && frame.payload.empty();
    case 'C':
    case 'T':
    case 't':
    case 'G':
    case 'H':
    case 'd':
      return owed_ > 0 || flushed_;
    default:
      return false;
  }
}

// The reply at the front will never come: a statement whose Parse it was is not prepared.
void Upstream::Abandon() {
  Expected& front = expected_.front();
  if (front.type == '1' && front.ours) ++parses_answered_;
  if (front.type == '1' && front.ours && !front.name.empty()) {
    if (auto found = unconfirmed_.find(front.name); found != unconfirmed_.end()) Forget(std::string(found->second));
  }
  expected_.pop_front();
}

pg::FrameState Upstream::TryNext(pg::Frame* frame) {
  while (true) {
    pg::FrameState state = broken_ ? pg::FrameState::violation : stream_->TryNext(frame);
    if (state == pg::FrameState::need_more) return state;
    bool hide = false;
    if (state == pg::FrameState::violation || !Note(*frame, &hide)) {
      broken_ = true;
      return pg::FrameState::violation;
    }
    if (!hide) return state;
  }
}

Io Upstream::TryFill() {
  Io io = stream_->TryFill();
  if (io != Io::ok && io != Io::would_block) broken_ = true;
  return io;
}

asio::awaitable<Io> Upstream::Fill() {
  Io io = co_await stream_->Fill();
  if (io != Io::ok) broken_ = true;
  co_return io;
}

asio::awaitable<Result<pg::Frame>> Upstream::Next() {
  pg::Frame frame;
  while (true) {
    switch (TryNext(&frame)) {
      case pg::FrameState::frame:
        co_return frame;
      case pg::FrameState::violation:
        co_return Fail("08006", "PostgreSQL said something that the gate does not understand",
                       "Try again; if it happens again, ask the operator to look at the gate's log.",
                       "upstream.protocol");
      case pg::FrameState::need_more:
        break;
    }
    if (Io io = co_await Fill(); io != Io::ok) co_return std::unexpected(IoError(io, *stream_, "PostgreSQL"));
  }
}

asio::awaitable<Status> Upstream::Run(std::string text) {
  WriteQuery(text);
  if (Io io = co_await Flush(); io != Io::ok) co_return std::unexpected(IoError(io, *stream_, "PostgreSQL"));
  Status outcome;
  while (true) {
    Result<pg::Frame> frame = co_await Next();
    if (!frame) co_return std::unexpected(std::move(frame).error());
    if (frame->type == 'Z' && owed_ == 0) co_return outcome;
    if (frame->type != 'E' || !outcome) continue;
    outcome = std::unexpected(UpstreamError(frame->payload));
  }
}

// ---- State ----

CancelTarget Upstream::cancel_target() const { return {target_, process_, cancel_key_}; }

bool Upstream::StillAlive() {
  if (!at_rest()) return false;
  while (true) {
    Io io = stream_->TryFill();
    pg::Frame frame;
    pg::FrameState state;
    while ((state = TryNext(&frame)) == pg::FrameState::frame) {
      if (frame.type == 'E') {
        Log().info("PostgreSQL closed an idle connection of {}", login_->user);
        broken_ = true;
      }
    }
    if (io == Io::would_block && state == pg::FrameState::need_more && stream_->buffered().empty()) return true;
    if (io != Io::ok || broken_) {
      broken_ = true;
      return false;
    }
  }
}

Error UpstreamError(std::string_view payload) {
  pg::ErrorFields fields;
  Error error{"08006",
              "PostgreSQL refused what the gate asked of it",
              "Ask the operator to look at the gate's log.",
              "upstream.error",
              {},
              0};
  if (!pg::ReadErrorFields(payload, &fields)) {
    error.operator_detail = "an ErrorResponse that cannot be read";
    return error;
  }
  error.operator_detail = Printable(std::string(fields.code()) + ": " + std::string(fields.message()));
  return error;
}

}  // namespace ecluse
