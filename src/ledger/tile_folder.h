// Tiles and bundles of entries as files under <data_dir>/ledger/tile. docs/ledger_format.md, "Tiles".
#pragma once

#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/file.h"
#include "base/result.h"
#include "tlog/tile.h"

namespace ecluse {

// Not thread-safe.
class TileFolder {
 public:
  TileFolder(FileSystem& files, std::string path) : files_(&files), path_(std::move(path)) {}

  // The bytes of a tile; of a partial one also where only the full one is left of it.
  Result<std::string> Read(const Tile& tile) const;
  // Of a full tile's bytes those from `offset` on, at most `most`; fewer where it ends before.
  Result<std::string> ReadPart(const Tile& tile, uint64_t offset, size_t most) const;
  // Writes a tile, in the place of one that has its name. It is there, whole and durable, after Sync().
  Status Write(const Tile& tile, std::string_view bytes);
  // Makes durable what was written since: files, then the folders that name them.
  Status Sync();
  // Removes partial tiles of one that is full; there may be none.
  Status RemovePartials(const Tile& full);

 private:
  Status MakeFolders(const std::string& relative);
  Status SyncFiles();
  FileSystem* files_;
  std::string path_;
  std::vector<std::pair<std::unique_ptr<File>, std::string>> written_;  // not synced yet, with the names they will have
  std::set<std::string> changed_;                                       // folders, relative to path_
  std::set<std::string> there_;                                         // folders known to exist
};

}  // namespace ecluse
