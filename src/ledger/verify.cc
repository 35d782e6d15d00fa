#include "ledger/verify.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <map>
#include <semaphore>
#include <thread>

#include "base/bytes.h"
#include "base/file.h"
#include "base/limits.h"
#include "ledger/entries.h"
#include "ledger/origin.h"
#include "ledger/record.h"
#include "ledger/retention.h"
#include "ledger/tile_folder.h"
#include "ledger/tree_writer.h"
#include "ledger/verify_cosigned.h"
#include "ledger/verify_segments.h"
#include "tlog/tile.h"

namespace ecluse {
namespace {

constexpr uint64_t kChunk = 16;  // bundles that a thread takes at once
constexpr std::chrono::milliseconds kProgressEvery{100};

// What a bundle and the tile of its hashes say.
struct Examined {
  Hash of_entries{}, of_tile{};  // the roots
  bool entries_read = false, tile_read = false;
  bool timed = false;               // its entries were looked at
  std::optional<uint16_t> differs;  // the first entry that is not what the tile says
  std::optional<uint16_t> misfit;   // the first that has another's sequence, or is older than the one before it
  int64_t first_time = 0, last_time = 0;
};

class Verifier {
 public:
  explicit Verifier(const VerifyOptions& options)
      : options_(options), folder_(options.folder), tiles_(*folder_.files, folder_.path) {}

  Result<Verification> Run() {
    ECLUSE_TRY(auto present, folder_.files->Find(folder_.path + "/origin"));
    ECLUSE_TRY(auto checkpoint, folder_.files->Find(folder_.path + "/checkpoint"));
    if (!present && !checkpoint) {
      return Fail(sqlstate::kIo, "there is no ledger in " + folder_.path, "it is made when the gate first serves",
                  "ledger.none");
    }
    ReadWhose();
    ReadLastCheckpoint();
    if (out_.checkpoint.size > 0) {
      ReadRemoved();
      ExamineBundles();
      JudgeTree();
      CompareOlderPartials();
      CompareEarlier();
      if (key_) ExamineCosigned(options_, folder_, *key_, cosigned_, &out_);
    }
    if (origin_) out_.entries = ExamineSegments(options_, folder_, out_.checkpoint.size, key_, &out_.findings);
    if (out_.checkpoint.size == 0 && out_.findings.empty() && (out_.entries > 0 || !options_.from.empty())) {
      Found(0, "no checkpoint covers the entries: they are not signed (a new ledger has one a moment after its start)");
    }
    std::ranges::sort(out_.findings, [](const Finding& a, const Finding& b) {
      return a.entry.value_or(UINT64_MAX) < b.entry.value_or(UINT64_MAX);
    });
    return std::move(out_);
  }

 private:
  void Found(std::optional<uint64_t> entry, std::string what) { out_.findings.push_back({entry, std::move(what)}); }
  void Found(std::optional<uint64_t> entry, const Error& error) {
    Found(entry, error.operator_detail.empty() ? error.message : error.message + ": " + error.operator_detail);
  }

  void ReadWhose() {
    std::string origin;
    auto id = ReadOrigin(folder_, &origin);
    if (id) {
      folder_.ledger = *id;
      origin_ = origin;
    } else {
      Found(std::nullopt, id.error());
    }
    auto own = ReadVerifierKey(folder_);
    if (!own) Found(std::nullopt, own.error());
    if (own && options_.key && *own != *options_.key) {
      Found(std::nullopt, "the file vkey is not the key that the ledger is to be verified with");
    }
    key_ = options_.key ? options_.key : own ? std::optional(*own) : std::nullopt;
    if (key_ && origin_ && key_->name != *origin_) {
      Found(std::nullopt, fmt::format("the folder's origin is {}, and its key is of {}", *origin_, key_->name));
    }
  }

  // First what was cosigned: beside a running gate both go on.
  void ReadLastCheckpoint() {
    const std::string path = folder_.path + "/cosigned";
    const auto present = folder_.files->Find(path);
    if (present && *present) {
      auto cosigned = ReadWholeFile(*folder_.files, path, limits::kNote);
      if (!cosigned) Found(std::nullopt, cosigned.error());
      if (cosigned) cosigned_ = std::move(*cosigned);
    }
    if (!key_) return;
    auto found = folder_.files->Find(folder_.path + "/checkpoint");
    if (!found || !*found) return;  // judged with the segments
    auto text = ReadWholeFile(*folder_.files, folder_.path + "/checkpoint", limits::kNote);
    if (!text) return Found(std::nullopt, text.error());
    auto checkpoint = OpenCheckpoint(*text, *key_);
    if (!checkpoint) return Found(std::nullopt, checkpoint.error());
    out_.checkpoint = std::move(*checkpoint);
  }

  // What a signed entry says was removed may be missing, but for what it says was kept.
  void ReadRemoved() {
    const auto removal = ReadRemoval(folder_);
    if (!removal) return Found(std::nullopt, removal.error());
    if (removal->entries == 0) return;
    const auto entry =
        removal->by < out_.checkpoint.size ? ::ecluse::Entries(folder_).Read(removal->by) : Result<std::string>();
    const auto said = entry ? ReadRetentionEntry(*entry) : std::nullopt;
    if (!said || said->entries != removal->entries) {
      return Found(0, fmt::format("entries 0 to {} were removed, and no signed entry says so", removal->entries - 1));
    }
    out_.removed = removal->entries;
    KeptHash hash;
    const auto bundles = KeptBundles(folder_);
    if (!bundles) return Found(std::nullopt, bundles.error());
    for (const uint64_t bundle : *bundles) {
      if (bundle >= removal->entries / kTileWidth) continue;  // of a removal that was interrupted
      const auto kept = ReadKept(folder_, bundle);
      if (!kept) {
        Found(bundle * kTileWidth, kept.error());
        continue;
      }
      const auto tile = tiles_.Read({0, bundle, kTileWidth});
      const std::vector<Hash> hashes = tile ? HashesOf(*tile) : std::vector<Hash>();
      for (const KeptEntry& one : *kept) {
        const Hash leaf = LeafHash(one.json);
        hash.Add(one.seq, leaf);
        if (one.seq % kTileWidth < hashes.size() && hashes[one.seq % kTileWidth] != leaf)
          Found(one.seq, "the entry that was kept is not the one that was signed");
      }
    }
    if (hash.count() != said->kept || hash.Value() != said->hash)
      Found(std::nullopt, fmt::format("of the entries before {} {} were kept, and others are there now, {} of them",
                                      removal->entries, said->kept, hash.count()));
  }

  // Reads every bundle and the tile of its hashes, the last ones too.
  void ExamineBundles() {
    const uint64_t size = out_.checkpoint.size;
    bundles_.resize((size + kTileWidth - 1) / kTileWidth);
    if (options_.resume && key_) {
      const auto earlier = OpenCheckpoint(options_.from, *key_);
      // The last bundle before it is read too: times go on from there.
      if (earlier && earlier->size <= size) before_ = std::max<uint64_t>(earlier->size / kTileWidth, 1) - 1;
    }
    std::atomic<uint64_t> next = 0, done = 0;
    const unsigned count = options_.threads != 0 ? options_.threads : std::max(1u, std::thread::hardware_concurrency());
    std::counting_semaphore<> finished(0);
    const auto work = [&] {
      while (true) {
        const uint64_t from = next.fetch_add(kChunk);
        if (from >= bundles_.size()) return finished.release();
        for (uint64_t i = from; i < std::min<uint64_t>(from + kChunk, bundles_.size()); ++i) {
          Examine(i, std::min(kTileWidth, size - i * kTileWidth), &bundles_[i]);
          done.fetch_add(1);
        }
      }
    };
    std::vector<std::thread> threads;
    for (unsigned i = 0; i < count; ++i) threads.emplace_back(work);
    for (unsigned left = count; left > 0;) {
      if (finished.try_acquire_for(kProgressEvery)) --left;
      if (options_.progress) options_.progress(std::min(size, done.load() * kTileWidth), size);
    }
    for (std::thread& thread : threads) thread.join();
  }

  void Examine(uint64_t number, uint64_t width, Examined* out) const {
    const auto tile = tiles_.Read({0, number, width});
    std::vector<Hash> hashes;
    if (tile && tile->size() == width * sizeof(Hash)) {
      hashes = HashesOf(*tile);
      out->tile_read = true;
      out->of_tile = RootOf(hashes);
    }
    const auto only_tile = [&] {
      out->entries_read = out->tile_read;
      out->of_entries = out->of_tile;
    };
    if (number < before_) return only_tile();
    const auto bytes = tiles_.Read({kEntriesLevel, number, width});
    if (!bytes) {
      if (number * kTileWidth < out_.removed) only_tile();
      return;
    }
    std::vector<Hash> leaves;
    leaves.reserve(width);
    std::string_view rest = *bytes;
    while (rest.size() >= 2 && leaves.size() < width) {
      const size_t length = LoadU16(rest.data());
      if (rest.size() < 2 + length) break;
      const std::string_view json = rest.substr(2, length);
      rest.remove_prefix(2 + length);
      const auto at = static_cast<uint16_t>(leaves.size());
      const int64_t time = EntryTime(json);
      if (!out->misfit && (EntrySeq(json) != number * kTileWidth + at || time < out->last_time)) out->misfit = at;
      if (at == 0) out->first_time = time;
      out->last_time = std::max(out->last_time, time);
      leaves.push_back(LeafHash(json));
      if (out->tile_read && !out->differs && leaves.back() != hashes[at]) out->differs = at;
    }
    out->entries_read = out->timed = leaves.size() == width && rest.empty();
    if (out->entries_read) out->of_entries = out->tile_read && !out->differs ? out->of_tile : RootOf(leaves);
    if (!out->entries_read && !out->differs) {
      out->differs = static_cast<uint16_t>(std::min<size_t>(leaves.size(), width - 1));
    }
  }

  // The hashes of one tile above level 0, as they are on disk, and whether they are what was signed.
  struct Level {
    std::vector<Hash> hashes;
    bool trusted = false;
  };

  // Judges from the signed root downwards: a tile is right where its root is what the tile above it, or the signed
  // root, says. What a right tile says of those below it decides who has been altered.
  void JudgeTree() {
    const uint64_t size = out_.checkpoint.size;
    int top = 0;
    while (HashesAt(top + 1, size) > 0) ++top;
    std::vector<std::map<uint64_t, Level>> levels(static_cast<size_t>(top) + 1);
    const bool edge = EdgeIsSigned();
    for (int level = top; level >= 1; --level) {
      const uint64_t hashes = HashesAt(level, size);
      for (uint64_t number = 0; number * kTileWidth < hashes; ++number) {
        const Tile tile{level, number, std::min(kTileWidth, hashes - number * kTileWidth)};
        Level& read = levels[static_cast<size_t>(level)][number];
        const auto bytes = tiles_.Read(tile);
        const std::optional<Hash> due = Due(levels, level, number);
        if (bytes && bytes->size() == tile.width * sizeof(Hash)) {
          read.hashes = HashesOf(*bytes);
          read.trusted = tile.width < kTileWidth ? edge : due && *due == RootOf(read.hashes);
        }
        if (read.trusted || (tile.width < kTileWidth && !edge)) continue;
        if (due || !bytes) Found(FirstUnder(tile), TilePath(tile) + " is missing or has been altered");
      }
    }
    JudgeBundles(levels, edge);
    if (!edge) JudgeRoot();
  }

  static uint64_t FirstUnder(const Tile& tile) { return (tile.number * kTileWidth) << (kTileHeight * tile.level); }

  // What the tile above says that tile `number` of `level` has for its root; nullopt where nothing can be believed.
  static std::optional<Hash> Due(const std::vector<std::map<uint64_t, Level>>& levels, int level, uint64_t number) {
    if (static_cast<size_t>(level) + 1 >= levels.size()) return std::nullopt;
    const auto& above = levels[static_cast<size_t>(level) + 1];
    const auto found = above.find(number / kTileWidth);
    if (found == above.end() || !found->second.trusted || number % kTileWidth >= found->second.hashes.size()) {
      return std::nullopt;
    }
    return found->second.hashes[number % kTileWidth];
  }

  // Whether the tiles at the right edge of the tree give the signed root.
  bool EdgeIsSigned() const {
    TileSource source(out_.checkpoint.size, [&](const Tile& tile) { return tiles_.Read(tile); });
    const auto root = RootAt(out_.checkpoint.size, source);
    return root && *root == out_.checkpoint.root;
  }

  void JudgeBundles(const std::vector<std::map<uint64_t, Level>>& levels, bool edge) {
    const uint64_t size = out_.checkpoint.size;
    int64_t time = 0;
    for (uint64_t number = 0; number < bundles_.size(); ++number) {
      const Examined& one = bundles_[number];
      const uint64_t first = number * kTileWidth;
      const bool full = first + kTileWidth <= size;
      const std::optional<Hash> due = Due(levels, 0, number);
      const bool tile_right = one.tile_read && (full ? due && *due == one.of_tile : edge);
      const bool entries_right = one.entries_read && (full ? due && *due == one.of_entries : edge && !one.differs);
      const Tile tile{0, number, std::min(kTileWidth, size - first)};
      if (!entries_right && tile_right) {
        Found(first + one.differs.value_or(0), "the entry is not the one that was signed");
      } else if (!entries_right && (due || edge)) {
        // Neither is right: which of the entries has been altered cannot be told any more.
        if (due || !one.entries_read || one.differs) {
          Found(first, fmt::format("neither entries {} to {} nor their hashes are those that were signed", first,
                                   first + tile.width - 1));
        }
      } else if (entries_right && !tile_right && (due || edge)) {
        Found(first + one.differs.value_or(0),
              TilePath(tile) + " is missing or has been altered; the entries are right");
      } else if (one.differs) {
        Found(first + *one.differs, "the entry and its hash differ");
      }
      if (one.misfit)
        Found(first + *one.misfit, "the entry has another's sequence, or is older than the one before it");
      if (one.timed && one.first_time < time) Found(first, "the entry is older than the one before it");
      time = std::max(time, one.last_time);
    }
  }

  // The signed root is not that of the tiles at the edge: from the entries alone it can be told whether tiles or
  // entries have been altered.
  void JudgeRoot() {
    const uint64_t size = out_.checkpoint.size;
    Frontier frontier;
    bool whole = true;
    for (uint64_t number = 0; number < bundles_.size() && whole; ++number) {
      whole = bundles_[number].entries_read;
      if (!whole) break;
      if (number * kTileWidth + kTileWidth <= size) {
        frontier.AppendSubtree(kTileHeight, bundles_[number].of_entries);
      } else {
        const auto bytes = tiles_.Read({kEntriesLevel, number, size % kTileWidth});
        const auto entries = bytes ? ReadBundle(*bytes, size % kTileWidth) : std::nullopt;
        whole = entries.has_value();
        for (size_t i = 0; whole && i < entries->size(); ++i) frontier.Append(LeafHash((*entries)[i]));
      }
    }
    if (whole && frontier.Root() == out_.checkpoint.root) return NameAlteredEdge();
    const bool named = std::ranges::any_of(out_.findings, [](const Finding& one) { return one.entry.has_value(); });
    if (!named) Found(0, "the checkpoint was not signed over these entries; which of them are others cannot be told");
  }

  // The entries are those that were signed: which tiles at the edge are not those of the entries?
  void NameAlteredEdge() {
    const uint64_t size = out_.checkpoint.size;
    if (size % kTileWidth != 0 && (!bundles_.back().tile_read || bundles_.back().differs)) {
      const uint64_t first = size / kTileWidth * kTileWidth;
      Found(first + bundles_.back().differs.value_or(0), TilePath({0, size / kTileWidth, size % kTileWidth}) +
                                                             " is missing or has been altered; the entries are right");
    }
    std::vector<Hash> row;
    for (uint64_t number = 0; number < size / kTileWidth; ++number) row.push_back(bundles_[number].of_entries);
    for (int level = 1; !row.empty(); ++level) {
      std::vector<Hash> above;
      for (size_t at = 0; at < row.size(); at += kTileWidth) {
        const std::span<const Hash> due = std::span(row).subspan(at, std::min<size_t>(kTileWidth, row.size() - at));
        if (due.size() == kTileWidth) above.push_back(RootOf(due));
        const Tile tile{level, at / kTileWidth, due.size()};
        const auto bytes = tiles_.Read(tile);
        const std::vector<Hash> hashes = bytes ? HashesOf(*bytes) : std::vector<Hash>();
        if (bytes && bytes->size() == due.size_bytes() && std::ranges::equal(hashes, due)) continue;
        const size_t same = static_cast<size_t>(std::ranges::mismatch(hashes, due).in2 - due.begin());
        Found((at + std::min(same, due.size() - 1)) << (kTileHeight * level),
              TilePath(tile) + " is missing or has been altered; the entries are right");
      }
      row = std::move(above);
    }
    if (out_.findings.empty()) Found(std::nullopt, "the tiles at the right edge do not give the root that was signed");
  }

  // Against an earlier checkpoint.
  void CompareEarlier() {
    const uint64_t size = out_.checkpoint.size;
    if (options_.from.empty() || !key_) return;
    auto earlier = OpenCheckpoint(options_.from, *key_);
    if (!earlier) return Found(std::nullopt, earlier.error());
    if (earlier->size > size) {
      return Found(size, fmt::format("the ledger once held {} entries, and holds {} now", earlier->size, size));
    }
    TileSource source(size, [&](const Tile& tile) { return tiles_.Read(tile); });
    const auto root = RootAt(earlier->size, source);
    if (!root || *root != earlier->root) {
      Found(earlier->size == 0 ? 0 : std::optional<uint64_t>(),
            fmt::format(
                "the first {} entries are not those of the earlier checkpoint: the ledger was forked, or signed anew",
                earlier->size));
    }
  }

  // Partial tiles of earlier checkpoints, which the world may still ask for, are the starts of what is there now.
  void CompareOlderPartials() {
    for (Tile tile : PartialTiles(out_.checkpoint.size)) {
      const auto now = tiles_.Read(tile);
      const std::string path = TilePath({tile.level, tile.number, kTileWidth}) + ".p";
      const auto names = folder_.files->List(folder_.path + "/" + path);
      if (!now || !names) continue;  // found already
      for (const std::string& name : *names) {
        if (name.ends_with(".new")) continue;  // what a crash left of one that never had its name
        const auto older = ParseTilePath(path + "/" + name);
        if (older && older->width == tile.width) continue;  // judged with the tree
        const auto bytes = older ? tiles_.Read(*older) : Result<std::string>(std::string("?"));
        // Beside a running gate there are newer ones too.
        const bool newer = older && older->width > tile.width && bytes && bytes->starts_with(*now);
        const bool older_start = older && older->width < tile.width && bytes && now->starts_with(*bytes) &&
                                 (tile.level == kEntriesLevel ? ReadBundle(*bytes, older->width).has_value()
                                                              : bytes->size() == older->width * sizeof(Hash));
        if (newer || older_start) continue;
        const size_t same = bytes ? static_cast<size_t>(std::ranges::mismatch(*bytes, *now).in2 - now->begin()) : 0;
        const uint64_t at =
            std::min(tile.width - 1, tile.level == kEntriesLevel ? EntryAtByte(*now, same) : same / sizeof(Hash));
        Found((tile.number * kTileWidth + at) << (kTileHeight * std::max(tile.level, 0)),
              path + "/" + name + " is not the start of what the tree has there");
      }
    }
  }

  // Which entry of a bundle byte `offset` belongs to.
  static uint64_t EntryAtByte(std::string_view bundle, size_t offset) {
    uint64_t entry = 0;
    size_t end = 0;
    while (end + 2 <= bundle.size()) {
      end += 2 + LoadU16(bundle.data() + end);
      if (offset < end) break;
      ++entry;
    }
    return entry;
  }

  const VerifyOptions& options_;
  SegmentFolder folder_;
  const TileFolder tiles_;
  std::optional<std::string> origin_;
  std::optional<VerifierKey> key_;
  std::string cosigned_;  // the file's content
  uint64_t before_ = 0;   // bundles whose entries were examined earlier
  std::vector<Examined> bundles_;
  Verification out_;
};

}  // namespace

Result<Verification> VerifyLedger(const VerifyOptions& options) { return Verifier(options).Run(); }

}  // namespace ecluse
