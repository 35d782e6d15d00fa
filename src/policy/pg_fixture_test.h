// A private PostgreSQL 15 for tests: its own folder, its own free port, stopped and deleted when the process ends.
#pragma once

#include <arpa/inet.h>
#include <ftw.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <pwd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

#include "policy/database.h"

namespace ecluse {

class PrivatePostgres {
 public:
  // The process's own server, started at first use.
  static PrivatePostgres& Get() {
    static PrivatePostgres server;
    return server;
  }

  const std::string& folder() const { return folder_; }
  int port() const { return port_; }
  bool running() const { return running_; }
  std::string Url(const std::string& user, const std::string& database) const {
    return "host=" + folder_ + " port=" + std::to_string(port_) + " user=" + user + " dbname=" + database;
  }
  // As the superuser. Fails the test where it cannot.
  Database Super(const std::string& database = "postgres") {
    auto connection = Database::Connect(Url("postgres", database));
    if (!connection) ADD_FAILURE() << connection.error().message;
    return std::move(*connection);
  }
  // Several statements as `user`, each failure failing the test.
  void Run(const std::string& user, const std::string& database, const std::string& sql) {
    auto connection = Database::Connect(Url(user, database));
    ASSERT_TRUE(connection) << connection.error().message;
    auto done = connection->Run(sql);
    EXPECT_TRUE(done) << done.error().operator_detail;
  }

 private:
  PrivatePostgres() {
    folder_ = "/tmp/ecluse-test-" + std::to_string(getpid());
    std::filesystem::create_directory(folder_);
    if (const passwd* user = getpwnam("postgres"); geteuid() == 0 && user != nullptr) {
      if (chown(folder_.c_str(), user->pw_uid, user->pw_gid) != 0) return;
    }
    port_ = FreePort();
    const std::string bin = "/usr/lib/postgresql/15/bin/";
    // md5/scram for logins over TCP, so that a wrong password is refused; the socket trusts, for the tests' own roles.
    running_ =
        Shell(bin + "initdb -D " + folder_ + "/data -U postgres --locale=C.UTF-8 -E UTF8 -A trust --no-sync") == 0;
    std::ofstream(folder_ + "/data/pg_hba.conf") << "local all all trust\nhost all all 127.0.0.1/32 scram-sha-256\n";
    running_ =
        running_ && Shell(bin + "pg_ctl -D " + folder_ + "/data -w -l " + folder_ + "/log -o \"-c fsync=off -c " +
                          "listen_addresses=127.0.0.1 -c port=" + std::to_string(port_) +
                          " -c unix_socket_directories=" + folder_ + "\" start") == 0;
  }
  ~PrivatePostgres() {
    if (running_) Shell("/usr/lib/postgresql/15/bin/pg_ctl -D " + folder_ + "/data -m immediate stop");
    std::error_code ignored;
    std::filesystem::remove_all(folder_, ignored);
  }

  static int Shell(const std::string& command) {
    const std::string prefix = geteuid() == 0 ? "setpriv --reuid=postgres --regid=postgres --clear-groups " : "";
    return std::system(("cd / && " + prefix + command + " >/dev/null 2>&1").c_str());
  }
  static int FreePort() {
    const int fd = socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    int port = 0;
    if (bind(fd, reinterpret_cast<sockaddr*>(&address), size) == 0 &&
        getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size) == 0) {
      port = ntohs(address.sin_port);
    }
    close(fd);
    return port;
  }

  std::string folder_;
  int port_ = 0;
  bool running_ = false;
};

}  // namespace ecluse
