// Files behind a seam, so that tests can make every system call fail.
//
// One method is one system call, and nothing is retried behind the caller's back (but EINTR before anything was done):
// who writes what must be durable decides about every failure. Errors are 58030; the path stands in the operator's part
// only.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace ecluse {

struct FileInfo {
  uint64_t size = 0;   // bytes
  uint64_t links = 0;  // 0 after the name was deleted under an open descriptor
  uint64_t id = 0;     // inode
  uint32_t mode = 0;   // permission bits
  uint32_t owner = 0;  // user id
  bool regular = false;
  bool directory = false;
};

// An open file; closed when destroyed. Safe for concurrent calls on distinct ranges.
class File {
 public:
  virtual ~File() = default;
  // pread(2): how many bytes were read; 0 at the end of the file.
  virtual Result<size_t> ReadAt(uint64_t offset, std::span<uint8_t> out) = 0;
  // pwrite(2): how many bytes were written; fewer than asked is possible and means that the rest was not.
  virtual Result<size_t> WriteAt(uint64_t offset, std::span<const uint8_t> bytes) = 0;
  virtual Status SyncData() = 0;             // fdatasync(2)
  virtual Status SyncAll() = 0;              // fsync(2)
  virtual Status Resize(uint64_t size) = 0;  // ftruncate(2)
  virtual Result<FileInfo> Info() = 0;       // fstat(2)
  // flock(2), exclusive, without waiting: false where somebody else holds it. Given back when the file closes.
  virtual Result<bool> TryLock() = 0;
};

enum class OpenMode {
  read,
  read_part,    // of a large file, here and there: nothing is read ahead
  read_direct,  // O_DIRECT: what is on disk, not in memory; offsets, lengths and buffers in multiples of 4096. Falls
                // back to an ordinary read on file systems that live in memory and know no O_DIRECT (tmpfs)
  write,        // read and write an existing file
  create,       // read and write a file that must not exist yet; mode 0600
  lock,         // read and write, created where missing; mode 0600
};

// Thread-safe.
class FileSystem {
 public:
  virtual ~FileSystem() = default;
  virtual Result<std::unique_ptr<File>> Open(const std::string& path, OpenMode mode) = 0;
  virtual Status Rename(const std::string& from, const std::string& to) = 0;  // rename(2): replaces `to`
  virtual Status Remove(const std::string& path) = 0;                         // unlink(2)
  virtual Status MakeDirectory(const std::string& path) = 0;    // mkdir(2), mode 0700; fine where it exists already
  virtual Status RemoveDirectory(const std::string& path) = 0;  // rmdir(2)
  virtual Status SyncDirectory(const std::string& path) = 0;    // open, fsync(2), close
  // Names in a folder, sorted, without "." and "..".
  virtual Result<std::vector<std::string>> List(const std::string& path) = 0;
  // stat(2); nullopt where nothing has that name.
  virtual Result<std::optional<FileInfo>> Find(const std::string& path) = 0;
  // statvfs(2): bytes that this user may still take of the file system that holds `path`.
  virtual Result<uint64_t> FreeBytes(const std::string& path) = 0;
};

// The machine's file systems; one for the process.
FileSystem& RealFiles();

// Builds the Error of a failed system call: `operation` is what was tried ("write to the ledger"), `code` the errno.
Error IoError(std::string_view operation, const std::string& path, int code);

// The whole content of a file of at most `limit` bytes.
Result<std::string> ReadWholeFile(FileSystem& files, const std::string& path, size_t limit);

// Replaces `path` (mode 0600) so that after a crash it holds the old content or the new, and returns when the new is
// durable: `path.new` is written and synced, renamed over `path`, and the folder synced. Not for concurrent use on one
// path.
Status ReplaceFile(FileSystem& files, const std::string& path, std::string_view content);

// Makes `path` (mode 0700), durably, where it is missing, and refuses one that group or others may enter.
Status PreparePrivateFolder(FileSystem& files, const std::string& path);

}  // namespace ecluse
