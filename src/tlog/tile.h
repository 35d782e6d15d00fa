// Where the hashes and entries of a tree lie: C2SP tlog-tiles.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tlog/tree.h"

namespace ecluse {

inline constexpr uint64_t kTileWidth = 256;
inline constexpr int kTileHeight = 8;
inline constexpr size_t kTileBytes = kTileWidth * sizeof(Hash);
inline constexpr int kEntriesLevel = -1;  // stands for `entries` in a path

// One tile, or one bundle of entries.
struct Tile {
  int level = 0;  // 0 to 7, or kEntriesLevel
  uint64_t number = 0;
  uint64_t width = kTileWidth;  // fewer than kTileWidth: partial
  friend auto operator<=>(const Tile&, const Tile&) = default;
};

// "tile/0/x001/x234/067", with ".p/12" behind it where partial.
std::string TilePath(const Tile& tile);
// nullopt where `path` is not spelled exactly as TilePath() does.
std::optional<Tile> ParseTilePath(std::string_view path);

// The hashes that a tile's bytes hold; a rest that is none is left out.
std::vector<Hash> HashesOf(std::string_view tile);

// How many hashes level `level` has in a tree of `size` leaves.
constexpr uint64_t HashesAt(int level, uint64_t size) {
  const int shift = kTileHeight * level;
  return shift >= 64 ? 0 : size >> shift;
}
// The last tiles of each level, with the bundle of entries, where they are partial: what only a tree of exactly this
// size has.
std::vector<Tile> PartialTiles(uint64_t size);

// The hashes of a tree of `size` leaves, from its tiles. `read` gives a tile's bytes and is asked once for each.
class TileSource final : public HashSource {
 public:
  using Read = std::function<Result<std::string>(const Tile&)>;
  TileSource(uint64_t size, Read read) : size_(size), read_(std::move(read)) {}
  Result<Hash> SubtreeHash(int level, uint64_t index) override;

 private:
  const uint64_t size_;
  const Read read_;
  std::map<std::pair<int, uint64_t>, std::vector<Hash>> tiles_;
};

// The entries of a bundle: each behind its length, two bytes big-endian. nullopt where it is not exactly `width` of
// them. They point into `bundle`.
std::optional<std::vector<std::string_view>> ReadBundle(std::string_view bundle, uint64_t width);
void AppendToBundle(std::string& bundle, std::string_view entry);

}  // namespace ecluse
