#include "cli/running_gate.h"

#include <fmt/format.h>
#include <pwd.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdlib>
#include <fstream>
#include <sstream>
#include <thread>

#include "base/file.h"
#include "base/limits.h"
#include "base/log.h"
#include "ledger/ledger.h"
#include "ledger/origin.h"
#include "policy/applied.h"
#include "server/control_socket.h"

namespace ecluse {
namespace {

// The line `SigCgt:` of its status: a bit for each signal, the lowest is signal 1 (proc(5)). Whatever else holds the
// lock for a moment, a command, would die of the signal.
bool CatchesHangUp(pid_t process) {
  std::ifstream status(fmt::format("/proc/{}/status", process));
  for (std::string line; std::getline(status, line);)
    if (line.starts_with("SigCgt:")) return (std::strtoull(line.c_str() + 7, nullptr, 16) >> (SIGHUP - 1) & 1) != 0;
  return false;
}

Status WriteEntry(const Policy& policy, KeyRing& keys, EntryKind kind, const std::string& reason, uint64_t rows) {
  ECLUSE_TRY(const auto told, AskIfRunning(policy, {{"command", "write-down"},
                                                    {"kind", std::string(EntryKindName(kind))},
                                                    {"reason", reason},
                                                    {"rows", static_cast<int64_t>(rows)}}));
  if (told) return {};
  ECLUSE_TRY(const auto ledger, RealFiles().Find(policy.data_dir + "/ledger/origin"));
  if (!ledger) return {};
  LedgerOptions options;
  options.data_dir = policy.data_dir;
  options.register_name = policy.register_name;
  EntryDraft draft;
  draft.kind = kind;
  draft.policy = policy.digest;
  draft.door = "command";
  draft.reason = reason;
  draft.rows = static_cast<int64_t>(rows);
  return Ledger::WriteDown(options, keys, std::move(draft));
}

}  // namespace

// A line is `1: FLOCK ADVISORY WRITE 4711 08:01:131072 0 EOF`: process, device (hexadecimal) and inode (proc(5)).
std::optional<pid_t> RunningGate(const std::string& data_dir) {
  struct stat info{};
  if (stat((data_dir + "/ledger/lock").c_str(), &info) != 0) return std::nullopt;
  std::string file = fmt::format("{:02x}:{:02x}:{}", major(info.st_dev), minor(info.st_dev), info.st_ino);
  std::ifstream locks("/proc/locks");
  for (std::string line; std::getline(locks, line);) {
    std::istringstream words(line);
    std::string number, kind, mode, access, place;
    pid_t process = 0;
    if (words >> number >> kind >> mode >> access >> process >> place && kind == "FLOCK" && place == file &&
        process > 0 && CatchesHangUp(process))
      return process;
  }
  return std::nullopt;
}

Result<std::optional<std::string>> AskIfRunning(const Policy& policy, const boost::json::object& request) {
  auto answer = AskGate(policy.data_dir, request);
  if (answer) return std::move(*answer);
  if (answer.error().rule != "control.reach") return std::unexpected(std::move(answer).error());
  FileSystem& files = RealFiles();
  ECLUSE_TRY(const auto beginning, files.Find(policy.data_dir + "/beginning"));
  if (beginning)
    return Fail(sqlstate::kIo, "a new ledger was begun and not finished", "run `ecluse ledger new` again, as before",
                "ledger.new", policy.data_dir + "/beginning");
  ECLUSE_TRY(const auto ledger, files.Find(policy.data_dir + "/ledger"));
  if (!ledger) return std::nullopt;
  ECLUSE_TRY(auto lock, files.Open(policy.data_dir + "/ledger/lock", OpenMode::lock));
  ECLUSE_TRY(const bool free, lock->TryLock());
  if (free) return std::nullopt;
  return Fail(sqlstate::kIo, "a gate runs over " + policy.data_dir + " and cannot be asked",
              "run this as the gate's user on its machine; where the gate just starts or stops, try again",
              "control.reach", answer.error().operator_detail);
}

Status CheckNoGate(Database& owner, const Policy& policy, std::string_view does) {
  ECLUSE_TRY(const Rows lock, owner.Query("SELECT pg_try_advisory_lock($1)", {std::to_string(GateLockKey(policy))}));
  if (!lock.True(0, 0))
    return Fail(sqlstate::kInvalidParameter, fmt::format("a gate runs, and {}", does),
                "stop it for as long as this takes: the sealed tables are read once", "keys.gate");
  std::string open;
  for (const auto late = std::chrono::steady_clock::now() + limits::kSealLock; std::chrono::steady_clock::now() < late;
       std::this_thread::sleep_for(std::chrono::milliseconds(100))) {
    ECLUSE_TRY(const Rows rows,
               owner.Query("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND "
                           "usename = ANY ($1::text[])",
                           {TextArray(policy.Logins())}));
    open = rows.Text(0, 0);
    if (open == "0") return {};
  }
  return Fail(sqlstate::kInvalidParameter, fmt::format("{} connections of the gate's logins are still open", open),
              "wait until they have ended, or end them (pg_terminate_backend), and try again", "keys.gate");
}

Status CheckGateUser(const Policy& policy) {
  struct stat info{};
  if (stat(policy.data_dir.c_str(), &info) != 0 || info.st_uid == geteuid()) return {};
  return Fail(sqlstate::kIo, policy.data_dir + " belongs to another user, who could not read what this makes",
              "run it as the gate's user: runuser -u USER -- ecluse …", "cli.user");
}

std::string SystemUser() {
  const passwd* user = getpwuid(getuid());
  return Printable(user == nullptr ? std::to_string(getuid()) : user->pw_name);
}

Status GiveKeys(const Policy& policy) {
  ECLUSE_OK(AskIfRunning(policy, {{"command", "take-keys"}}));
  return {};
}

Status WriteKeyEntry(const Policy& policy, KeyRing& keys, const std::string& reason) {
  return WriteEntry(policy, keys, EntryKind::key, reason, 0);
}

Status WriteCollectionEntry(const Policy& policy, KeyRing& keys, const std::string& reason, uint64_t rows) {
  return WriteEntry(policy, keys, EntryKind::collection, reason, rows);
}

DeletionWriter::DeletionWriter(const Policy& policy, KeyRing& keys) : policy_(policy), keys_(keys) {}
DeletionWriter::~DeletionWriter() = default;

Status DeletionWriter::Write(const Deletion& deletion) {
  if (!ledger_) {
    ECLUSE_TRY(const auto told, AskIfRunning(policy_, DeletionRequest(deletion)));
    if (told) return {};
    ECLUSE_TRY(const auto there, RealFiles().Find(policy_.data_dir + "/ledger/origin"));
    if (!there)
      return Fail(sqlstate::kIo, "there is no ledger yet, in which it could be written down whose rows are deleted",
                  "start the gate once: `ecluse serve`", "ledger.none");
    LedgerOptions options;
    options.data_dir = policy_.data_dir;
    options.register_name = policy_.register_name;
    SegmentFolder folder{&RealFiles(), policy_.data_dir + "/ledger", {}, 0};
    ECLUSE_TRY(options.node, OwnNode(&folder));
    ECLUSE_TRY(ledger_, Ledger::Open(std::move(options), keys_));
  }
  return WriteDeletion(*ledger_, keys_, deletion, policy_.digest);
}

}  // namespace ecluse
