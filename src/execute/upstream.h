// One connection to PostgreSQL, logged in as a role's own login.
//
// Follows the conversation: which replies are still owed, the transaction's state, the statements that are prepared.
// Any I/O error or message that does not fit marks it broken(), and it is never used again.
//
// Not thread-safe: one executor.
#pragma once

#include <boost/asio.hpp>
#include <cstdint>
#include <deque>
#include <list>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/result.h"
#include "base/secret.h"
#include "pgwire/codec.h"
#include "pgwire/scram.h"
#include "pgwire/stream.h"
#include "policy/policy.h"

namespace ecluse {

// Where PostgreSQL is. Immutable, shared between threads.
struct UpstreamTarget {
  DatabaseTarget database;
  std::shared_ptr<const TlsContext> tls;  // null where database.tls is disable

  static Result<std::shared_ptr<const UpstreamTarget>> Make(const DatabaseTarget& database);
};

// As whom. Immutable, shared between threads.
struct UpstreamLogin {
  std::string user;
  Secret password;
  std::vector<std::string> schemas;  // of the search_path, after pg_catalog
};

// What it takes to cancel what a connection runs; may outlive the connection.
struct CancelTarget {
  std::shared_ptr<const UpstreamTarget> target;
  uint32_t process = 0;
  std::string key;
};

class Upstream {
 public:
  // Connects and logs in within limits::kUpstreamConnect, with client_encoding UTF8, standard_conforming_strings on and
  // search_path pg_catalog and the login's schemas. Errors: 08006 with what to do for the client; the details are the
  // operator's. `keys` may hold and receives what SCRAM derived from the password.
  static boost::asio::awaitable<Result<std::unique_ptr<Upstream>>> Connect(std::shared_ptr<const UpstreamTarget> target,
                                                                           std::shared_ptr<const UpstreamLogin> login,
                                                                           ScramClientKeys* keys = nullptr);
  ~Upstream();

  // ---- Sending ----
  // Messages are appended with the functions below, or with codec writers to out() for those that are not listed here
  // (Bind, Describe, Execute, Flush, CopyData, CopyDone, CopyFail). Nothing is sent before a flush.
  std::string& out() { return stream_->out(); }
  void WriteQuery(std::string_view text);
  void WriteSync();
  // Flush: asks for the replies to what was sent, with the transaction still open until WriteSync().
  void WriteFlush();
  void WriteParse(std::string_view name, std::string_view text, std::span<const uint32_t> types);
  void WriteClose(char kind, std::string_view name);

  // The name under which this text is prepared here. Where it is not yet, Parse (and the Close of the statement used
  // least, above limits::kUpstreamStatements) is appended, and their replies never show in TryNext(). Where the Parse
  // fails its ErrorResponse shows and the statement is forgotten. A text too long to keep is prepared as the unnamed
  // statement. The view lives until the next Prepare().
  //
  // A statement is shared with later borrowers under the same DateStyle, IntervalStyle and TimeZone alone, as
  // PostgreSQL reports them: it has read its literals under them. docs/decisions/pooled-connections.md.
  std::string_view Prepare(std::string_view text, std::span<const uint32_t> types);

  // What is sent now may move these settings: until the next ReadyForQuery says how they are, nothing is shared.
  void SettingsMayMove() { moved_ = ++moves_; }

  // Of the Parse messages that Prepare() appended: how many, and how many of them have been answered, whether by
  // ParseComplete or by the error that passed them over.
  uint64_t parses_sent() const { return parses_sent_; }
  uint64_t parses_answered() const { return parses_answered_; }
  // While the ErrorResponse that TryNext() just gave is looked at: the number of the first Parse it passed over.
  uint64_t first_abandoned_parse() const { return first_abandoned_; }

  Io TryFlush();
  boost::asio::awaitable<Io> Flush();

  // ---- Receiving ----
  // The next message that concerns the caller. ParameterStatus is noted and shown too; so are notices and
  // notifications. Replies to Prepare() are not shown.
  pg::FrameState TryNext(pg::Frame* frame);
  Io TryFill();
  boost::asio::awaitable<Io> Fill();
  // TryNext, waiting as needed. An Error means the connection is broken.
  boost::asio::awaitable<Result<pg::Frame>> Next();

  // Runs one text of our own by the simple protocol and waits for ReadyForQuery. The first ErrorResponse is the Error,
  // its text for the operator only. Rows are not shown.
  boost::asio::awaitable<Status> Run(std::string text);

  // ---- State ----
  char transaction_status() const { return status_; }  // 'I', 'T' or 'E', as of the last ReadyForQuery
  int owed() const { return owed_; }                   // ReadyForQuery still to come
  bool broken() const { return broken_ || !stream_->open(); }
  void MarkBroken() { broken_ = true; }
  // Whether nothing is owed, sent or half done.
  bool at_rest() const {
    return owed_ == 0 && !flushed_ && expected_.empty() && status_ == 'I' && !stream_->has_output() && !broken();
  }
  const std::map<std::string, std::string, std::less<>>& parameters() const { return parameters_; }
  const std::string& user() const { return login_->user; }
  size_t prepared() const { return statements_.size(); }

  // Asks PostgreSQL to cancel what this connection runs. The pool never reuses a connection while this is under way.
  CancelTarget cancel_target() const;
  // One request under way: for as long as what this returns is held, which may be longer than the connection is.
  std::shared_ptr<void> CancelStarted() {
    was_cancelled_ = true;
    return cancels_;
  }
  bool cancelling() const { return cancels_.use_count() > 1; }
  bool was_cancelled() const { return was_cancelled_; }

  // Reads what an idle connection may have been told (a restart, a changed setting) without waiting. False: it is gone.
  bool StillAlive();

  Stream& stream() { return *stream_; }

 private:
  friend class UpstreamPool;
  struct Login;
  struct Statement {
    std::string name;
    uint64_t segment = 0;                   // how many Syncs and Queries were written before its Parse
    std::list<std::string>::iterator used;  // in recent_
  };
  // A reply that is owed in order: '1' of a Parse, '3' of a Close, 'Z' of a Sync or Query.
  struct Expected {
    char type;
    bool ours;         // of Prepare(): not shown
    std::string name;  // of a Parse of ours: the statement's
  };

  Upstream(std::shared_ptr<const UpstreamTarget> target, std::shared_ptr<const UpstreamLogin> login,
           std::unique_ptr<Stream> stream);
  bool Note(const pg::Frame& frame, bool* hide);
  void Abandon();
  void CloseOurs(const std::string& name);
  void Forget(const std::string& key);
  std::string ReadingOf() const;

  std::shared_ptr<const UpstreamTarget> target_;
  std::shared_ptr<const UpstreamLogin> login_;
  std::unique_ptr<Stream> stream_;
  std::map<std::string, std::string, std::less<>> parameters_;
  // The settings under which PostgreSQL reads the literals of what is prepared, as of the last ReadyForQuery; and, not
  // 0, that something has been sent since which may have moved them.
  std::string reading_;
  uint64_t moved_ = 0, moves_ = 0;
  uint32_t process_ = 0;
  std::string cancel_key_;
  char status_ = 'I';
  int owed_ = 0;
  bool flushed_ = false;  // replies may come although no ReadyForQuery is owed yet
  uint64_t parses_sent_ = 0, parses_answered_ = 0, first_abandoned_ = 0;
  bool broken_ = false;
  std::shared_ptr<void> cancels_ = std::make_shared<char>();  // shared with every request under way
  bool was_cancelled_ = false;
  std::deque<Expected> expected_;
  std::unordered_map<std::string, Statement> statements_;  // by types and text
  std::list<std::string> recent_;                          // keys, least used first
  uint64_t next_name_ = 0;
  uint64_t segment_ = 0;
  uint64_t generation_ = 0;                                   // of the pool, when it connected
  std::shared_ptr<void> permit_;                              // its place in the quota
  std::unordered_map<std::string, std::string> unconfirmed_;  // name -> key, until ParseComplete
  std::string scratch_key_;
};

// What an ErrorResponse of PostgreSQL to the gate itself is: a fixed text for the client, PostgreSQL's own for the
// operator.
Error UpstreamError(std::string_view payload);

// Sends a CancelRequest over a connection of its own and holds it until PostgreSQL closes it, so that the cancel has
// happened when this ends.
boost::asio::awaitable<Status> SendCancel(CancelTarget target);

// Opens a connection to PostgreSQL, upgraded to TLS where the target asks for it. `deadline` bounds all of it.
boost::asio::awaitable<Result<std::unique_ptr<Stream>>> ConnectStream(std::shared_ptr<const UpstreamTarget> target,
                                                                      Stream::Deadline deadline);

}  // namespace ecluse
