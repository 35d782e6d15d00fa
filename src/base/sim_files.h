// For tests: files in memory that fail when told to, and forget at a power cut what was never synced.
//
// Model, harsher than ext4: data is durable after a sync of its file, names after a sync of their folder, and nothing
// else is, folders included. A power cut keeps any subset of the 512-byte sectors written since, and any start of the
// changes of names. A
// failed sync loses what it should have written while reads from memory still show it, as Linux does; read_direct shows
// the disk.
#pragma once

#include <cerrno>
#include <cstring>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "base/file.h"

namespace ecluse {

struct SimFault {
  enum class Kind {
    error,        // the call fails and does nothing
    short_write,  // a write writes half; another call fails
    kill,         // the call is half done and nothing works any more, as if the process had died in it
  };
  Kind kind = Kind::error;
  uint64_t at = 0;  // which call, counted from 1; 0: none
  int code = EIO;
  bool sticky = false;  // every later write fails as well (a full or read-only disk)
};

class SimFiles final : public FileSystem {
 public:
  struct Node {
    std::string memory, disk;
    std::set<uint64_t> dirty;  // sectors in memory that the disk does not have and may still get
    bool directory = false, locked = false;
    uint64_t links = 1, id = 0;
  };
  using NodePtr = std::shared_ptr<Node>;

  void Arm(SimFault fault) {
    std::lock_guard lock(mutex_);
    fault_ = fault;
    calls_ = 0;
    hit_ = dead_ = false;
  }
  bool hit() {
    std::lock_guard lock(mutex_);
    return hit_;
  }

  // The process ends: locks go. With `power`, so does what was not synced.
  void Restart(bool power, uint32_t seed) {
    std::lock_guard lock(mutex_);
    std::mt19937 random(seed);
    fault_ = {};
    dead_ = false;
    if (power) {
      size_t kept = renames_.empty() ? 0 : random() % (renames_.size() + 1);
      names_ = durable_names_;
      for (size_t i = 0; i < kept; ++i) Apply(renames_[i], &names_);
      // What lies in a folder that is gone is gone.
      std::erase_if(names_, [&](const auto& item) {
        const std::string folder = item.first.substr(0, item.first.rfind('/'));
        return folders_.contains(folder) && !names_.contains(folder);
      });
    }
    renames_.clear();
    durable_names_ = names_;
    for (auto& [path, node] : names_) {
      node->locked = false;
      if (!power || node->directory) continue;
      for (uint64_t sector : node->dirty)
        if (random() % 2) ToDisk(*node, sector);
      node->dirty.clear();
      node->memory = node->disk;
    }
  }

  // Bytes that all files together may have; what would go beyond fails with ENOSPC.
  void SetCapacity(uint64_t bytes) {
    std::lock_guard lock(mutex_);
    capacity_ = bytes;
  }

  // Writes that failed for want of room.
  uint64_t writes_without_room() {
    std::lock_guard lock(mutex_);
    return writes_without_room_;
  }

  // What a disk or a person changes behind the gate's back.
  std::string Content(const std::string& path) {
    std::lock_guard lock(mutex_);
    return names_.at(path)->disk;
  }
  std::vector<std::string> Paths() {
    std::lock_guard lock(mutex_);
    std::vector<std::string> paths;
    for (const auto& [path, node] : names_)
      if (!node->directory) paths.push_back(path);
    return paths;
  }
  void Delete(const std::string& path) {
    std::lock_guard lock(mutex_);
    names_.erase(path);
    durable_names_.erase(path);
  }
  void Overwrite(const std::string& path, std::string content) {
    std::lock_guard lock(mutex_);
    NodePtr& node = names_[path];
    if (!node) node = std::make_shared<Node>();
    node->disk = node->memory = std::move(content);
  }

  Result<std::unique_ptr<File>> Open(const std::string& path, OpenMode mode) override;
  Status Rename(const std::string& from, const std::string& to) override {
    return Change("rename", from, {from, to}, names_.contains(from) ? 0 : ENOENT);
  }
  Status Remove(const std::string& path) override {
    return Change("remove", path, {path, ""}, names_.contains(path) ? 0 : ENOENT);
  }
  Status MakeDirectory(const std::string& path) override {
    std::lock_guard lock(mutex_);
    if (auto failed = Step(true)) return Failed("make", path, *failed);
    if (names_.contains(path)) return {};
    auto node = std::make_shared<Node>();
    node->directory = true;
    names_[path] = node;
    folders_.insert(path);
    renames_.push_back({"", path, node});
    return {};
  }
  Status RemoveDirectory(const std::string& path) override {
    int problem = 0;
    {
      std::lock_guard lock(mutex_);
      if (!names_.contains(path)) problem = ENOENT;
      for (const auto& [name, node] : names_)
        if (name.starts_with(path + "/")) problem = ENOTEMPTY;
    }
    return Change("remove", path, {path, ""}, problem);
  }
  // Makes durable what was made, renamed or removed in this folder, not in those below it.
  Status SyncDirectory(const std::string& path) override {
    std::lock_guard lock(mutex_);
    if (auto failed = Step(true)) return Failed("sync", path, *failed);
    std::erase_if(renames_, [&](const NameChange& change) {
      const std::string& name = change.to.empty() ? change.from : change.to;
      if (name.substr(0, name.rfind('/')) != path) return false;
      Apply(change, &durable_names_);
      return true;
    });
    return {};
  }
  Result<std::vector<std::string>> List(const std::string& path) override {
    std::lock_guard lock(mutex_);
    if (auto failed = Step(false)) return Failed("list", path, *failed);
    std::vector<std::string> out;
    for (const auto& [name, node] : names_)
      if (name.starts_with(path + "/") && name.find('/', path.size() + 1) == std::string::npos)
        out.push_back(name.substr(path.size() + 1));
    return out;
  }
  Result<std::optional<FileInfo>> Find(const std::string& path) override {
    std::lock_guard lock(mutex_);
    if (auto failed = Step(false)) return Failed("look at", path, *failed);
    auto it = names_.find(path);
    if (it == names_.end()) return std::nullopt;
    return InfoOf(*it->second);
  }
  Result<uint64_t> FreeBytes(const std::string& path) override {
    std::lock_guard lock(mutex_);
    if (auto failed = Step(false)) return Failed("look for free space", path, *failed);
    uint64_t used = 0;
    for (const auto& [name, node] : names_) used += node->memory.size();
    return used < capacity_ ? capacity_ - used : 0;
  }

 private:
  friend class SimFile;
  static constexpr uint64_t kSector = 512;
  // Creation: {"", path} with node; renaming: {from, to}; removal: {path, ""}.
  struct NameChange {
    std::string from, to;
    NodePtr node;
  };

  static std::unexpected<Error> Failed(const char* what, const std::string& path, int code) {
    return std::unexpected(IoError(what, path, code));
  }
  static FileInfo InfoOf(const Node& node) {
    return {.size = node.memory.size(),
            .links = node.links,
            .id = node.id,
            .mode = node.directory ? 0700u : 0600u,
            .owner = 0,
            .regular = !node.directory,
            .directory = node.directory};
  }
  static void Apply(const NameChange& change, std::map<std::string, NodePtr>* names) {
    NodePtr node = change.node;
    if (!change.from.empty()) {
      if (!names->contains(change.from)) return;
      node = (*names)[change.from];
      names->erase(change.from);
    }
    if (!change.to.empty()) (*names)[change.to] = node;
  }
  bool Fits(const Node& grown, uint64_t size) const {
    uint64_t used = size > grown.memory.size() ? size - grown.memory.size() : 0;
    if (used == 0) return true;
    for (const auto& [path, node] : names_) used += node->memory.size();
    return used <= capacity_;
  }
  static void ToDisk(Node& node, uint64_t sector) {
    uint64_t from = sector * kSector;
    if (from >= node.memory.size()) return;
    uint64_t n = std::min<uint64_t>(kSector, node.memory.size() - from);
    if (node.disk.size() < from + n) node.disk.resize(from + n, '\0');
    node.disk.replace(from, n, node.memory, from, n);
  }
  // Counts a call; the errno with which it fails, if it does. `*half` set: do half of it first.
  std::optional<int> Step(bool writes, bool* half = nullptr) {
    ++calls_;
    if (dead_) return EIO;
    bool now = fault_.at != 0 && calls_ == fault_.at;
    bool later = fault_.sticky && hit_ && writes;
    if (!now && !later) return std::nullopt;
    hit_ = true;
    if (fault_.kind == SimFault::Kind::kill) dead_ = true;
    if (half != nullptr && now && fault_.kind != SimFault::Kind::error) *half = true;
    return fault_.code;
  }
  Status Change(const char* what, const std::string& path, std::pair<std::string, std::string> names, int problem) {
    std::lock_guard lock(mutex_);
    bool half = false;
    auto failed = Step(true, &half);
    if (!failed && problem != 0) return Failed(what, path, problem);
    if (!failed || (half && problem == 0)) {
      if (names.second.empty()) names_[names.first]->links = 0;
      NameChange change{names.first, names.second, nullptr};
      Apply(change, &names_);
      renames_.push_back(change);
    }
    if (failed) return Failed(what, path, *failed);
    return {};
  }

  std::mutex mutex_;
  std::map<std::string, NodePtr> names_, durable_names_;
  std::vector<NameChange> renames_;
  std::set<std::string> folders_;  // that were ever made
  SimFault fault_;
  uint64_t capacity_ = UINT64_MAX, writes_without_room_ = 0;
  uint64_t calls_ = 0, next_id_ = 1;
  bool hit_ = false, dead_ = false;
};

class SimFile final : public File {
 public:
  SimFile(SimFiles& files, SimFiles::NodePtr node, std::string path, bool direct)
      : files_(files), node_(std::move(node)), path_(std::move(path)), direct_(direct) {}
  ~SimFile() override {
    std::lock_guard lock(files_.mutex_);
    if (holds_lock_) node_->locked = false;
  }
  Result<size_t> ReadAt(uint64_t offset, std::span<uint8_t> out) override {
    std::lock_guard lock(files_.mutex_);
    if (auto failed = files_.Step(false)) return SimFiles::Failed("read", path_, *failed);
    if (direct_) {  // the kernel writes back what is dirty before it reads past the cache
      for (uint64_t sector : node_->dirty) SimFiles::ToDisk(*node_, sector);
      node_->dirty.clear();
    }
    const std::string& from = direct_ ? node_->disk : node_->memory;
    if (offset >= from.size()) return size_t{0};
    size_t n = std::min<size_t>(out.size(), from.size() - offset);
    std::memcpy(out.data(), from.data() + offset, n);
    return n;
  }
  Result<size_t> WriteAt(uint64_t offset, std::span<const uint8_t> bytes) override {
    std::lock_guard lock(files_.mutex_);
    bool half = false;
    auto failed = files_.Step(true, &half);
    size_t n = !failed ? bytes.size() : half ? bytes.size() / 2 : 0;
    if (!files_.Fits(*node_, offset + n)) {
      ++files_.writes_without_room_;
      return SimFiles::Failed("write", path_, ENOSPC);
    }
    if (n > 0) {
      if (node_->memory.size() < offset + n) node_->memory.resize(offset + n, '\0');
      std::memcpy(node_->memory.data() + offset, bytes.data(), n);
      for (uint64_t s = offset / SimFiles::kSector; s <= (offset + n - 1) / SimFiles::kSector; ++s)
        node_->dirty.insert(s);
    }
    if (failed && half && !files_.dead_) return n;
    if (failed) return SimFiles::Failed("write", path_, *failed);
    return n;
  }
  Status SyncData() override { return SyncAll(); }
  Status SyncAll() override {
    std::lock_guard lock(files_.mutex_);
    if (auto failed = files_.Step(true)) {
      if (!files_.dead_) node_->dirty.clear();  // never reaches the disk, and the cache believes it did
      return SimFiles::Failed("sync", path_, *failed);
    }
    for (uint64_t sector : node_->dirty) SimFiles::ToDisk(*node_, sector);
    node_->dirty.clear();
    return {};
  }
  Status Resize(uint64_t size) override {
    std::lock_guard lock(files_.mutex_);
    if (auto failed = files_.Step(true)) return SimFiles::Failed("resize", path_, *failed);
    node_->memory.resize(size, '\0');
    node_->disk.resize(size, '\0');
    return {};
  }
  Result<FileInfo> Info() override {
    std::lock_guard lock(files_.mutex_);
    if (auto failed = files_.Step(false)) return SimFiles::Failed("look at", path_, *failed);
    return SimFiles::InfoOf(*node_);
  }
  Result<bool> TryLock() override {
    std::lock_guard lock(files_.mutex_);
    if (auto failed = files_.Step(false)) return SimFiles::Failed("lock", path_, *failed);
    if (node_->locked) return false;
    return holds_lock_ = node_->locked = true;
  }

 private:
  SimFiles& files_;
  SimFiles::NodePtr node_;
  std::string path_;
  bool direct_;
  bool holds_lock_ = false;
};

inline Result<std::unique_ptr<File>> SimFiles::Open(const std::string& path, OpenMode mode) {
  std::lock_guard lock(mutex_);
  bool makes = mode == OpenMode::create || mode == OpenMode::lock;
  if (auto failed = Step(makes)) return Failed("open", path, *failed);
  auto it = names_.find(path);
  if (it == names_.end() && !makes) return Failed("open", path, ENOENT);
  if (it != names_.end() && mode == OpenMode::create) return Failed("create", path, EEXIST);
  NodePtr node;
  if (it != names_.end()) {
    node = it->second;
  } else {
    node = std::make_shared<Node>();
    node->id = next_id_++;
    names_[path] = node;
    renames_.push_back({"", path, node});
  }
  return std::make_unique<SimFile>(*this, node, path, mode == OpenMode::read_direct);
}

}  // namespace ecluse
