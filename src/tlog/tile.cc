#include "tlog/tile.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/bytes.h"
#include "base/check.h"
#include "tlog/decimal.h"

namespace ecluse {
namespace {

constexpr std::string_view kPrefix = "tile/";
constexpr std::string_view kEntries = "entries";

}  // namespace

std::string TilePath(const Tile& tile) {
  std::string groups = fmt::format("{:03}", tile.number % 1'000);
  for (uint64_t rest = tile.number / 1'000; rest > 0; rest /= 1'000) {
    groups.insert(0, fmt::format("x{:03}/", rest % 1'000));
  }
  std::string path(kPrefix);
  path += tile.level == kEntriesLevel ? std::string(kEntries) : std::to_string(tile.level);
  path += "/" + groups;
  if (tile.width != kTileWidth) path += fmt::format(".p/{}", tile.width);
  return path;
}

std::optional<Tile> ParseTilePath(std::string_view path) {
  Tile tile;
  std::string_view rest = path;
  if (!rest.starts_with(kPrefix)) return std::nullopt;
  rest.remove_prefix(kPrefix.size());
  const size_t slash = rest.find('/');
  if (slash == std::string_view::npos) return std::nullopt;
  const std::string_view level = rest.substr(0, slash);
  rest.remove_prefix(slash + 1);
  if (level == kEntries) {
    tile.level = kEntriesLevel;
  } else {
    const auto number = ReadDecimal(level);
    if (!number || *number > 7) return std::nullopt;  // level 8 would need more than 2^64 leaves
    tile.level = static_cast<int>(*number);
  }
  if (const size_t partial = rest.find(".p/"); partial != std::string_view::npos) {
    const auto width = ReadDecimal(rest.substr(partial + 3));
    if (!width || *width == 0 || *width >= kTileWidth) return std::nullopt;
    tile.width = *width;
    rest = rest.substr(0, partial);
  }
  while (true) {
    const bool more = rest.starts_with('x');
    if (more) rest.remove_prefix(1);
    if (rest.size() < 3 || !std::ranges::all_of(rest.substr(0, 3), [](char c) { return c >= '0' && c <= '9'; })) {
      return std::nullopt;
    }
    const uint64_t group = static_cast<uint64_t>(rest[0] - '0') * 100 + static_cast<uint64_t>(rest[1] - '0') * 10 +
                           static_cast<uint64_t>(rest[2] - '0');
    if (tile.number > (UINT64_MAX - group) / 1'000) return std::nullopt;
    tile.number = tile.number * 1'000 + group;
    rest.remove_prefix(3);
    if (!more) break;
    if (!rest.starts_with('/')) return std::nullopt;
    rest.remove_prefix(1);
  }
  // One spelling only: no groups of zeros in front.
  if (!rest.empty() || TilePath(tile) != path) return std::nullopt;
  return tile;
}

std::vector<Hash> HashesOf(std::string_view tile) {
  std::vector<Hash> hashes(tile.size() / sizeof(Hash));
  if (!hashes.empty()) std::memcpy(hashes.data(), tile.data(), hashes.size() * sizeof(Hash));
  return hashes;
}

std::vector<Tile> PartialTiles(uint64_t size) {
  std::vector<Tile> tiles;
  if (size % kTileWidth != 0) tiles.push_back({kEntriesLevel, size / kTileWidth, size % kTileWidth});
  for (int level = 0; HashesAt(level, size) > 0; ++level) {
    const uint64_t hashes = HashesAt(level, size);
    if (hashes % kTileWidth != 0) tiles.push_back({level, hashes / kTileWidth, hashes % kTileWidth});
  }
  return tiles;
}

Result<Hash> TileSource::SubtreeHash(int level, uint64_t index) {
  const int tile_level = level / kTileHeight;
  const int height = level % kTileHeight;
  const uint64_t first = index << height;
  const uint64_t hashes = HashesAt(tile_level, size_);
  CHECK(first + (uint64_t{1} << height) <= hashes);
  const uint64_t number = first / kTileWidth;
  auto [place, fresh] = tiles_.try_emplace({tile_level, number});
  std::vector<Hash>& tile = place->second;
  if (fresh) {
    const Tile wanted{tile_level, number, std::min(kTileWidth, hashes - number * kTileWidth)};
    Result<std::string> bytes = read_(wanted);
    if (bytes && bytes->size() != wanted.width * sizeof(Hash)) {
      bytes = Fail(sqlstate::kIo,
                   fmt::format("{} has {} bytes, not {}", TilePath(wanted), bytes->size(), wanted.width * sizeof(Hash)),
                   "bring the tile back from a copy", "ledger.damaged");
    }
    if (!bytes) {
      tiles_.erase(place);
      return std::unexpected(std::move(bytes).error());
    }
    tile = HashesOf(*bytes);
  }
  return RootOf(std::span(tile).subspan(first % kTileWidth, uint64_t{1} << height));
}

std::optional<std::vector<std::string_view>> ReadBundle(std::string_view bundle, uint64_t width) {
  std::vector<std::string_view> entries;
  entries.reserve(width);
  while (!bundle.empty()) {
    if (bundle.size() < 2) return std::nullopt;
    const size_t length = LoadU16(bundle.data());
    if (bundle.size() < 2 + length) return std::nullopt;
    entries.push_back(bundle.substr(2, length));
    bundle.remove_prefix(2 + length);
  }
  if (entries.size() != width) return std::nullopt;
  return entries;
}

void AppendToBundle(std::string& bundle, std::string_view entry) {
  CHECK(entry.size() <= UINT16_MAX);
  AppendU16(bundle, static_cast<uint16_t>(entry.size()));
  bundle += entry;
}

}  // namespace ecluse
