// One client's session: behaves towards the client like one PostgreSQL backend, taking messages in order and answering
// them in order (PostgreSQL manual, "Message Flow"). What is asked of PostgreSQL is kept in a queue of replies still to
// come, so that a whole pipeline costs one exchange with it; everything that decides waits until the queue is empty.
//
// The life of a guarded statement is in pipeline.cc, and reads plan -> admit -> execute -> deliver.
//
// Lives on one io thread for life; not thread-safe. Others reach it by posting to executor().
#pragma once

#include <boost/asio.hpp>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "admit/admitted.h"
#include "deliver/copy_rows.h"
#include "deliver/delivery.h"
#include "execute/pool.h"
#include "pgwire/codec.h"
#include "pgwire/startup.h"
#include "pgwire/stream.h"
#include "plan/planner.h"
#include "server/cancel.h"
#include "server/services.h"
#include "server/settings.h"

namespace ecluse {

class Session : public std::enable_shared_from_this<Session> {
 public:
  Session(Services& services, UpstreamPool& pool, std::unique_ptr<Stream> client, Authenticated who,
          std::string address);
  ~Session();

  // From the greeting to the end of the connection. Called once.
  boost::asio::awaitable<void> Run();

  // A cancel request with this session's key: cancels what runs, nothing otherwise.
  void RequestCancel();
  // Ends the session with `reason`: after the running transaction, or with `at_once` after the running statement.
  void RequestEnd(Error reason, bool at_once = false);
  // Called about every second: gives back an idle connection, notices a client that has gone, applies limits of time.
  void Tick();

  boost::asio::any_io_executor executor() { return client_->executor(); }

  // Whether the gate itself runs this, between two exchanges with PostgreSQL.
  static bool GateRuns(const Plan& plan);
  // Whether PostgreSQL's settings may be others behind it: set, or taken back with a transaction.
  static bool MovesSettings(const Plan& plan);

 private:
  using Clock = std::chrono::steady_clock;
  static constexpr std::string_view kDefaultSearchPath = "\"$user\", public";
  struct Prepared {
    std::string text;  // of Parse; empty for SQL's PREPARE
    std::vector<Oid> types;
    std::shared_ptr<const Plan> plan;
    uint64_t generation = 0;
  };
  // A statement with its values, ready to run. For guarded ones the values that decide are read at once.
  struct Portal {
    std::string name;
    std::string upstream_name;  // on the connection: the gate's own, and never used again
    std::shared_ptr<const Plan> plan;
    std::string bind;              // the payload of Bind, where it is needed again
    std::vector<int16_t> formats;  // of the result, as the client gave them
    std::vector<NamedPerson> asked;
    std::vector<std::string> literals;
    int64_t lookups = 0;  // of DECLARE
    std::unique_ptr<Delivery> delivery;
    std::optional<Plan::Copy> copy;  // rows leave in COPY's format
    bool same_text = false;          // PostgreSQL got the client's own text: positions in errors fit
    bool executing = false;          // an Execute of it has been sent, and may not have been answered yet
    bool finished = false;
    bool more = false;     // one of several runs under one decision: COPY FROM
    int64_t answered = 0;  // rows shown by earlier Executes
  };
  struct Cursor {
    std::shared_ptr<const Plan> inner;
    std::vector<NamedPerson> asked;  // until a FETCH has written them down
    std::vector<std::string> literals;
    std::string bind;     // of DECLARE, while people named by a unique column are still to be found
    int64_t lookups = 0;  // that the first FETCH costs
    std::vector<bool> seen;
    bool hold = false;  // WITH HOLD: outlives the transaction that declared it, once committed
    bool committed = false;
  };
  // What is still to be answered, in order.
  struct Reply {
    enum class Kind : uint8_t {
      text,    // bytes of the gate's own
      parsed,  // ParseComplete, once Parse number `ticket` has been answered
      bound,
      statement_described,
      portal_described,
      executed,
      closed,
      synced,   // ReadyForQuery that PostgreSQL owes
      ready,    // ReadyForQuery that the gate gives by itself
      queried,  // everything of one simple Query, up to ReadyForQuery
    };
    Kind kind = Kind::text;
    bool show = true;
    bool same_text = false;  // PostgreSQL got the client's own text: positions in errors fit
    bool rows_only = false;  // of portal_described: NoData is not for the client
    uint64_t ticket = 0;
    std::string text;  // of text; of parsed: the statement's name
    std::shared_ptr<const Plan> plan;
    std::shared_ptr<Portal> portal;
  };
  enum class Next { go_on, end };

  // session.cc: the loop
  boost::asio::awaitable<Status> Open();
  boost::asio::awaitable<void> Loop();
  boost::asio::awaitable<Next> WaitForClient();
  boost::asio::awaitable<Next> Dispatch(pg::Frame frame);
  boost::asio::awaitable<bool> FlushClient();
  void Fatal(const Error& error);
  void Malformed(std::string_view what);
  void CheckAccount();
  void CutOff();
  void LogSession(EntryKind kind, std::string reason);

  // context.cc: who, why and under which policy
  Status AdoptSnapshot();
  Status AdoptAtRest();
  Status SwitchRole(const std::string& role);
  void RefreshContext();
  bool InTransaction() const { return block_ || status_ != 'I' || wrote_; }
  Result<Settings::Value> CheckedSetting(const std::string& name, const std::string& value);
  boost::asio::awaitable<Status> ApplyStartup();

  // borrowed.cc: the connection to PostgreSQL that is borrowed
  boost::asio::awaitable<Status> EnsureUpstream();
  void MaybeRelease(bool idle);
  void ReleaseUpstream(Residue residue);
  boost::asio::awaitable<void> AwaitCancel();
  boost::asio::awaitable<void> LoseUpstream(std::string why);

  // extended_query.cc: Parse, Bind, Describe, Execute, Close, Sync
  boost::asio::awaitable<void> OnParse(pg::Frame frame);
  boost::asio::awaitable<void> OnBind(pg::Frame frame);
  // Whether one more prepared statement of so many bytes may be kept under this name.
  Status RoomForStatement(const std::string& name, size_t bytes) const;
  boost::asio::awaitable<void> OnDescribe(pg::Frame frame);
  boost::asio::awaitable<void> OnExecute(pg::Frame frame);
  boost::asio::awaitable<void> OnClose(pg::Frame frame);
  boost::asio::awaitable<void> OnSync();
  boost::asio::awaitable<void> RefuseInPlace(Error error, std::shared_ptr<const Plan> plan);
  boost::asio::awaitable<void> RefusePortal(std::shared_ptr<Portal> portal, Error error);
  Status Refresh(Prepared* prepared);
  void DropPortal(std::string_view name);
  void DropPortals();
  void KeepUnfinished(std::shared_ptr<Portal> portal);
  std::string NextPortalName();
  void CloseUpstreamPortal(std::string_view name);
  boost::asio::awaitable<void> CloseDeliveries();
  void PushSync(bool show);
  void PushText(char type);

  // simple_query.cc: Query
  boost::asio::awaitable<void> OnQuery(std::string text);
  boost::asio::awaitable<void> RunSimple(PlannedStatement statement, bool last);
  boost::asio::awaitable<void> RunPortal(std::shared_ptr<Portal> portal, bool describe, bool last);
  void PushDescribe(std::shared_ptr<Portal> portal, bool show);
  boost::asio::awaitable<void> FinishSimple();

  // pipeline.cc: plan -> admit -> execute -> deliver
  boost::asio::awaitable<Status> OpenPortal(std::shared_ptr<Portal> portal, pg::BindMessage message, bool show);
  Status WritesInOne(const Plan& plan);
  Status AdmitPortal(Portal* portal, const pg::BindMessage& message);
  boost::asio::awaitable<Status> SealPortal(std::shared_ptr<Portal> portal, pg::BindMessage* message);
  void SetSealedForms(const Plan& plan, const std::vector<int16_t>& asked, Delivery* delivery) const;
  boost::asio::awaitable<Status> ResolvePeople(std::shared_ptr<const Plan> plan, const std::string* bind,
                                               Delivery* delivery);
  boost::asio::awaitable<Result<std::vector<std::string>>> LookUpPeople(const Plan* plan, const Crossing* crossing,
                                                                        const std::string* bind, Delivery* delivery);
  // A statement of the gate's own that returns one column of ids: its text, types and values.
  struct IdQuery {
    std::string sql;
    std::vector<Oid> types;
    std::string bind;
  };
  static IdQuery ReadOf(const Plan& plan, const Resolve& resolve, const std::string& bind);
  boost::asio::awaitable<Result<std::vector<std::string>>> FetchIds(IdQuery query, Delivery* delivery);
  Status OpenIds(const Plan& plan, int table_ref, std::vector<std::string>* ids) const;
  void ExecutePortal(std::shared_ptr<Portal> portal, int32_t max_rows);
  bool Holds(const Plan& plan) const;
  boost::asio::awaitable<void> FinishRun(std::shared_ptr<Portal> portal, char end, std::string tag);
  boost::asio::awaitable<void> RunFallback(std::shared_ptr<Portal> portal);

  // replies.cc: what PostgreSQL answers, matched with what was asked
  boost::asio::awaitable<void> Drain(bool flush);
  enum class Step : uint8_t { done, release, error, not_as_planned, commit_failed, unexpected };
  Step Handle(const pg::Frame& frame);
  boost::asio::awaitable<void> HandleSlowly(Step step, pg::Frame frame);
  bool AnswerByGate(Reply& reply);
  bool Guarded(const Reply& reply) const;
  void AnswerBefore(const pg::Frame& frame);
  boost::asio::awaitable<void> CommitFailed(std::string payload);
  boost::asio::awaitable<Status> RecordFailure(std::string code);
  void Forget(const Portal& portal);
  boost::asio::awaitable<bool> WaitForUpstream();
  bool SendUpstream();
  static boost::asio::awaitable<void> FlushBeside(std::shared_ptr<Session> self);
  Step HandleQueried(const pg::Frame& frame, Reply& reply);
  Step HandleSynced(const pg::Frame& frame, Reply& reply);
  Step HandleRow(const pg::Frame& frame, Reply& reply);
  boost::asio::awaitable<void> HandleError(std::string payload);
  void Refuse(const Error& error);  // an ErrorResponse of the gate's own, in its place
  void AfterError(bool from_upstream);
  void Pop() { queue_.pop_front(); }

  // outcome.cc: what a reply means: columns that are shown, settings, cursors, the end of a batch
  bool Describe(const pg::Frame& frame, Reply& reply);
  void Completed(const Plan& plan, std::string_view tag);
  void EndOfBatch(char status);
  void EndCursors(bool committed);
  void KeepDateStyle();
  void Declared(Portal& portal);

  // gate_statements.cc: what the gate runs itself
  const Plan& Shape(const Plan& plan) const;  // whose columns the result has
  boost::asio::awaitable<void> RunGate(std::shared_ptr<Portal> portal, bool simple);
  boost::asio::awaitable<void> DescribeGate(std::shared_ptr<const Plan> plan, std::shared_ptr<Portal> portal);
  void DescribeShow(const std::string& name);
  Status RunSet(const Plan& plan);
  Status RunShow(const Plan& plan, bool simple);
  boost::asio::awaitable<Status> RunExecute(std::shared_ptr<Portal> portal, bool simple);
  boost::asio::awaitable<Status> RunFetch(std::shared_ptr<Portal> portal, bool simple);
  Status RunDeallocate(const Plan& plan);
  boost::asio::awaitable<Status> RunDiscard(const Plan& plan);
  boost::asio::awaitable<Status> ResetUpstream();
  boost::asio::awaitable<Status> RunPrepare(const Plan& plan);
  void RunExplain(const Plan& plan, bool simple);
  void Complete(std::string_view tag) { pg::WriteCommandComplete(client_->out(), tag); }

  // copy.cc: COPY, to and from the client
  boost::asio::awaitable<Status> RunCopyOut(std::shared_ptr<Portal> portal);
  boost::asio::awaitable<Status> RunCopyIn(std::shared_ptr<Portal> portal);
  boost::asio::awaitable<bool> InsertBatch(std::shared_ptr<Portal> portal, std::vector<CopyValues> rows);
  boost::asio::awaitable<bool> InsertRows(std::shared_ptr<Portal> portal, std::vector<CopyValues>* rows, size_t count);
  boost::asio::awaitable<std::optional<pg::Frame>> NextCopyFrame();

  Services& services_;
  UpstreamPool& pool_;
  std::unique_ptr<Stream> client_;
  std::string address_;
  std::string id_;
  Principal principal_;
  std::map<std::string, std::string> startup_;
  Cancels::Key key_;
  int64_t start_ = 0;

  std::shared_ptr<const Snapshot> snapshot_;
  std::string role_;
  Settings settings_;
  uint64_t context_version_ = UINT64_MAX;
  PlanContext context_;
  std::shared_ptr<const Caller> caller_;

  UpstreamLease upstream_;
  std::deque<Reply> queue_;
  std::map<std::string, Prepared, std::less<>> statements_;
  std::map<std::string, std::shared_ptr<Portal>, std::less<>> portals_;
  std::map<std::string, Cursor, std::less<>> cursors_;
  std::vector<std::shared_ptr<Portal>> unfinished_;  // dropped before their end

  char status_ = 'I';    // as the client was last told
  bool simple_ = false;  // inside a simple Query
  bool failed_ = false;  // an error was answered since the last ReadyForQuery
  bool skip_to_sync_ = false;
  bool poison_ = false;                    // the gate refused: PostgreSQL has to be made to abort too
  bool sent_ = false;                      // something went to PostgreSQL since the last Sync
  bool block_ = false;                     // inside BEGIN … COMMIT, as far as is known by now
  bool wrote_ = false;                     // a write among it
  std::optional<std::string> written_in_;  // the compartment that this transaction has written in
  bool guarded_pending_ = false;           // a guarded result is among the queue
  bool settings_pending_ = false;          // something among the queue changes settings, transactions or cursors
  bool touched_ = false;                   // a guarded statement has run in this transaction
  uint64_t portal_names_ = 0;              // given so far
  bool residue_ = false;                   // the connection needs cleaning before somebody else gets it
  bool cancelled_ = false;
  bool waiting_ = false;  // for the client's next message
  bool upstream_wait_ = false;
  bool flushing_ = false;  // FlushBeside() runs
  bool ended_ = false;
  Error row_error_;  // of not_as_planned
  uint64_t accounts_seen_ = 0;
  std::optional<Error> end_;
  bool end_at_once_ = false;
  bool copying_ = false;  // waiting for the client's data of COPY FROM
  Clock::time_point last_active_ = Clock::now();
  std::optional<Clock::time_point> over_since_;  // over, and waiting for PostgreSQL all the same
};

}  // namespace ecluse
