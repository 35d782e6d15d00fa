#include "cli/running_gate.h"

#include <fmt/format.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <fstream>
#include <sstream>

namespace ecluse {

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
        process > 0)
      return process;
  }
  return std::nullopt;
}

}  // namespace ecluse
