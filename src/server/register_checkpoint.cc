#include "server/register_checkpoint.h"

#include "base/limits.h"
#include "base/log.h"

namespace ecluse {

Status RegisterCheckpoint::Connect() {
  if (connection_) return {};
  ECLUSE_TRY(Database connection, Database::ConnectAs(target_, login_));
  connection_ = std::move(connection);
  return {};
}

Result<std::string> RegisterCheckpoint::Read() {
  std::lock_guard lock(mutex_);
  ECLUSE_OK(Connect());
  ECLUSE_TRY(Rows rows, connection_->Query("SELECT note FROM " + table_ + " WHERE origin = $1", {origin_},
                                           limits::kCheckpointWait));
  held_ = rows.size() > 0 ? rows.Text(0, 0) : std::string();
  return held_;
}

// False where the row is not what it was.
Result<bool> RegisterCheckpoint::Swap(const std::string& note, const Checkpoint& checkpoint) {
  const std::vector<std::optional<std::string>> values = {origin_, std::to_string(checkpoint.size), note};
  if (held_.empty()) {
    ECLUSE_TRY(Rows made,
               connection_->Query(
                   "INSERT INTO " + table_ + " VALUES ($1, $2::bigint, $3, now()) ON CONFLICT DO NOTHING RETURNING 1",
                   values, limits::kCheckpointWait));
    if (made.size() > 0) return true;
  }
  std::vector<std::optional<std::string>> more = values;
  more.insert(more.end(), {held_, attempted_});
  ECLUSE_TRY(Rows moved, connection_->Query("UPDATE " + table_ +
                                                " SET size = $2::bigint, note = $3, told = now()"
                                                " WHERE origin = $1 AND note IN ($4, $5) RETURNING 1",
                                            more, limits::kCheckpointWait));
  return moved.size() > 0;
}

Result<bool> RegisterCheckpoint::Tell(const std::string& note, const Checkpoint& checkpoint) {
  if (!begun_) return false;
  std::lock_guard lock(mutex_);
  Status connected = Connect();
  Result<bool> swapped = connected ? Swap(note, checkpoint) : std::unexpected(connected.error());
  if (!swapped) {
    // Whether it was taken before the connection broke is seen next time.
    if (connected) attempted_ = note;
    connection_.reset();
    if (!silent_)
      Log().error("the register's database does not take the ledger's checkpoint: {} ({})",
                  Printable(swapped.error().message), Printable(swapped.error().operator_detail));
    silent_ = true;
    return false;
  }
  if (!*swapped) {
    return Fail(sqlstate::kIo, "the register's database holds another checkpoint of this ledger than the last one told",
                "another gate writes a ledger of the same origin, or the database was put back: start the gate again, "
                "which says which",
                "ledger.told", origin_);
  }
  if (silent_) Log().info("the register's database takes the ledger's checkpoint again");
  silent_ = false;
  held_ = note;
  attempted_.clear();
  return true;
}

void RegisterCheckpoint::SetLogin(LoginCredentials login) {
  std::lock_guard lock(mutex_);
  login_ = std::move(login);
}

}  // namespace ecluse
