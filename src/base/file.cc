#include "base/file.h"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <linux/magic.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <system_error>

namespace ecluse {
namespace {

std::unexpected<Error> Failed(std::string_view operation, const std::string& path) {
  return std::unexpected(IoError(operation, path, errno));
}

FileInfo InfoOf(const struct stat& st) {
  return FileInfo{.size = static_cast<uint64_t>(st.st_size),
                  .links = st.st_nlink,
                  .id = st.st_ino,
                  .mode = st.st_mode & 07777,
                  .owner = st.st_uid,
                  .regular = S_ISREG(st.st_mode),
                  .directory = S_ISDIR(st.st_mode)};
}

class RealFile final : public File {
 public:
  RealFile(int descriptor, std::string path) : descriptor_(descriptor), path_(std::move(path)) {}
  ~RealFile() override { close(descriptor_); }

  Result<size_t> ReadAt(uint64_t offset, std::span<uint8_t> out) override {
    ssize_t n;
    do n = pread(descriptor_, out.data(), out.size(), static_cast<off_t>(offset));
    while (n < 0 && errno == EINTR);
    if (n < 0) return Failed("read", path_);
    return static_cast<size_t>(n);
  }
  Result<size_t> WriteAt(uint64_t offset, std::span<const uint8_t> bytes) override {
    ssize_t n;
    do n = pwrite(descriptor_, bytes.data(), bytes.size(), static_cast<off_t>(offset));
    while (n < 0 && errno == EINTR);
    if (n < 0) return Failed("write", path_);
    return static_cast<size_t>(n);
  }
  // A sync interrupted by a signal may have lost an error already: it counts as failed.
  Status SyncData() override {
    if (fdatasync(descriptor_) != 0) return Failed("fdatasync", path_);
    return {};
  }
  Status SyncAll() override {
    if (fsync(descriptor_) != 0) return Failed("fsync", path_);
    return {};
  }
  Status Resize(uint64_t size) override {
    if (ftruncate(descriptor_, static_cast<off_t>(size)) != 0) return Failed("resize", path_);
    return {};
  }
  Result<FileInfo> Info() override {
    struct stat st{};
    if (fstat(descriptor_, &st) != 0) return Failed("look at", path_);
    return InfoOf(st);
  }
  Result<bool> TryLock() override {
    int rc;
    do rc = flock(descriptor_, LOCK_EX | LOCK_NB);
    while (rc != 0 && errno == EINTR);
    if (rc == 0) return true;
    if (errno == EWOULDBLOCK) return false;
    return Failed("lock", path_);
  }

 private:
  int descriptor_;
  std::string path_;
};

int FlagsOf(OpenMode mode) {
  switch (mode) {
    case OpenMode::read:
    case OpenMode::read_part:
      return O_RDONLY;
    case OpenMode::read_direct:
      return O_RDONLY | O_DIRECT;
    case OpenMode::write:
      return O_RDWR;
    case OpenMode::create:
      return O_RDWR | O_CREAT | O_EXCL;
    case OpenMode::lock:
      return O_RDWR | O_CREAT;
  }
  return O_RDONLY;
}

bool InMemory(const std::string& path) {
  struct statfs st{};
  return statfs(path.c_str(), &st) == 0 && (st.f_type == TMPFS_MAGIC || st.f_type == RAMFS_MAGIC);
}

class MachineFiles final : public FileSystem {
 public:
  Result<std::unique_ptr<File>> Open(const std::string& path, OpenMode mode) override {
    int descriptor = open(path.c_str(), FlagsOf(mode) | O_CLOEXEC, 0600);
    if (descriptor < 0 && errno == EINVAL && mode == OpenMode::read_direct && InMemory(path))
      descriptor = open(path.c_str(), O_RDONLY | O_CLOEXEC);
    if (descriptor < 0) return Failed(mode == OpenMode::create ? "create" : "open", path);
    if (mode == OpenMode::read_part) (void)posix_fadvise(descriptor, 0, 0, POSIX_FADV_RANDOM);
    return std::make_unique<RealFile>(descriptor, path);
  }
  Status Rename(const std::string& from, const std::string& to) override {
    if (rename(from.c_str(), to.c_str()) != 0) return Failed("rename", from);
    return {};
  }
  Status Remove(const std::string& path) override {
    if (unlink(path.c_str()) != 0) return Failed("remove", path);
    return {};
  }
  Status RemoveDirectory(const std::string& path) override {
    if (rmdir(path.c_str()) != 0) return Failed("remove the folder", path);
    return {};
  }
  Status MakeDirectory(const std::string& path) override {
    if (mkdir(path.c_str(), 0700) != 0 && errno != EEXIST) return Failed("make the folder", path);
    return {};
  }
  Status SyncDirectory(const std::string& path) override {
    int descriptor = open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (descriptor < 0) return Failed("open the folder", path);
    int rc = fsync(descriptor);
    int code = errno;
    close(descriptor);
    if (rc != 0) return std::unexpected(IoError("fsync of the folder", path, code));
    return {};
  }
  Result<std::vector<std::string>> List(const std::string& path) override {
    DIR* folder = opendir(path.c_str());
    if (folder == nullptr) return Failed("list the folder", path);
    std::vector<std::string> names;
    errno = 0;
    while (const dirent* item = readdir(folder)) {
      std::string name = item->d_name;
      if (name != "." && name != "..") names.push_back(std::move(name));
      errno = 0;
    }
    int code = errno;
    closedir(folder);
    if (code != 0) return std::unexpected(IoError("list the folder", path, code));
    std::sort(names.begin(), names.end());
    return names;
  }
  Result<std::optional<FileInfo>> Find(const std::string& path) override {
    struct stat st{};
    if (stat(path.c_str(), &st) == 0) return InfoOf(st);
    if (errno == ENOENT || errno == ENOTDIR) return std::nullopt;
    return Failed("look at", path);
  }
  Result<uint64_t> FreeBytes(const std::string& path) override {
    struct statvfs st{};
    if (statvfs(path.c_str(), &st) != 0) return Failed("look for free space", path);
    return uint64_t{st.f_bavail} * st.f_frsize;
  }
};

std::string HintFor(int code) {
  switch (code) {
    case ENOSPC:
    case EDQUOT:
      return "free space on the gate's disk, then restart the gate";
    case EROFS:
      return "the file system is read-only: mount it writable again, then restart the gate";
    case EACCES:
    case EPERM:
      return "give the gate's user access to its data folder, then restart the gate";
    case EMFILE:
    case ENFILE:
      return "raise the limit of open files (LimitNOFILE), then restart the gate";
    case ENOENT:
      return "restore the file that is missing from the gate's data folder, or correct the path";
    default:
      return "see the gate's log, mend the disk, then restart the gate";
  }
}

}  // namespace

FileSystem& RealFiles() {
  static MachineFiles files;
  return files;
}

Error IoError(std::string_view operation, const std::string& path, int code) {
  std::string reason = std::generic_category().message(code);
  return Error{std::string(sqlstate::kIo),
               fmt::format("{} failed: {}", operation, reason),
               HintFor(code),
               "base.file",
               fmt::format("{} {}: {}", operation, path, reason),
               0};
}

Result<std::string> ReadWholeFile(FileSystem& files, const std::string& path, size_t limit) {
  ECLUSE_TRY(auto file, files.Open(path, OpenMode::read));
  ECLUSE_TRY(FileInfo info, file->Info());
  std::string content;
  size_t have = 0,
         more = std::min<uint64_t>(info.size, limit) + 1;  // one more than it should have, so that its end is seen
  bool end = false;
  Status problem;
  const auto read = [&](char* to, size_t room) {
    while (problem && !end && have < room) {
      auto n = file->ReadAt(have, {reinterpret_cast<uint8_t*>(to) + have, room - have});
      if (!n) problem = std::unexpected(std::move(n).error());
      if (n) end = *n == 0;
      if (n) have += *n;
    }
    return have;
  };
  while (problem && !end && have <= limit) content.resize_and_overwrite(have + std::exchange(more, 64 * 1024), read);
  if (!problem) return std::unexpected(std::move(problem).error());
  if (end && have <= limit) return content;
  return Fail(sqlstate::kIo, fmt::format("a file is larger than the {} bytes it may have", limit), {}, "base.file",
              path);
}

Status ReplaceFile(FileSystem& files, const std::string& path, std::string_view content) {
  std::string fresh = path + ".new";
  ECLUSE_TRY(auto left_over, files.Find(fresh));
  if (left_over) ECLUSE_OK(files.Remove(fresh));
  {
    ECLUSE_TRY(auto file, files.Open(fresh, OpenMode::create));
    std::span<const uint8_t> bytes{reinterpret_cast<const uint8_t*>(content.data()), content.size()};
    ECLUSE_TRY(size_t n, file->WriteAt(0, bytes));
    if (n != bytes.size()) return std::unexpected(IoError("write", fresh, ENOSPC));
    ECLUSE_OK(file->SyncAll());
  }
  ECLUSE_OK(files.Rename(fresh, path));
  size_t slash = path.rfind('/');
  return files.SyncDirectory(slash == std::string::npos ? "." : slash == 0 ? "/" : path.substr(0, slash));
}

Status PreparePrivateFolder(FileSystem& files, const std::string& path) {
  ECLUSE_TRY(auto info, files.Find(path));
  if (!info) {
    ECLUSE_OK(files.MakeDirectory(path));
    const size_t slash = path.rfind('/');
    if (slash != std::string::npos) ECLUSE_OK(files.SyncDirectory(slash == 0 ? "/" : path.substr(0, slash)));
    ECLUSE_TRY(info, files.Find(path));
  }
  if (!info) return std::unexpected(IoError("look at", path, ENOENT));
  if (!info->directory)
    return Fail(sqlstate::kIo, fmt::format("{} is not a folder", path), "move it away, or correct gate.data_dir",
                "base.folder");
  if ((info->mode & 077) != 0)
    return Fail(sqlstate::kIo, "the gate's data folder can be entered by others",
                fmt::format("run: chmod 700 {}", path), "base.folder",
                fmt::format("{} has mode {:o}; it must be 700", path, info->mode));
  return {};
}

}  // namespace ecluse
