#include "cli/running_gate.h"

#include <fmt/format.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <csignal>
#include <cstdlib>
#include <fstream>
#include <sstream>

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

}  // namespace ecluse
