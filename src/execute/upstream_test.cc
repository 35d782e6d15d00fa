#include "execute/upstream.h"

#include <gtest/gtest.h>

#include "base/limits.h"
#include "base/test_coroutine.h"
#include "execute/test_postgres.h"

namespace ecluse {
namespace {

namespace asio = boost::asio;

std::unique_ptr<TestPostgres> postgres;

class UpstreamTest : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    postgres = std::make_unique<TestPostgres>();
    postgres->Sql("CREATE ROLE officer LOGIN PASSWORD 'pencil'; CREATE SCHEMA \"odd\"\"name\"");
  }
  static void TearDownTestSuite() { postgres.reset(); }

  static DatabaseTarget Tcp(DatabaseTarget::Tls tls) {
    return {"127.0.0.1", postgres->port(), "postgres", tls, postgres->ca()};
  }
  static DatabaseTarget Socket() {
    return {postgres->folder(), postgres->port(), "postgres", DatabaseTarget::Tls::disable, ""};
  }
  static std::shared_ptr<const UpstreamLogin> Login(std::string password = "pencil") {
    auto login = std::make_shared<UpstreamLogin>();
    login->user = "officer";
    login->password = Secret(std::string_view(password));
    login->schemas = {"odd\"name"};
    return login;
  }
  asio::io_context io;
};

// Every first column of the rows of what was sent, and the SQLSTATEs of errors as "!42P01", until nothing is owed.
asio::awaitable<std::vector<std::string>> Collect(Upstream* upstream) {
  std::vector<std::string> seen;
  co_await upstream->Flush();
  while (upstream->owed() > 0) {
    auto frame = co_await upstream->Next();
    if (!frame) {
      seen.push_back("broken: " + frame.error().message);
      co_return seen;
    }
    pg::Values row;
    pg::ErrorFields fields;
    if (frame->type == 'D' && pg::ReadDataRow(frame->payload, &row)) {
      seen.emplace_back(*row.begin() ? **row.begin() : "NULL");
    } else if (frame->type == 'E' && pg::ReadErrorFields(frame->payload, &fields)) {
      seen.push_back("!" + std::string(fields.code()));
    } else if (frame->type == '1' || frame->type == '3') {
      seen.push_back(std::string("shown ") + frame->type);
    }
  }
  co_return seen;
}

void Execute(Upstream& upstream, std::string_view statement) {
  pg::WriteBind(upstream.out(), "", statement, {}, {}, {});
  pg::WriteExecute(upstream.out(), "", 0);
}

using Seen = std::vector<std::string>;

asio::awaitable<void> LogsIn(DatabaseTarget database, bool encrypted) {
  auto target = UpstreamTarget::Make(database);
  EXPECT_TRUE(target);
  if (!target) co_return;
  auto login = std::make_shared<UpstreamLogin>();
  login->user = "officer";
  login->password = Secret(std::string_view("pencil"));
  login->schemas = {"odd\"name"};
  auto upstream = co_await Upstream::Connect(*target, login);
  EXPECT_TRUE(upstream) << upstream.error().operator_detail;
  if (!upstream) co_return;
  Upstream& up = **upstream;
  EXPECT_EQ(up.stream().encrypted(), encrypted);
  EXPECT_EQ(up.parameters().at("client_encoding"), "UTF8");
  EXPECT_TRUE(up.parameters().contains("server_version"));
  EXPECT_TRUE(up.at_rest());
  up.WriteQuery("SELECT current_user; SHOW search_path; SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()");
  EXPECT_EQ(co_await Collect(&up), (Seen{"officer", "pg_catalog, \"odd\"\"name\"", encrypted ? "t" : "f"}));
}

TEST_F(UpstreamTest, LogsInByEveryRoad) {
  RunCoroutine(io, LogsIn(Socket(), false));
  RunCoroutine(io, LogsIn(Tcp(DatabaseTarget::Tls::disable), false));
  RunCoroutine(io, LogsIn(Tcp(DatabaseTarget::Tls::require), true));
  RunCoroutine(io, LogsIn(Tcp(DatabaseTarget::Tls::verify_ca), true));
  RunCoroutine(io, LogsIn(Tcp(DatabaseTarget::Tls::verify_full), true));
  DatabaseTarget by_name = Tcp(DatabaseTarget::Tls::verify_full);
  by_name.host = "localhost";
  RunCoroutine(io, LogsIn(by_name, true));
}

asio::awaitable<void> Refused(DatabaseTarget database, std::string password, std::string detail) {
  auto target = UpstreamTarget::Make(database);
  EXPECT_TRUE(target);
  if (!target) co_return;
  auto login = std::make_shared<UpstreamLogin>();
  login->user = "officer";
  login->password = Secret(std::string_view(password));
  auto upstream = co_await Upstream::Connect(*target, login);
  EXPECT_FALSE(upstream) << detail;
  if (upstream) co_return;
  EXPECT_EQ(upstream.error().sqlstate, "08006");
  EXPECT_EQ(upstream.error().message, "PostgreSQL cannot be reached");
  EXPECT_NE(upstream.error().operator_detail.find(detail), std::string::npos) << upstream.error().operator_detail;
}

TEST_F(UpstreamTest, RefusalsTellTheOperatorAndNotTheClient) {
  RunCoroutine(io, Refused(Tcp(DatabaseTarget::Tls::require), "wrong", "password authentication failed"));
  DatabaseTarget nobody = Tcp(DatabaseTarget::Tls::disable);
  nobody.port = 1;
  RunCoroutine(io, Refused(nobody, "pencil", "connecting to 127.0.0.1"));
  DatabaseTarget nowhere = Socket();
  nowhere.host = "/nowhere";
  RunCoroutine(io, Refused(nowhere, "pencil", "connecting to /nowhere"));
  nowhere.host = "/" + std::string(200, 'x');
  RunCoroutine(io, Refused(nowhere, "pencil", "longer than the system allows"));
}

TEST_F(UpstreamTest, ACertificateThatIsNotTrustedOrForAnotherNameIsRefused) {
  DatabaseTarget other = Tcp(DatabaseTarget::Tls::verify_ca);
  other.ca = "";  // the system's authorities do not know it
  RunCoroutine(io, Refused(other, "pencil", "self-signed certificate"));
  DatabaseTarget alias = Tcp(DatabaseTarget::Tls::verify_full);
  alias.host = "127.0.0.2";
  postgres->Sql("ALTER SYSTEM SET listen_addresses = '127.0.0.1,127.0.0.2'");
  postgres->Restart();
  RunCoroutine(io, Refused(alias, "pencil", "IP address mismatch"));
}

asio::awaitable<void> Prepares(DatabaseTarget database, std::shared_ptr<const UpstreamLogin> login) {
  auto connected = co_await Upstream::Connect(*UpstreamTarget::Make(database), login);
  EXPECT_TRUE(connected);
  if (!connected) co_return;
  Upstream& up = **connected;

  std::string first(up.Prepare("SELECT 1", {}));
  Execute(up, first);
  std::string second(up.Prepare("SELECT 2", {}));
  Execute(up, second);
  up.WriteSync();
  EXPECT_EQ(co_await Collect(&up), (Seen{"1", "2"}));
  EXPECT_EQ(up.Prepare("SELECT 1", {}), first);
  EXPECT_FALSE(up.stream().has_output()) << "nothing to send for what is prepared";
  uint32_t types[] = {23};
  EXPECT_NE(up.Prepare("SELECT 1", types), first) << "other parameter types are another statement";
  up.WriteSync();
  co_await Collect(&up);

  // A Parse that fails shows its error and is forgotten.
  size_t before = up.prepared();
  Execute(up, up.Prepare("SELECT nothing", {}));
  up.WriteSync();
  EXPECT_EQ(co_await Collect(&up), (Seen{"!42703"}));
  EXPECT_EQ(up.prepared(), before);

  // The caller's own Parse and Close are the caller's to see.
  up.WriteParse("mine", "SELECT 5", {});
  Execute(up, "mine");
  up.WriteClose('S', "mine");
  up.WriteSync();
  EXPECT_EQ(co_await Collect(&up), (Seen{"shown 1", "5", "shown 3"}));
  EXPECT_TRUE(up.at_rest());
}

TEST_F(UpstreamTest, StatementsArePreparedOnce) { RunCoroutine(io, Prepares(Socket(), Login())); }

asio::awaitable<void> PrepareBehindAnError(DatabaseTarget database, std::shared_ptr<const UpstreamLogin> login) {
  auto connected = co_await Upstream::Connect(*UpstreamTarget::Make(database), login);
  EXPECT_TRUE(connected);
  if (!connected) co_return;
  Upstream& up = **connected;
  Execute(up, up.Prepare("SELECT 1/0", {}));
  Execute(up, up.Prepare("SELECT 7", {}));  // passed over by PostgreSQL
  up.WriteSync();
  Execute(up, up.Prepare("SELECT 7", {}));  // in the same packet, so nobody knows yet
  up.WriteSync();
  EXPECT_EQ(co_await Collect(&up), (Seen{"!22012", "7"}));
  Execute(up, up.Prepare("SELECT 7", {}));
  up.WriteSync();
  EXPECT_EQ(co_await Collect(&up), (Seen{"7"}));
  up.WriteQuery("SELECT count(*) FROM pg_prepared_statements");
  EXPECT_EQ(co_await Collect(&up), (Seen{std::to_string(up.prepared())}));
}

TEST_F(UpstreamTest, AStatementPassedOverBehindAnErrorIsPreparedAgain) {
  RunCoroutine(io, PrepareBehindAnError(Socket(), Login()));
}

asio::awaitable<void> Evicts(DatabaseTarget database, std::shared_ptr<const UpstreamLogin> login) {
  auto connected = co_await Upstream::Connect(*UpstreamTarget::Make(database), login);
  EXPECT_TRUE(connected);
  if (!connected) co_return;
  Upstream& up = **connected;
  std::string kept(up.Prepare("SELECT 'kept'", {}));
  for (size_t i = 0; i < limits::kUpstreamStatements + 20; ++i) {
    Execute(up, up.Prepare("SELECT " + std::to_string(i), {}));
    EXPECT_EQ(up.Prepare("SELECT 'kept'", {}), kept) << "used all the time";
    up.WriteSync();
    EXPECT_EQ(co_await Collect(&up), (Seen{std::to_string(i)}));
  }
  EXPECT_EQ(up.prepared(), limits::kUpstreamStatements);
  up.WriteQuery("SELECT count(*) FROM pg_prepared_statements");
  EXPECT_EQ(co_await Collect(&up), (Seen{std::to_string(limits::kUpstreamStatements)}));
  // Too long to keep: prepared each time, unnamed.
  std::string text = "SELECT 'x' /*" + std::string(limits::kUpstreamStatementText, ' ') + "*/";
  EXPECT_EQ(up.Prepare(text, {}), "");
  Execute(up, "");
  up.WriteSync();
  EXPECT_EQ(co_await Collect(&up), (Seen{"x"}));
}

TEST_F(UpstreamTest, TheStatementUsedLeastMakesRoom) { RunCoroutine(io, Evicts(Socket(), Login())); }

asio::awaitable<void> CancelSoon(CancelTarget target) {
  co_await Pause(std::chrono::milliseconds(200));
  Status sent = co_await SendCancel(target);
  EXPECT_TRUE(sent) << sent.error().operator_detail;
}

asio::awaitable<void> Cancels(DatabaseTarget database, std::shared_ptr<const UpstreamLogin> login) {
  auto connected = co_await Upstream::Connect(*UpstreamTarget::Make(database), login);
  EXPECT_TRUE(connected);
  if (!connected) co_return;
  Upstream& up = **connected;
  asio::co_spawn(co_await asio::this_coro::executor, CancelSoon(up.cancel_target()), asio::detached);
  auto start = std::chrono::steady_clock::now();
  up.WriteQuery("SELECT pg_sleep(60)");
  EXPECT_EQ(co_await Collect(&up), (Seen{"!57014"}));
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(30));
}

TEST_F(UpstreamTest, CancelStopsWhatRunsInClearAndOverTls) {
  RunCoroutine(io, Cancels(Socket(), Login()));
  RunCoroutine(io, Cancels(Tcp(DatabaseTarget::Tls::require), Login()));
}

asio::awaitable<void> EndsInTheMiddle(DatabaseTarget database, std::shared_ptr<const UpstreamLogin> login) {
  auto connected = co_await Upstream::Connect(*UpstreamTarget::Make(database), login);
  EXPECT_TRUE(connected);
  if (!connected) co_return;
  Upstream& up = **connected;
  up.WriteQuery("SELECT pg_terminate_backend(pg_backend_pid())");
  Seen seen = co_await Collect(&up);
  EXPECT_EQ(seen, (Seen{"t", "!57P01", "broken: PostgreSQL closed the connection"}));
  EXPECT_TRUE(up.broken());
  EXPECT_FALSE(up.StillAlive());
}

TEST_F(UpstreamTest, AConnectionThatEndsIsBroken) { RunCoroutine(io, EndsInTheMiddle(Socket(), Login())); }

asio::awaitable<void> RunsOwnText(DatabaseTarget database, std::shared_ptr<const UpstreamLogin> login) {
  auto connected = co_await Upstream::Connect(*UpstreamTarget::Make(database), login);
  EXPECT_TRUE(connected);
  if (!connected) co_return;
  Upstream& up = **connected;
  EXPECT_TRUE(co_await up.Run("SELECT generate_series(1, 100000)"));
  Status failed = co_await up.Run("SELECT 'secret-value'::int");
  EXPECT_FALSE(failed);
  EXPECT_EQ(failed.error().message.find("secret"), std::string::npos);
  EXPECT_NE(failed.error().operator_detail.find("secret-value"), std::string::npos);
  EXPECT_TRUE(up.at_rest());
  EXPECT_TRUE(co_await up.Run("BEGIN"));
  EXPECT_EQ(up.transaction_status(), 'T');
  EXPECT_FALSE(up.at_rest());
}

TEST_F(UpstreamTest, RunsTextsOfOurOwn) { RunCoroutine(io, RunsOwnText(Socket(), Login())); }

}  // namespace
}  // namespace ecluse
