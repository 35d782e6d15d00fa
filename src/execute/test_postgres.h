// For tests: a private PostgreSQL in a folder of its own, stopped and removed when it goes.
#pragma once

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

namespace ecluse {

// Superuser `postgres` by trust over the Unix socket in folder(); everybody by scram-sha-256 over TCP on 127.0.0.1,
// where TLS is offered with the certificate ca() (its own authority, for 127.0.0.1 and localhost).
class TestPostgres {
 public:
  TestPostgres() {
    std::string pattern = (std::filesystem::temp_directory_path() / "ecluse-pg-XXXXXX").string();
    folder_ = mkdtemp(pattern.data());
    for (const auto& entry : std::filesystem::directory_iterator("/usr/lib/postgresql")) {
      bin_ = std::max(bin_, (entry.path() / "bin/").string());
    }
    if (geteuid() == 0) as_ = "setpriv --reuid=postgres --regid=postgres --clear-groups ";
    if (geteuid() == 0) Shell("chown postgres:postgres " + folder_);
    port_ = FreePort();
    Shell("cd " + folder_ + " && " + as_ + bin_ + "initdb -D data -A trust -U postgres --no-sync -E UTF8 --locale=C");
    Shell("cd " + folder_ + " && " + as_ +
          "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -addext "
          "subjectAltName=IP:127.0.0.1,DNS:localhost -keyout data/server.key -out data/server.crt");
    Shell(as_ + "chmod 600 " + folder_ + "/data/server.key");
    std::ofstream(folder_ + "/data/pg_hba.conf") << "local all all trust\nhost all all 127.0.0.1/32 scram-sha-256\n";
    std::ofstream(folder_ + "/data/postgresql.conf", std::ios::app)
        << "ssl=on\nfsync=off\nlisten_addresses='127.0.0.1'\nport=" << port_ << "\nunix_socket_directories='" << folder_
        << "'\nmax_connections=30\nlogging_collector=off\n";
    Start();
  }
  ~TestPostgres() {
    Stop();
    std::filesystem::remove_all(folder_);
  }

  void Start() { Shell("cd " + folder_ + " && " + as_ + bin_ + "pg_ctl -D data -w -l log start"); }
  void Stop() { Shell("cd " + folder_ + " && " + as_ + bin_ + "pg_ctl -D data -m immediate -w stop"); }
  void Restart() { Shell("cd " + folder_ + " && " + as_ + bin_ + "pg_ctl -D data -m fast -w -l log restart"); }
  // Runs SQL as the superuser and gives what psql prints.
  std::string Sql(const std::string& text) {
    std::ofstream(folder_ + "/in.sql") << text;
    Shell(bin_ + "psql -X -q -A -t -v ON_ERROR_STOP=1 -h " + folder_ + " -p " + std::to_string(port_) +
              " -U postgres -f " + folder_ + "/in.sql",
          folder_ + "/out.txt");
    std::ifstream out(folder_ + "/out.txt");
    std::string result{std::istreambuf_iterator<char>(out), {}};
    while (!result.empty() && result.back() == '\n') result.pop_back();
    return result;
  }

  const std::string& folder() const { return folder_; }
  uint16_t port() const { return port_; }
  std::string ca() const { return folder_ + "/data/server.crt"; }

 private:
  static uint16_t FreePort() {
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    bind(fd, reinterpret_cast<sockaddr*>(&address), size);
    getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size);
    close(fd);
    return ntohs(address.sin_port);
  }
  static void Shell(const std::string& command, const std::string& out = "/dev/null") {
    int status = std::system(("(" + command + ") >" + out + " 2>&1").c_str());
    if (status != 0) ADD_FAILURE() << command << " gave " << status;
  }

  std::string folder_, bin_, as_;
  uint16_t port_ = 0;
};

}  // namespace ecluse
