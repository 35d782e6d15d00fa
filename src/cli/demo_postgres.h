// A PostgreSQL of one's own in a folder: made, started, stopped, found again after a crash.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>

#include "base/result.h"

namespace ecluse::demo {

// A cluster that this process started, with fsync on, SCRAM for every connection, a Unix socket and a port on
// 127.0.0.1. Stopped when destroyed; the kernel stops it too when this process dies. Not thread-safe; must be started
// by a thread that lives as long as it.
class PrivatePostgres {
 public:
  // Makes the cluster in `folder` where there is none, with `password` for its superuser postgres, and starts it.
  // Root's cluster runs as user postgres or, without one, nobody, who is given the folder; where that user cannot reach
  // `folder`, the files lie under /var/tmp and `folder` is a link to them. A server left running in it by a killed
  // process is stopped first.
  static Result<PrivatePostgres> Start(const std::string& folder, const std::string& password, uint16_t port);

  PrivatePostgres(PrivatePostgres&& other) noexcept;
  PrivatePostgres& operator=(PrivatePostgres&&) = delete;
  ~PrivatePostgres();

  // Ends connections, writes everything, waits.
  void Stop();

  const std::string& socket_folder() const { return socket_folder_; }
  uint16_t port() const { return port_; }
  // libpq's keyword form, over the socket.
  std::string Url(const std::string& user, const std::string& password, const std::string& database) const;

 private:
  PrivatePostgres() = default;
  pid_t process_ = -1;
  uint16_t port_ = 0;
  std::string socket_folder_;
};

// Whether 127.0.0.1:`port` can be listened on; and a port that can.
bool PortIsFree(uint16_t port);
Result<uint16_t> FreePort();

}  // namespace ecluse::demo
