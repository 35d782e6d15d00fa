#include "cli/demo_load.h"

#include <fmt/format.h>
#include <libpq-fe.h>

#include <algorithm>
#include <atomic>
#include <memory>
#include <mutex>
#include <span>
#include <thread>
#include <vector>

namespace ecluse::demo {

namespace {

struct Finish {
  void operator()(PGconn* connection) const { PQfinish(connection); }
  void operator()(PGresult* result) const { PQclear(result); }
};
using Connection = std::unique_ptr<PGconn, Finish>;
using Answer = std::unique_ptr<PGresult, Finish>;

std::unexpected<Error> Failed(PGconn* connection, const std::string& doing) {
  return Fail(sqlstate::kInternal, "the demonstration register could not be loaded",
              "Remove the demonstration's folder and run `ecluse demo` again.", "demo.load",
              fmt::format("{}: {}", doing, PQerrorMessage(connection)));
}

Result<Connection> Connect(const std::string& url) {
  Connection connection(PQconnectdb(url.c_str()));
  if (!connection || PQstatus(connection.get()) != CONNECTION_OK) return Failed(connection.get(), "connecting");
  PQsetNoticeProcessor(connection.get(), [](void*, const char*) {}, nullptr);
  return connection;
}

Status Run(PGconn* connection, const char* sql) {
  Answer answer(PQexec(connection, sql));
  ExecStatusType status = PQresultStatus(answer.get());
  if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK && status != PGRES_COPY_IN)
    return Failed(connection, sql);
  return {};
}

// Hands out work to threads; the first failure ends it for all.
class Crew {
 public:
  Crew(const std::string& url, int threads) : url_(url), threads_(threads) {}

  // Calls `work` with every number below `jobs`, in order of start, each on a connection of its thread.
  Status Each(size_t jobs, const std::function<Status(PGconn*, size_t)>& work) {
    std::atomic<size_t> next = 0;
    auto run = [&] {
      Result<Connection> connection = Connect(url_);
      if (!connection) return Note(std::unexpected(connection.error()));
      for (size_t job; (job = next++) < jobs && Going();) Note(work(connection->get(), job));
    };
    std::vector<std::thread> helpers;
    for (int i = 1; i < threads_; ++i) helpers.emplace_back(run);
    run();
    for (std::thread& helper : helpers) helper.join();
    return first_;
  }
  bool Going() {
    std::lock_guard lock(mutex_);
    return first_.has_value();
  }

 private:
  void Note(Status status) {
    std::lock_guard lock(mutex_);
    if (!status && first_) first_ = std::move(status);
  }
  const std::string& url_;
  const int threads_;
  std::mutex mutex_;
  Status first_;
};

// Adds up what all threads have done.
class Meter {
 public:
  Meter(const Progress& progress, std::string doing, int64_t of)
      : progress_(progress), doing_(std::move(doing)), of_(of) {}
  void Add(int64_t done) {
    std::lock_guard lock(mutex_);
    done_ += done;
    if (progress_) progress_(doing_, done_, of_);
  }

 private:
  const Progress& progress_;
  const std::string doing_;
  const int64_t of_;
  std::mutex mutex_;
  int64_t done_ = 0;
};

Status CopyTable(PGconn* connection, const Table& table, const Shape& shape, Meter& meter, Crew& crew) {
  constexpr size_t kChunk = 256 * 1024;
  // Emptied in the same transaction, the table's rows need no write-ahead log (PostgreSQL manual, 14.4.7).
  ECLUSE_OK(Run(connection, fmt::format("BEGIN; TRUNCATE {}", table.name).c_str()));
  ECLUSE_OK(Run(connection, fmt::format("COPY {} ({}) FROM STDIN", table.name, table.columns).c_str()));
  std::string buffer;
  buffer.reserve(kChunk + 4'096);
  int64_t units = table.units(shape), reported = 0;
  for (int64_t unit = 1; unit <= units; ++unit) {
    table.rows(shape, unit, buffer);
    if (buffer.size() < kChunk && unit != units) continue;
    if (PQputCopyData(connection, buffer.data(), static_cast<int>(buffer.size())) != 1) {
      return Failed(connection, fmt::format("COPY {}", table.name));
    }
    buffer.clear();
    meter.Add(unit - reported);
    reported = unit;
    if (!crew.Going()) return {};
  }
  if (PQputCopyEnd(connection, nullptr) != 1) return Failed(connection, fmt::format("COPY {}", table.name));
  Answer answer(PQgetResult(connection));
  if (PQresultStatus(answer.get()) != PGRES_COMMAND_OK) return Failed(connection, fmt::format("COPY {}", table.name));
  while (Answer(PQgetResult(connection))) {
  }
  return Run(connection, "COMMIT");
}

Status RunAll(Crew& crew, std::span<const char* const> statements, Meter& meter) {
  return crew.Each(statements.size(), [&](PGconn* connection, size_t job) -> Status {
    ECLUSE_OK(Run(connection, "SET maintenance_work_mem = '256MB'"));
    ECLUSE_OK(Run(connection, statements[job]));
    meter.Add(1);
    return {};
  });
}

}  // namespace

Status LoadRegister(const std::string& url, const Shape& shape, int threads, const Progress& progress) {
  ECLUSE_TRY(Connection connection, Connect(url));
  ECLUSE_OK(Run(connection.get(), SchemaSql()));
  Crew crew(url, threads);

  std::span<const Table> tables = Tables();
  int64_t units = 0;
  for (const Table& table : tables) units += table.units(shape);
  Meter rows(progress, "making people, cases, permits, sightings", units);
  ECLUSE_OK(crew.Each(tables.size(),
                      [&](PGconn* helper, size_t job) { return CopyTable(helper, tables[job], shape, rows, crew); }));

  auto steps = static_cast<int64_t>(KeySql().size() + ReferenceSql().size() + 2);
  Meter keys(progress, "building keys and indexes", steps);
  ECLUSE_OK(RunAll(crew, KeySql(), keys));
  ECLUSE_OK(RunAll(crew, ReferenceSql(), keys));
  ECLUSE_OK(Run(connection.get(), FinishSql()));
  keys.Add(1);
  for (const Table& table : tables) ECLUSE_OK(Run(connection.get(), fmt::format("ANALYZE {}", table.name).c_str()));
  keys.Add(1);
  return {};
}

}  // namespace ecluse::demo
