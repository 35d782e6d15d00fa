// COPY in both directions: a query whose rows leave in COPY's format, and data that becomes batched INSERTs.
#include <fmt/format.h>

#include "base/limits.h"
#include "base/log.h"
#include "deliver/copy_rows.h"
#include "execute/run.h"
#include "seal/parameters.h"
#include "server/errors.h"
#include "server/refusals.h"
#include "server/session.h"

namespace ecluse {

using boost::asio::awaitable;

namespace {

constexpr uint32_t kBytea = 17;

}  // namespace

awaitable<Status> Session::RunCopyOut(std::shared_ptr<Portal> portal) {
  auto query = std::make_shared<Portal>();
  query->plan = portal->plan->inner;
  query->copy = portal->plan->copy;
  query->bind = portal->bind;
  co_await RunPortal(std::move(query), false, false);
  co_return Status();
}

// One batch of rows as one INSERT. True: it is done and recorded.
awaitable<bool> Session::InsertBatch(std::shared_ptr<Portal> portal, std::vector<CopyValues> rows) {
  if (rows.empty()) co_return true;
  const Plan::Copy& copy = *portal->plan->copy;
  std::string sql = copy.insert_prefix;
  std::vector<std::optional<std::string_view>> values;
  std::vector<uint32_t> types;
  for (size_t r = 0; r < rows.size(); ++r) {
    sql += r == 0 ? "(" : ",(";
    for (size_t c = 0; c < rows[r].size(); ++c) {
      if (c > 0) sql += ',';
      values.push_back(rows[r][c]);
      types.push_back(c < copy.types.size() ? copy.types[c] : kBytea);  // behind them: tokens
      sql += fmt::format("${}", values.size());
    }
    sql += ')';
  }
  sql += copy.insert_suffix;
  std::string bind = TextParameters(values);
  pg::BindMessage message;
  CHECK(pg::ReadBind(bind, &message));
  std::string_view statement = upstream_->Prepare(sql, types);
  std::string name = portal->upstream_name;
  AppendBind(upstream_->out(), name, statement, message, {});
  sent_ = true;
  Reply bound;
  bound.kind = Reply::Kind::bound;
  bound.show = false;
  bound.portal = portal;
  queue_.push_back(std::move(bound));
  ExecutePortal(std::move(portal), 0);
  CloseUpstreamPortal(name);
  co_await Drain(true);
  co_return !failed_ && !ended_;
}

// Reads the client's next message of a COPY. nullopt: the session is over, or the statement cancelled.
awaitable<std::optional<pg::Frame>> Session::NextCopyFrame() {
  while (true) {
    pg::Frame frame;
    switch (client_->TryNext(&frame)) {
      case pg::FrameState::frame:
        co_return frame;
      case pg::FrameState::violation:
        Fatal(pg::Malformed("a message whose length cannot be right"));
        co_return std::nullopt;
      case pg::FrameState::need_more:
        break;
    }
    client_->SetDeadline(Clock::now() + caller_->role->idle);
    copying_ = true;
    Io io = co_await client_->Fill();
    copying_ = false;
    client_->SetDeadline(Stream::kNoDeadline);
    if (io == Io::cancelled && cancelled_) co_return std::nullopt;
    if (io == Io::cancelled && !end_at_once_) continue;
    if (io != Io::ok) {
      ended_ = true;
      co_return std::nullopt;
    }
  }
}

// The first `count` of `rows`.
awaitable<bool> Session::InsertRows(std::shared_ptr<Portal> portal, std::vector<CopyValues>* rows, size_t count) {
  const auto end = rows->begin() + static_cast<std::ptrdiff_t>(count);
  std::vector<CopyValues> some(std::make_move_iterator(rows->begin()), std::make_move_iterator(end));
  rows->erase(rows->begin(), end);
  co_return co_await InsertBatch(std::move(portal), std::move(some));
}

awaitable<Status> Session::RunCopyIn(std::shared_ptr<Portal> portal) {
  const Plan& plan = *portal->plan;
  const Plan::Copy& copy = *plan.copy;
  ECLUSE_CO_OK(co_await EnsureUpstream());
  portal->upstream_name = NextPortalName();
  portal->more = true;
  pg::WriteCopyResponse(client_->out(), 'G', 0, std::vector<int16_t>(copy.columns.size(), 0));
  if (!co_await FlushClient()) co_return Status();
  CopyReader reader(copy, copy.columns.size());
  std::vector<CopyValues> rows;
  const size_t batch = std::min(limits::kReleaseBatchRows, limits::kParameters / copy.width);
  int64_t stored = 0;
  // A batch at a time: own keys of people that are made are made together.
  const auto seal = [&](size_t count) -> Status {
    if (copy.cells.empty()) return {};
    return SealCopyRows(plan, services_.keys, caller_->policy->register_name, std::span(rows).first(count));
  };
  Status status;
  bool done = false;
  while (!done) {
    std::optional<pg::Frame> frame = co_await NextCopyFrame();
    if (!frame && !ended_) co_return Fail("57014", "canceling statement due to user request", "", "protocol.cancel");
    if (!frame) co_return Status();
    if (frame->type == 'H' || frame->type == 'S') continue;  // no reply inside a COPY
    if (frame->type == 'd') {
      // In pieces: rows of a few bytes take many times as much once they are read.
      const std::string data(frame->payload);
      for (size_t at = 0; at < data.size() && status; at += limits::kReleaseBatchBytes) {
        status = reader.Take(std::string_view(data).substr(at, limits::kReleaseBatchBytes), &rows);
        while (status && rows.size() >= batch) {
          status = seal(batch);
          if (!status) break;
          if (!co_await InsertRows(portal, &rows, batch)) co_return Status();
          stored += static_cast<int64_t>(batch);
        }
      }
    } else if (frame->type == 'c') {
      status = reader.Finish(&rows);
      done = true;
    } else if (frame->type == 'f') {
      std::string_view reason;
      if (!pg::ReadCopyFail(frame->payload, &reason)) reason = "";
      co_return Fail("57014", fmt::format("COPY from stdin failed: {}", reason), "", "copy.client-failed");
    } else {
      Fatal(pg::Malformed("a message that cannot stand inside COPY"));
      co_return Status();
    }
    if (!status) co_return status;
    while (rows.size() >= batch || (done && !rows.empty())) {
      size_t take = std::min(batch, rows.size());
      ECLUSE_CO_OK(seal(take));
      if (!co_await InsertRows(portal, &rows, take)) co_return Status();
      stored += static_cast<int64_t>(take);
    }
  }
  Result<bool> finished = co_await portal->delivery->Finish(&client_->out(), stored > 0);
  if (!finished) co_return std::unexpected(std::move(finished).error());
  if (!*finished) co_return std::unexpected(portal->delivery->refusal());
  Complete(fmt::format("COPY {}", stored));
  co_return Status();
}

}  // namespace ecluse
