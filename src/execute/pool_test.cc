#include "execute/pool.h"

#include <gtest/gtest.h>

#include <thread>

#include "base/limits.h"
#include "base/test_coroutine.h"
#include "execute/test_postgres.h"

namespace ecluse {
namespace {

namespace asio = boost::asio;
using namespace std::chrono_literals;

std::unique_ptr<TestPostgres> postgres;

class PoolTest : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    postgres = std::make_unique<TestPostgres>();
    postgres->Sql("CREATE ROLE officer LOGIN; CREATE SEQUENCE public.s; GRANT ALL ON SEQUENCE public.s TO officer");
  }
  static void TearDownTestSuite() { postgres.reset(); }

  PoolTest() {
    login->user = "officer";
    login->schemas = {"public"};
  }
  std::shared_ptr<const UpstreamTarget> Target() const {
    return *UpstreamTarget::Make({postgres->folder(), postgres->port(), "postgres", DatabaseTarget::Tls::disable, ""});
  }
  UpstreamPool& Pool(size_t limit = 5, std::chrono::milliseconds wait = 5s) {
    quota = std::make_shared<UpstreamQuota>(limit, wait);
    pool = std::make_unique<UpstreamPool>(io.get_executor(), Target(), quota);
    return *pool;
  }

  asio::io_context io;
  std::shared_ptr<UpstreamLogin> login = std::make_shared<UpstreamLogin>();
  std::shared_ptr<UpstreamQuota> quota;
  std::unique_ptr<UpstreamPool> pool;
};

using Login = std::shared_ptr<const UpstreamLogin>;

// The first value of the last row.
asio::awaitable<std::string> Ask(Upstream* upstream, std::string text) {
  upstream->WriteQuery(text);
  co_await upstream->Flush();
  std::string last;
  while (upstream->owed() > 0) {
    auto frame = co_await upstream->Next();
    if (!frame) co_return "broken";
    pg::Values row;
    pg::ErrorFields fields;
    if (frame->type == 'D' && pg::ReadDataRow(frame->payload, &row)) last = *row.begin() ? **row.begin() : "NULL";
    if (frame->type == 'E' && pg::ReadErrorFields(frame->payload, &fields)) last = "!" + std::string(fields.code());
  }
  co_return last;
}

asio::awaitable<std::string> Pid(Upstream* upstream) { co_return co_await Ask(upstream, "SELECT pg_backend_pid()"); }

asio::awaitable<void> Reuses(UpstreamPool* pool, Login login) {
  UpstreamLease one = *co_await pool->Acquire(login);
  std::string pid = co_await Pid(&*one);
  std::string name(one->Prepare("SELECT 1", {}));
  one->WriteSync();
  co_await one->Flush();
  while (one->owed() > 0) co_await one->Next();
  one.Release(Residue::none);
  EXPECT_EQ(pool->idle(), 1u);
  UpstreamLease again = pool->TryAcquire(login);
  EXPECT_TRUE(again);
  if (!again) co_return;
  EXPECT_EQ(co_await Pid(&*again), pid);
  EXPECT_EQ(again->Prepare("SELECT 1", {}), name) << "what is prepared stays";
  EXPECT_FALSE(again->stream().has_output());
  EXPECT_FALSE(pool->TryAcquire(login)) << "lent once";
  again.Release(Residue::none);
}

TEST_F(PoolTest, LendsAConnectionAgainWithItsStatements) { RunCoroutine(io, Reuses(&Pool(), login)); }

asio::awaitable<void> Cleans(UpstreamPool* pool, Login login) {
  UpstreamLease one = *co_await pool->Acquire(login);
  std::string pid = co_await Pid(&*one);
  one->Prepare("SELECT 1", {});
  one->WriteSync();
  co_await one->Flush();
  while (one->owed() > 0) co_await one->Next();
  co_await Ask(&*one,
               "SET TimeZone = 'Asia/Tokyo'; SET search_path = 'public'; SELECT pg_advisory_lock(7); "
               "SELECT nextval('public.s'); DECLARE c CURSOR WITH HOLD FOR SELECT 1; LISTEN x; "
               "CREATE TEMP TABLE pg_temp.t(x int); SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY");
  EXPECT_EQ(co_await Ask(&*one, "BEGIN; SELECT 1"), "1");
  EXPECT_EQ(one->transaction_status(), 'T');
  one.Release(Residue::settings);
  EXPECT_EQ(pool->idle(), 0u) << "not before it is clean";
  while (pool->idle() == 0) co_await Pause(5ms);

  UpstreamLease again = pool->TryAcquire(login);
  EXPECT_EQ(co_await Pid(&*again), pid);
  EXPECT_EQ(again->transaction_status(), 'I');
  EXPECT_NE(co_await Ask(&*again, "SHOW TimeZone"), "Asia/Tokyo");
  EXPECT_EQ(co_await Ask(&*again, "SHOW search_path"), "pg_catalog, \"public\"");
  EXPECT_EQ(co_await Ask(&*again, "SHOW default_transaction_read_only"), "off");
  EXPECT_EQ(co_await Ask(&*again, "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'"), "0");
  EXPECT_EQ(co_await Ask(&*again, "SELECT count(*) FROM pg_cursors WHERE name <> ''"), "0");
  EXPECT_EQ(co_await Ask(&*again, "SELECT count(*) FROM pg_listening_channels()"), "0");
  EXPECT_EQ(co_await Ask(&*again, "SELECT count(*) FROM pg_class WHERE relname = 't' AND relpersistence = 't'"), "0");
  EXPECT_EQ(co_await Ask(&*again, "SELECT currval('public.s')"), "!55000");
  EXPECT_EQ(co_await Ask(&*again, "SELECT count(*) FROM pg_prepared_statements"), "1");
}

TEST_F(PoolTest, WhatASessionLeftBehindIsGone) { RunCoroutine(io, Cleans(&Pool(), login)); }

asio::awaitable<void> CleansUnsaid(UpstreamPool* pool, Login login) {
  {
    UpstreamLease one = *co_await pool->Acquire(login);
    co_await Ask(&*one, "SET TimeZone = 'Asia/Tokyo'");
  }
  while (pool->idle() == 0) co_await Pause(5ms);
  UpstreamLease again = pool->TryAcquire(login);
  EXPECT_NE(co_await Ask(&*again, "SHOW TimeZone"), "Asia/Tokyo");
  // Said to be clean, but in a transaction.
  co_await Ask(&*again, "BEGIN; SET LOCAL TimeZone = 'Asia/Tokyo'");
  again.Release(Residue::none);
  while (pool->idle() == 0) co_await Pause(5ms);
  again = pool->TryAcquire(login);
  EXPECT_EQ(again->transaction_status(), 'I');
}

TEST_F(PoolTest, ALeaseThatJustEndsIsCleaned) { RunCoroutine(io, CleansUnsaid(&Pool(), login)); }

asio::awaitable<void> SurvivesRestart(UpstreamPool* pool, Login login, UpstreamQuota* quota) {
  {
    UpstreamLease one = *co_await pool->Acquire(login), two = *co_await pool->Acquire(login);
    one.Release(Residue::none);
    two.Release(Residue::none);
  }
  EXPECT_EQ(pool->idle(), 2u);
  EXPECT_EQ(quota->open("officer"), 2u);
  postgres->Restart();
  auto again = co_await pool->Acquire(login);
  EXPECT_TRUE(again);
  if (!again) co_return;
  EXPECT_EQ(co_await Ask(&**again, "SELECT 42"), "42");
  EXPECT_EQ(pool->idle(), 0u);
  EXPECT_EQ(quota->open("officer"), 1u) << "dead ones give their places back";
}

TEST_F(PoolTest, ConnectionsThatDiedIdleAreReplaced) {
  UpstreamPool& pool_ref = Pool();
  RunCoroutine(io, SurvivesRestart(&pool_ref, login, quota.get()));
}

asio::awaitable<void> TakeAndNote(UpstreamPool* pool, Login login, int number, std::vector<int>* order) {
  auto lease = co_await pool->Acquire(login);
  EXPECT_TRUE(lease);
  order->push_back(number);
  if (lease) lease->Release(Residue::none);
}

asio::awaitable<void> Waits(UpstreamPool* pool, Login login, UpstreamQuota* quota) {
  UpstreamLease one = *co_await pool->Acquire(login), two = *co_await pool->Acquire(login);
  std::vector<int> order;
  auto executor = co_await asio::this_coro::executor;
  for (int i = 0; i < 3; ++i) asio::co_spawn(executor, TakeAndNote(pool, login, i, &order), asio::detached);
  co_await Pause(50ms);
  EXPECT_TRUE(order.empty());
  EXPECT_EQ(quota->waiting("officer"), 3u);
  one.Release(Residue::none);
  co_await Pause(50ms);
  EXPECT_EQ(order, (std::vector<int>{0, 1, 2})) << "in the order of asking";
  EXPECT_EQ(quota->open("officer"), 2u);
}

TEST_F(PoolTest, WaitsInOrderForAConnection) {
  UpstreamPool& pool_ref = Pool(2);
  RunCoroutine(io, Waits(&pool_ref, login, quota.get()));
}

asio::awaitable<void> GivesUp(UpstreamPool* pool, Login login, UpstreamQuota* quota) {
  UpstreamLease one = *co_await pool->Acquire(login);
  auto refused = co_await pool->Acquire(login);
  EXPECT_FALSE(refused);
  if (refused) co_return;
  EXPECT_EQ(refused.error().sqlstate, "53300");
  EXPECT_FALSE(refused.error().hint.empty());
  EXPECT_EQ(quota->waiting("officer"), 0u);
  // A connection that breaks frees its place for one that waits.
  one->MarkBroken();
  std::vector<int> order;
  asio::co_spawn(co_await asio::this_coro::executor, TakeAndNote(pool, login, 1, &order), asio::detached);
  co_await Pause(20ms);
  one.Release(Residue::none);
  co_await Pause(80ms);
  EXPECT_EQ(order, (std::vector<int>{1}));
}

TEST_F(PoolTest, GivesUpWhenNoneComesFree) {
  UpstreamPool& pool_ref = Pool(1, 150ms);
  RunCoroutine(io, GivesUp(&pool_ref, login, quota.get()));
}

asio::awaitable<void> DropsBusy(UpstreamPool* pool, Login login, UpstreamQuota* quota) {
  UpstreamLease one = *co_await pool->Acquire(login);
  one->WriteQuery("SELECT pg_sleep(60) /* left */");
  co_await one->Flush();
  co_await Pause(50ms);
  one.Release(Residue::none);
  for (int i = 0; i < 100 && quota->open("officer") > 0; ++i) co_await Pause(20ms);
  EXPECT_EQ(quota->open("officer"), 0u);
  EXPECT_EQ(pool->idle(), 0u);
  co_await Pause(50ms);
  EXPECT_EQ(postgres->Sql("SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%/* left */' AND "
                          "pid <> pg_backend_pid() AND state = 'active'"),
            "0");
}

TEST_F(PoolTest, AStatementNobodyWaitsForIsCancelled) {
  UpstreamPool& pool_ref = Pool();
  RunCoroutine(io, DropsBusy(&pool_ref, login, quota.get()));
}

asio::awaitable<void> Drains(UpstreamPool* pool, Login login, UpstreamQuota* quota) {
  UpstreamLease one = *co_await pool->Acquire(login), two = *co_await pool->Acquire(login);
  one.Release(Residue::none);
  pool->Drain();
  EXPECT_EQ(pool->idle(), 0u);
  two.Release(Residue::none);
  EXPECT_EQ(pool->idle(), 0u) << "borrowed before the drain";
  EXPECT_EQ(quota->open("officer"), 0u);
}

TEST_F(PoolTest, DrainClosesWhatComesBack) {
  UpstreamPool& pool_ref = Pool();
  RunCoroutine(io, Drains(&pool_ref, login, quota.get()));
}

asio::awaitable<void> NeverEnds(UpstreamPool* pool, Login login, bool* waits) {
  UpstreamLease one = *co_await pool->Acquire(login);
  one->WriteQuery("SELECT pg_sleep(600)");
  co_await one->Flush();
  *waits = true;
  co_await one->Next();
}

// As at the gate's end: a session that did not end in time goes with its io_context, after the pool.
TEST_F(PoolTest, ALeaseMayOutliveItsPool) {
  auto context = std::make_unique<asio::io_context>();
  quota = std::make_shared<UpstreamQuota>(5, 5s);
  pool = std::make_unique<UpstreamPool>(context->get_executor(), Target(), quota);
  bool waits = false;
  asio::co_spawn(*context, NeverEnds(pool.get(), login, &waits), asio::detached);
  while (!waits) context->run_one();
  EXPECT_EQ(quota->open("officer"), 1u);
  pool.reset();
  context.reset();
  EXPECT_EQ(quota->open("officer"), 0u);
}

asio::awaitable<void> OutlivedByACancel(UpstreamPool* pool, Login login, UpstreamQuota* quota) {
  UpstreamLease one = *co_await pool->Acquire(login);
  std::shared_ptr<void> under_way = one->CancelStarted();
  EXPECT_TRUE(one->cancelling());
  one.Release(Residue::none);
  EXPECT_EQ(pool->idle(), 0u) << "the cancel would hit whoever borrows it next";
  EXPECT_EQ(quota->open("officer"), 0u);
  under_way.reset();

  UpstreamLease two = *co_await pool->Acquire(login);
  two->CancelStarted();
  EXPECT_FALSE(two->cancelling());
  EXPECT_TRUE(two->was_cancelled());
  two.Release(Residue::none);
  while (pool->idle() == 0) co_await Pause(5ms);
  EXPECT_FALSE((*co_await pool->Acquire(login))->was_cancelled()) << "cleaned";
}

TEST_F(PoolTest, AConnectionThatIsBeingCancelledIsNotLent) {
  UpstreamPool& pool_ref = Pool();
  RunCoroutine(io, OutlivedByACancel(&pool_ref, login, quota.get()));
}

asio::awaitable<void> Hammer(UpstreamPool* pool, Login login, std::atomic<int>* done, int rounds) {
  for (int i = 0; i < rounds; ++i) {
    auto lease = co_await pool->Acquire(login);
    EXPECT_TRUE(lease);
    if (!lease) co_return;
    EXPECT_EQ(co_await Ask(&**lease, "SELECT 1"), "1");
    lease->Release(i % 7 == 0 ? Residue::settings : Residue::none);
    co_await asio::post(co_await asio::this_coro::executor, asio::use_awaitable);
  }
  ++*done;
}

TEST_F(PoolTest, ThreadsShareOneLimit) {
  auto shared = std::make_shared<UpstreamQuota>(3, 20s);
  asio::io_context contexts[2];
  std::unique_ptr<UpstreamPool> pools[2];
  std::atomic<int> done = 0;
  for (int i = 0; i < 2; ++i) {
    pools[i] = std::make_unique<UpstreamPool>(contexts[i].get_executor(), Target(), shared);
    for (int j = 0; j < 8; ++j) {
      asio::co_spawn(contexts[i], Hammer(pools[i].get(), login, &done, 40), asio::detached);
    }
  }
  auto run = [&](int i) {
    while (done < 16) {
      contexts[i].restart();
      contexts[i].run_for(20ms);
    }
  };
  std::thread other(run, 1);
  run(0);
  other.join();
  EXPECT_EQ(done, 16);
  EXPECT_LE(shared->open("officer"), 3u);
  EXPECT_EQ(shared->waiting("officer"), 0u);
}

}  // namespace
}  // namespace ecluse
