#include "cli/demo_postgres.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <grp.h>
#include <libpq-fe.h>
#include <netinet/in.h>
#include <pwd.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include "base/limits.h"

namespace ecluse::demo {

namespace {

namespace fs = std::filesystem;
using std::chrono::steady_clock;

std::unexpected<Error> Trouble(std::string message, std::string hint, std::string detail = {}) {
  return Fail(sqlstate::kIo, std::move(message), std::move(hint), "demo.postgres", std::move(detail));
}

// The newest PostgreSQL on this machine that the gate speaks with.
Result<std::string> ProgramFolder() {
  int newest = 0;
  std::error_code none;
  for (const fs::directory_entry& entry : fs::directory_iterator("/usr/lib/postgresql", none)) {
    int version = std::atoi(entry.path().filename().c_str());
    if (version >= 15 && fs::exists(entry.path() / "bin" / "initdb")) newest = std::max(newest, version);
  }
  if (newest > 0) return fmt::format("/usr/lib/postgresql/{}/bin", newest);
  return Trouble("no PostgreSQL 15 or later is installed here", "Run tools/install-deps.sh, or install postgresql-15.");
}

// Whom the server runs as; nothing where that is whoever runs this.
struct User {
  uid_t uid;
  gid_t gid;
};
Result<std::optional<User>> ServerUser() {
  if (geteuid() != 0) return std::nullopt;
  for (const char* name : {"postgres", "nobody"}) {
    if (const passwd* entry = getpwnam(name)) return User{entry->pw_uid, entry->pw_gid};
  }
  return Trouble("PostgreSQL does not run as root, and there is neither a user postgres nor nobody",
                 "Run the demonstration as an ordinary user.");
}

// Between fork() and exec(): become the user, die with the parent, keep the terminal's Ctrl-C to the parent.
void BecomeServer(const std::optional<User>& user, int stop_signal) {
  setsid();
  if (user && (setgroups(0, nullptr) != 0 || setgid(user->gid) != 0 || setuid(user->uid) != 0)) _exit(126);
  prctl(PR_SET_PDEATHSIG, stop_signal);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
}

pid_t Launch(const std::vector<std::string>& command, const std::optional<User>& user, const std::string& log) {
  std::vector<char*> words;
  for (const std::string& word : command) words.push_back(const_cast<char*>(word.c_str()));
  words.push_back(nullptr);
  pid_t child = fork();
  if (child != 0) return child;
  int out = open(log.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_NOFOLLOW | O_CLOEXEC, 0600);
  int in = open("/dev/null", O_RDONLY | O_CLOEXEC);
  if (out >= 0) {
    dup2(out, STDOUT_FILENO);
    dup2(out, STDERR_FILENO);
  }
  if (in >= 0) dup2(in, STDIN_FILENO);
  BecomeServer(user, SIGINT);
  if (chdir("/") != 0) _exit(126);
  execv(words[0], words.data());
  _exit(127);
}

std::string Tail(const std::string& file) {
  std::ifstream in(file);
  std::string text{std::istreambuf_iterator<char>(in), {}};
  return text.size() > 2'000 ? text.substr(text.size() - 2'000) : text;
}

// Can `user` get to `path`? Asked of the kernel, as that user.
bool Reaches(const fs::path& path, const User& user) {
  pid_t child = fork();
  if (child == 0) {
    if (setgroups(0, nullptr) != 0 || setgid(user.gid) != 0 || setuid(user.uid) != 0) _exit(1);
    _exit(access(path.c_str(), X_OK) == 0 ? 0 : 1);
  }
  int status = 1;
  return child > 0 && waitpid(child, &status, 0) == child && status == 0;
}

// Makes the folder, the server's own; returns where it really lies.
Result<fs::path> MakeFolder(const fs::path& folder, const std::optional<User>& user) {
  std::error_code failed;
  if (fs::exists(folder)) {
    fs::path real = fs::canonical(folder, failed);
    if (!failed) return real;
  }
  fs::remove(folder, failed);  // a link whose target is gone
  fs::path real = folder;
  if (user && !Reaches(folder.parent_path(), *user)) {
    std::string pattern = "/var/tmp/ecluse-demo-XXXXXX";
    if (mkdtemp(pattern.data()) == nullptr)
      return Trouble("no folder could be made under /var/tmp", "Free some space there.");
    real = pattern;
    fs::create_directory_symlink(real, folder, failed);
  } else {
    fs::create_directories(real, failed);
  }
  if (failed) {
    return Trouble(fmt::format("the folder {} could not be made", folder.string()), "Name another one with --dir.",
                   failed.message());
  }
  fs::permissions(real, fs::perms::owner_all, failed);
  if (user && chown(real.c_str(), user->uid, user->gid) != 0) {
    return Trouble(fmt::format("the folder {} could not be given to PostgreSQL's user", real.string()),
                   "Name another one with --dir.", std::strerror(errno));
  }
  return real;
}

Status WriteOwned(const fs::path& path, const std::string& text, const std::optional<User>& user) {
  std::error_code ignored;
  fs::remove(path, ignored);
  int file = open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
  bool written = file >= 0 && write(file, text.data(), text.size()) == static_cast<ssize_t>(text.size()) &&
                 (!user || fchown(file, user->uid, user->gid) == 0);
  if (file >= 0) close(file);
  if (!written)
    return Trouble(fmt::format("{} could not be written", path.string()), "Name another folder with --dir.");
  return {};
}

// initdb in a folder beside, renamed when it is whole: a crash in the middle leaves nothing that looks like a cluster.
Status MakeCluster(const std::string& programs, const fs::path& home, const std::string& password,
                   const std::optional<User>& user) {
  fs::path unfinished = home / "unfinished", secret = home / "password";
  std::error_code failed;
  fs::remove_all(unfinished, failed);
  ECLUSE_OK(WriteOwned(secret, password + "\n", user));
  pid_t child = Launch(
      {programs + "/initdb", "--pgdata=" + unfinished.string(), "--username=postgres", "--pwfile=" + secret.string(),
       "--auth=scram-sha-256", "--encoding=UTF8", "--locale=C.UTF-8", "--data-checksums"},
      user, home / "initdb.log");
  int status = 1;
  bool made = child > 0 && waitpid(child, &status, 0) == child && status == 0;
  fs::remove(secret, failed);
  if (!made) {
    return Trouble("initdb could not make a cluster", "See what it says, and try another folder with --dir.",
                   Tail(home / "initdb.log"));
  }
  fs::rename(unfinished, home / "data", failed);
  if (failed)
    return Trouble("the new cluster could not be moved into place", "Try another folder with --dir.", failed.message());
  return {};
}

// A server that outlived the process which started it would keep the data folder locked.
void StopLeftOver(const fs::path& data) {
  std::ifstream in(data / "postmaster.pid");
  pid_t pid = 0;
  if (!(in >> pid) || pid <= 1) return;
  std::error_code failed;
  fs::path cwd = fs::read_symlink(fmt::format("/proc/{}/cwd", pid), failed);
  if (failed || cwd != data) return;  // the number belongs to somebody else by now
  kill(pid, SIGINT);
  for (int i = 0; i < 300 && kill(pid, 0) == 0; ++i) std::this_thread::sleep_for(std::chrono::milliseconds(100));
}

// A path short enough for a Unix socket in it.
Result<fs::path> SocketFolder(const fs::path& home, const std::optional<User>& user) {
  fs::path folder = home / "socket";
  if (folder.string().size() + sizeof("/.s.PGSQL.65535.lock") > sizeof(sockaddr_un::sun_path)) {
    std::string pattern = "/tmp/ecluse-demo-XXXXXX";
    if (mkdtemp(pattern.data()) == nullptr)
      return Trouble("no folder could be made under /tmp", "Free some space there.");
    folder = pattern;
  } else {
    std::error_code failed;
    fs::create_directories(folder, failed);
    if (failed)
      return Trouble("the socket's folder could not be made", "Name another folder with --dir.", failed.message());
  }
  if (chmod(folder.c_str(), 0700) != 0 || (user && chown(folder.c_str(), user->uid, user->gid) != 0)) {
    return Trouble("the socket's folder could not be given to PostgreSQL's user", "Name another folder with --dir.");
  }
  return folder;
}

}  // namespace

bool PortIsFree(uint16_t port) {
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return false;
  int on = 1;
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  bool free = bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0 && listen(fd, 1) == 0;
  close(fd);
  return free;
}

Result<uint16_t> FreePort() {
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  bool found = fd >= 0 && bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0 &&
               getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size) == 0;
  if (fd >= 0) close(fd);
  if (!found) return Trouble("no free port was found on 127.0.0.1", "Name one with --sql-port.");
  return ntohs(address.sin_port);
}

Result<PrivatePostgres> PrivatePostgres::Start(const std::string& folder, const std::string& password, uint16_t port) {
  ECLUSE_TRY(std::string programs, ProgramFolder());
  ECLUSE_TRY(std::optional<User> user, ServerUser());
  ECLUSE_TRY(fs::path home, MakeFolder(fs::path(folder), user));
  fs::path data = home / "data";
  if (!fs::exists(data / "PG_VERSION")) ECLUSE_OK(MakeCluster(programs, home, password, user));
  StopLeftOver(data);
  ECLUSE_TRY(fs::path sockets, SocketFolder(home, user));
  if (port == 0 || !PortIsFree(port)) {
    ECLUSE_TRY(port, FreePort());
  }

  PrivatePostgres server;
  server.port_ = port;
  server.socket_folder_ = sockets;
  // Enough memory for a demonstration on a small machine; write-ahead logging for crashes, not for replicas.
  server.process_ = Launch({programs + "/postgres",
                            "-D",
                            data,
                            "-k",
                            sockets,
                            "-h",
                            "127.0.0.1",
                            "-p",
                            std::to_string(port),
                            "-c",
                            "fsync=on",
                            "-c",
                            "wal_level=minimal",
                            "-c",
                            "max_wal_senders=0",
                            "-c",
                            "max_wal_size=2GB",
                            "-c",
                            "shared_buffers=256MB",
                            "-c",
                            "max_connections=200",
                            "-c",
                            "password_encryption=scram-sha-256",
                            "-c",
                            "unix_socket_permissions=0700",
                            "-c",
                            "log_timezone=UTC",
                            "-c",
                            "timezone=UTC"},
                           user, home / "postgres.log");
  if (server.process_ < 0) return Trouble("PostgreSQL could not be started", "Free some memory.", std::strerror(errno));

  std::string probe = fmt::format("host={} port={} dbname=postgres connect_timeout=2", sockets.string(), port);
  auto patience = steady_clock::now() + std::chrono::seconds(120);  // recovery after a crash takes its time
  while (PQping(probe.c_str()) != PQPING_OK) {
    int status = 0;
    if (waitpid(server.process_, &status, WNOHANG) == server.process_) {
      server.process_ = -1;
      return Trouble("PostgreSQL did not start", "See what it says.", Tail(home / "postgres.log"));
    }
    if (steady_clock::now() > patience) {
      return Trouble("PostgreSQL is not ready after two minutes", "See what it says.", Tail(home / "postgres.log"));
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
  return server;
}

PrivatePostgres::PrivatePostgres(PrivatePostgres&& other) noexcept
    : process_(std::exchange(other.process_, -1)),
      port_(other.port_),
      socket_folder_(std::move(other.socket_folder_)) {}

PrivatePostgres::~PrivatePostgres() { Stop(); }

void PrivatePostgres::Stop() {
  if (process_ <= 0) return;
  kill(process_, SIGINT);
  for (int i = 0; i < 600; ++i) {
    if (waitpid(process_, nullptr, WNOHANG) == process_) {
      process_ = -1;
      return;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
  }
  kill(process_, SIGQUIT);
  waitpid(process_, nullptr, 0);
  process_ = -1;
}

std::string PrivatePostgres::Url(const std::string& user, const std::string& password,
                                 const std::string& database) const {
  return fmt::format("host='{}' port={} user={} password={} dbname={} connect_timeout=10", socket_folder_, port_, user,
                     password, database);
}

}  // namespace ecluse::demo
