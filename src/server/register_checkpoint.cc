#include "server/register_checkpoint.h"

#include "base/limits.h"
#include "base/log.h"

namespace ecluse {
namespace {

constexpr int kTries = 3;

}  // namespace

Status RegisterCheckpoint::Connect() {
  if (connection_) return {};
  LoginCredentials login;
  {
    std::lock_guard lock(login_mutex_);
    login = {login_.login, login_.password.Copy()};
  }
  ECLUSE_TRY(Database connection, Database::ConnectAs(target_, login));
  connection_ = std::move(connection);
  return {};
}

Result<std::string> RegisterCheckpoint::Ask() {
  ECLUSE_TRY(Rows rows, connection_->Query("SELECT note FROM " + table_ + " WHERE origin = $1", {origin_},
                                           limits::kCheckpointWait));
  return rows.size() > 0 ? rows.Text(0, 0) : std::string();
}

Result<std::string> RegisterCheckpoint::Read() {
  std::lock_guard lock(mutex_);
  ECLUSE_OK(Connect());
  ECLUSE_TRY(held_, Ask());
  return held_;
}

// False where the row is not what it was.
Result<bool> RegisterCheckpoint::Swap(const std::string& note, const Checkpoint& checkpoint) {
  std::vector<std::optional<std::string>> values = {origin_, std::to_string(checkpoint.size), note};
  std::string sql = "INSERT INTO " + table_ + " VALUES ($1, $2::bigint, $3, now()) ON CONFLICT DO NOTHING RETURNING 1";
  if (!held_.empty()) {
    values.emplace_back(held_);
    sql = "UPDATE " + table_ +
          " SET size = $2::bigint, note = $3, told = now() WHERE origin = $1 AND note = $4 RETURNING 1";
  }
  ECLUSE_TRY(Rows moved, connection_->Query(sql, values, limits::kCheckpointWait));
  return moved.size() > 0;
}

// `refused`: the row is none of ours.
Result<bool> RegisterCheckpoint::Replace(const std::string& note, const Checkpoint& checkpoint,
                                         const LedgerOptions::Ours& ours, Status* refused) {
  ECLUSE_OK(Connect());
  for (int tries = 0; tries < kTries; ++tries) {
    ECLUSE_TRY(bool swapped, Swap(note, checkpoint));
    if (swapped) return true;
    ECLUSE_TRY(held_, Ask());
    if (!held_.empty()) *refused = ours(held_);
    if (!*refused) return false;
  }
  return false;
}

Result<bool> RegisterCheckpoint::Tell(const std::string& note, const Checkpoint& checkpoint,
                                      const LedgerOptions::Ours& ours) {
  if (!begun_) return false;
  std::lock_guard lock(mutex_);
  Status refused;
  Result<bool> told = Replace(note, checkpoint, ours, &refused);
  if (!refused) {
    Error why = std::move(refused).error();
    return Fail(sqlstate::kIo,
                "the register's database holds another checkpoint of this ledger than was told: " + why.message,
                why.hint, "ledger.told", origin_);
  }
  if (!told || !*told) {
    connection_.reset();
    std::string reason = told ? "somebody keeps changing it"
                              : Printable(told.error().message) + " (" + Printable(told.error().operator_detail) + ")";
    if (reason != reason_) Log().error("the register's database does not take the ledger's checkpoint: {}", reason);
    reason_ = std::move(reason);
    return false;
  }
  if (!reason_.empty()) Log().info("the register's database takes the ledger's checkpoint again");
  reason_.clear();
  held_ = note;
  return true;
}

void RegisterCheckpoint::SetLogin(LoginCredentials login) {
  std::lock_guard lock(login_mutex_);
  login_ = std::move(login);
}

}  // namespace ecluse
