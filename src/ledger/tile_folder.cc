#include "ledger/tile_folder.h"

#include <cerrno>

#include "base/bytes.h"
#include "base/limits.h"

namespace ecluse {
namespace {

// The most that a bundle can hold.
constexpr size_t kMostBytes = kTileWidth * (2 + limits::kEntry);

std::string FolderOf(const std::string& path) { return path.substr(0, path.rfind('/')); }

}  // namespace

Result<std::string> TileFolder::Read(const Tile& tile) const {
  const std::string path = path_ + "/" + TilePath(tile);
  auto bytes = ReadWholeFile(*files_, path, kMostBytes);
  if (bytes || tile.width == kTileWidth) return bytes;
  const Tile full{tile.level, tile.number, kTileWidth};
  auto whole = ReadWholeFile(*files_, path_ + "/" + TilePath(full), kMostBytes);
  if (!whole) return bytes;
  if (tile.level != kEntriesLevel) return whole->substr(0, tile.width * sizeof(Hash));
  auto entries = ReadBundle(*whole, kTileWidth);
  if (!entries) return bytes;
  const std::string_view last = (*entries)[tile.width - 1];
  return whole->substr(0, static_cast<size_t>(last.data() + last.size() - whole->data()));
}

Result<std::string> TileFolder::ReadPart(const Tile& tile, uint64_t offset, size_t most) const {
  ECLUSE_TRY(auto file, files_->Open(path_ + "/" + TilePath(tile), OpenMode::read_part));
  std::string bytes(most, '\0');
  ECLUSE_TRY(const size_t n, file->ReadAt(offset, {reinterpret_cast<uint8_t*>(bytes.data()), bytes.size()}));
  bytes.resize(n);
  return bytes;
}

Status TileFolder::MakeFolders(const std::string& relative) {
  if (there_.contains(relative)) return {};
  const size_t slash = relative.rfind('/');
  if (slash != std::string::npos) {
    ECLUSE_OK(MakeFolders(relative.substr(0, slash)));
    changed_.insert(relative.substr(0, slash));
  } else {
    changed_.insert("");
  }
  ECLUSE_OK(files_->MakeDirectory(path_ + "/" + relative));
  there_.insert(relative);
  return {};
}

Status TileFolder::Write(const Tile& tile, std::string_view bytes) {
  const std::string relative = TilePath(tile), path = path_ + "/" + relative, fresh = path + ".new";
  ECLUSE_OK(MakeFolders(FolderOf(relative)));
  auto file = files_->Open(fresh, OpenMode::create);
  if (!file) {
    // Mostly not there; asked only now, because every tile passes here.
    ECLUSE_TRY(auto left_over, files_->Find(fresh));
    if (!left_over) return std::unexpected(std::move(file).error());
    ECLUSE_OK(files_->Remove(fresh));
    file = files_->Open(fresh, OpenMode::create);
    if (!file) return std::unexpected(std::move(file).error());
  }
  ECLUSE_TRY(size_t n, (*file)->WriteAt(0, AsBytes(bytes)));
  if (n != bytes.size()) return std::unexpected(IoError("write a tile of the ledger whole", path, ENOSPC));
  written_.push_back({std::move(*file), path});
  changed_.insert(FolderOf(relative));
  return written_.size() < limits::kTilesUnsynced ? Status() : SyncFiles();
}

// A tile gets its name when it is whole on disk.
Status TileFolder::SyncFiles() {
  for (const auto& [file, path] : written_) {
    ECLUSE_OK(file->SyncAll());
    ECLUSE_OK(files_->Rename(path + ".new", path));
  }
  written_.clear();
  return {};
}

Status TileFolder::Sync() {
  ECLUSE_OK(SyncFiles());
  for (const std::string& folder : changed_) {
    ECLUSE_OK(files_->SyncDirectory(folder.empty() ? path_ : path_ + "/" + folder));
  }
  changed_.clear();
  return {};
}

Status TileFolder::RemovePartials(const Tile& full) {
  const std::string relative = TilePath({full.level, full.number, kTileWidth}) + ".p";
  const std::string folder = path_ + "/" + relative;
  ECLUSE_TRY(auto present, files_->Find(folder));
  if (!present) return {};
  ECLUSE_TRY(auto names, files_->List(folder));
  for (const std::string& name : names) ECLUSE_OK(files_->Remove(folder + "/" + name));
  ECLUSE_OK(files_->RemoveDirectory(folder));
  there_.erase(relative);
  return {};
}

}  // namespace ecluse
