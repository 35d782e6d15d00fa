#include "ledger/tree_writer.h"

#include <fmt/format.h>

#include "base/bytes.h"
#include "base/check.h"
#include "base/limits.h"
#include "base/log.h"

namespace ecluse {
namespace {

constexpr std::chrono::milliseconds kRetry{1'000};
constexpr int kFarBehind = 10;                // times `every`
constexpr uint64_t kLeastRoom = 1024 * 1024;  // with less of it free nothing is tried: it would take others' last room

std::string CheckpointPath(const SegmentFolder& folder) { return folder.path + "/checkpoint"; }
std::string KeyPath(const SegmentFolder& folder) { return folder.path + "/vkey"; }

std::string_view Bytes(std::span<const Hash> hashes) {
  return {reinterpret_cast<const char*>(hashes.data()), hashes.size_bytes()};
}

Status CheckKey(const TreeOptions& options) {
  const std::string path = KeyPath(options.folder), wanted = options.signer->verifier().Text() + "\n";
  ECLUSE_TRY(auto present, options.folder.files->Find(path));
  if (!present) return ReplaceFile(*options.folder.files, path, wanted);
  ECLUSE_TRY(std::string text, ReadWholeFile(*options.folder.files, path, limits::kNote));
  if (text == wanted) return {};
  return Fail(sqlstate::kIo, "the ledger was signed with another key than the gate's",
              "put the key ring of this ledger back", "ledger.key", path + " is not " + wanted);
}

}  // namespace

Result<VerifierKey> ReadVerifierKey(const SegmentFolder& folder) {
  ECLUSE_TRY(std::string text, ReadWholeFile(*folder.files, KeyPath(folder), limits::kNote));
  ECLUSE_TRY(VerifierKey key, ParseVerifierKey(text));
  if (text != key.Text() + "\n") return LedgerDamaged(KeyPath(folder) + " is not one line");
  return key;
}

Result<Checkpoint> ReadCheckpoint(const SegmentFolder& folder, const VerifierKey& key) {
  ECLUSE_TRY(auto present, folder.files->Find(CheckpointPath(folder)));
  if (!present) return Checkpoint{key.name, 0, EmptyRoot()};
  ECLUSE_TRY(std::string note, ReadWholeFile(*folder.files, CheckpointPath(folder), limits::kNote));
  return OpenCheckpoint(note, key);
}

Result<TreeEdge> TreeEdge::Read(uint64_t size, const TileFolder& tiles) {
  TreeEdge edge;
  edge.size_ = size;
  TileSource source(size, [&](const Tile& tile) { return tiles.Read(tile); });
  ECLUSE_TRY(edge.full_, Frontier::Of(size / kTileWidth * kTileWidth, source));
  for (const Tile& tile : PartialTiles(size)) {
    ECLUSE_TRY(std::string bytes, tiles.Read(tile));
    if (tile.level == kEntriesLevel) {
      edge.bundle_ = std::move(bytes);
      continue;
    }
    const size_t level = static_cast<size_t>(tile.level);
    if (bytes.size() != tile.width * sizeof(Hash)) return LedgerDamaged(TilePath(tile) + " has the wrong size");
    if (edge.levels_.size() <= level) edge.levels_.resize(level + 1);
    edge.levels_[level].resize(tile.width);
    std::memcpy(edge.levels_[level].data(), bytes.data(), bytes.size());
  }
  const auto entries = ReadBundle(edge.bundle_, size % kTileWidth);
  if (!entries) return LedgerDamaged(TilePath({kEntriesLevel, size / kTileWidth, size % kTileWidth}) + " is no bundle");
  for (size_t i = 0; i < entries->size(); ++i) {
    if (LeafHash((*entries)[i]) != edge.levels_[0][i])
      return LedgerDamaged(fmt::format("entry {} is not the one that was hashed", size / kTileWidth * kTileWidth + i));
  }
  return edge;
}

Status TreeEdge::Append(std::string_view entry, TileFolder& tiles) {
  levels_[0].push_back(LeafHash(entry));
  AppendToBundle(bundle_, entry);
  ++size_;
  if (levels_[0].size() < kTileWidth) return {};
  ECLUSE_OK(tiles.Write({kEntriesLevel, size_ / kTileWidth - 1, kTileWidth}, bundle_));
  bundle_.clear();
  for (size_t level = 0; levels_[level].size() == kTileWidth; ++level) {
    const int height = static_cast<int>(level);
    ECLUSE_OK(tiles.Write({height, HashesAt(height, size_) / kTileWidth - 1, kTileWidth}, Bytes(levels_[level])));
    const Hash root = RootOf(levels_[level]);
    if (level == 0) full_.AppendSubtree(kTileHeight, root);
    if (levels_.size() == level + 1) levels_.emplace_back();
    levels_[level].clear();
    levels_[level + 1].push_back(root);
  }
  return {};
}

Status TreeEdge::WritePartials(TileFolder& tiles) const {
  for (const Tile& tile : PartialTiles(size_)) {
    const bool entries = tile.level == kEntriesLevel;
    ECLUSE_OK(tiles.Write(tile, entries ? std::string_view(bundle_) : Bytes(levels_[static_cast<size_t>(tile.level)])));
  }
  return {};
}

Hash TreeEdge::Root() const {
  Frontier whole = full_;
  for (const Hash& leaf : levels_[0]) whole.Append(leaf);
  return whole.Root();
}

namespace {

std::unexpected<Error> Ahead(const Checkpoint& told, uint64_t durable) {
  return Fail(sqlstate::kIo,
              fmt::format("this ledger is behind: a checkpoint over {} entries was told of it, and it holds {}",
                          told.size, durable),
              "it was put back from a copy, or another gate writes one of the same origin: bring the newest ledger "
              "back, or see \"A new ledger\" in docs/operations.md",
              "ledger.behind");
}

// What was told must have been told of this very ledger. It may cover more than the last checkpoint: the entries behind
// that are in segments.
Status CheckTold(const TreeOptions& options, const std::string& note, const Checkpoint& last, uint64_t durable,
                 const TileFolder& tiles) {
  auto told = OpenCheckpoint(note, options.signer->verifier());
  if (!told)
    return Fail(sqlstate::kIo, "the checkpoint that the register's database holds was not signed by this gate",
                "another ledger has the same origin: start this gate with a --node of its own, or bring the other "
                "ledger's keys back",
                "ledger.told", told.error().message);
  if (told->size > durable) return Ahead(*told, durable);
  TileSource source(last.size, [&](const Tile& tile) { return tiles.Read(tile); });
  Hash root;
  if (told->size <= last.size) {
    ECLUSE_TRY(root, RootAt(told->size, source));
  } else {
    ECLUSE_TRY(Frontier grown, Frontier::Of(last.size, source));
    ECLUSE_OK(VisitEntries(options.folder, last.size, told->size, [&](const Record& record) {
      grown.Append(LeafHash(record.entry));
      return true;
    }));
    root = grown.Root();
  }
  if (root == told->root) return {};
  return Fail(sqlstate::kIo,
              fmt::format("this ledger is another than the one a checkpoint over {} entries was told of", told->size),
              "two ledgers have gone on from the same copy: find out which one released what with `ecluse ledger "
              "verify --from`, and see \"A new ledger\" in docs/operations.md",
              "ledger.fork");
}

}  // namespace

Result<std::unique_ptr<TreeWriter>> TreeWriter::Start(TreeOptions options, uint64_t durable) {
  ECLUSE_OK(CheckKey(options));
  ECLUSE_TRY(Checkpoint last, ReadCheckpoint(options.folder, options.signer->verifier()));
  if (last.size > durable) {
    return LedgerDamaged(fmt::format("the checkpoint covers {} entries and the ledger holds {}: the last were lost",
                                     last.size, durable));
  }
  TileFolder tiles(*options.folder.files, options.folder.path);
  ECLUSE_TRY(TreeEdge edge, TreeEdge::Read(last.size, tiles));
  if (edge.Root() != last.root) return LedgerDamaged("the tiles are not those that the checkpoint was signed over");
  if (!options.told.empty()) ECLUSE_OK(CheckTold(options, options.told, last, durable, tiles));
  ECLUSE_TRY(auto first, FirstInSegments(options.folder));
  if (first.value_or(durable) > last.size) {
    return LedgerDamaged(fmt::format("entries {} to {} are neither in the tree nor in a segment", last.size,
                                     first.value_or(durable) - 1));
  }
  return std::unique_ptr<TreeWriter>(new TreeWriter(std::move(options), std::move(edge), std::move(last), durable));
}

TreeWriter::TreeWriter(TreeOptions options, TreeEdge edge, Checkpoint last, uint64_t durable)
    : options_(std::move(options)),
      durable_(durable),
      uncovered_since_(std::chrono::steady_clock::now()),
      last_(std::move(last)),
      tiles_(*options_.folder.files, options_.folder.path),
      edge_(std::move(edge)),
      cursor_(options_.folder, last_.size) {}

void TreeWriter::Begin() {
  thread_ = std::thread([this] { Run(); });
}

TreeWriter::~TreeWriter() {
  if (!thread_.joinable()) return;
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_one();
  thread_.join();
}

// Tells the writer; needs mutex_, which comes before the writer's.
void TreeWriter::SetLag(TreeLag lag) {
  if (lag == lag_) return;
  lag_ = lag;
  options_.lag(lag);
}

void TreeWriter::Grew(uint64_t size) {
  std::lock_guard lock(mutex_);
  if (durable_ == last_.size) {
    uncovered_since_ = std::chrono::steady_clock::now();
    changed_.notify_one();
  }
  durable_ = size;
  if (lag_ == TreeLag::none && !failed_ &&
      std::chrono::steady_clock::now() - uncovered_since_ > kFarBehind * options_.every) {
    Log().warn("the ledger's checkpoint is {} entries behind: appends wait for it", durable_ - last_.size);
    SetLag(full_ ? TreeLag::full : TreeLag::behind);
  }
}

void TreeWriter::Run() {
  std::unique_lock lock(mutex_);
  while (true) {
    changed_.wait(lock, [this] { return stopping_ || durable_ > last_.size; });
    changed_.wait_until(lock, uncovered_since_ + options_.every / 2, [this] {
      return stopping_ || lag_ != TreeLag::none || durable_ - last_.size >= limits::kTreeRound;
    });
    if (durable_ == last_.size) return;  // stopping, and everything is covered
    const uint64_t old_size = last_.size;
    // What has piled up is taken in pieces.
    const uint64_t size = std::min(durable_, old_size + limits::kTreeRound);
    if (grown_.empty() || grown_.back().first != durable_)
      grown_.emplace_back(durable_, std::chrono::steady_clock::time_point());
    grown_.back().second = std::chrono::steady_clock::now();
    lock.unlock();
    const bool no_room = NoRoom(kLeastRoom);
    bool told = true;
    Status done;
    if (no_room) {
      done = std::unexpected(IoError("write the tree", options_.folder.path, ENOSPC));
    } else {
      Result<bool> round = Round(size);
      told = round.value_or(true);
      if (!round) done = std::unexpected(std::move(round).error());
    }
    const bool full = !done && (no_room || NoRoom(limits::kTreeRoom));
    if (!done && full) {
      if (!full_)
        Log().error("the gate's disk is full: the ledger's checkpoint waits for room ({})",
                    done.error().operator_detail);
      done = Reload();
    }
    if (done && !full && told) Tidy(old_size);
    lock.lock();
    full_ = full;
    if (!done) {
      failed_ = true;
      lock.unlock();
      options_.broken(done.error());
      return;
    }
    if (!told) {
      if (stopping_) return;
      changed_.wait_for(lock, kRetry, [this] { return stopping_; });
      continue;
    }
    if (full) {
      if (stopping_) return;  // the next start goes on from here
      if (lag_ == TreeLag::behind) SetLag(TreeLag::full);
      changed_.wait_for(lock, kRetry, [this] { return stopping_; });
      continue;
    }
    if (lag_ == TreeLag::full) SetLag(TreeLag::behind);
    while (grown_.size() > 1 && grown_[1].first <= size) grown_.pop_front();
    if (grown_.front().first <= size) uncovered_since_ = grown_.front().second;  // no entry beyond `size` is older
    if (size < durable_ && size == old_size + limits::kTreeRound) continue;      // still behind, and at once
    SetLag(TreeLag::none);
  }
}

bool TreeWriter::NoRoom(uint64_t bytes) const {
  auto free = options_.folder.files->FreeBytes(options_.folder.path);
  return free && *free < bytes;
}

// Back to the last checkpoint, as a start does: what was written since is written again, to new files.
Status TreeWriter::Reload() {
  tiles_ = TileFolder(*options_.folder.files, options_.folder.path);
  ECLUSE_TRY(edge_, TreeEdge::Read(last_.size, tiles_));
  cursor_ = RecordCursor(options_.folder, last_.size);
  return {};
}

// Everything that the new checkpoint stands on is durable before it is signed, and everybody who must know of it is
// told before it takes the old one's place.
Result<bool> TreeWriter::Round(uint64_t size) {
  ECLUSE_OK(cursor_.Advance(size, [this](const Record& record) { return edge_.Append(record.entry, tiles_); }));
  ECLUSE_OK(edge_.WritePartials(tiles_));
  ECLUSE_OK(tiles_.Sync());
  const Checkpoint next{options_.signer->verifier().name, size, edge_.Root()};
  const std::string note = SignNote(next.Text(), *options_.signer).Text();
  if (options_.publish) {
    // What covers more than this one does is none of ours: we are the ones who write.
    ECLUSE_TRY(bool told, options_.publish(note, next, [&](const std::string& other) {
      return CheckTold(options_, other, next, next.size, tiles_);
    }));
    if (!told) return false;
  }
  ECLUSE_OK(ReplaceFile(*options_.folder.files, CheckpointPath(options_.folder), note));
  std::lock_guard lock(mutex_);
  last_ = next;
  return true;
}

// Removes what the new checkpoint has made needless. What cannot be removed stays, and harms nobody.
void TreeWriter::Tidy(uint64_t old_size) {
  const uint64_t size = edge_.size();
  const Status done = [&]() -> Status {
    for (int level = kEntriesLevel; level < 8; ++level) {
      const int of_hashes = std::max(level, 0);
      const uint64_t full_before = HashesAt(of_hashes, old_size) / kTileWidth,
                     full = HashesAt(of_hashes, size) / kTileWidth;
      // Only the first of those that became full had partial ones that a checkpoint had named.
      if (full > full_before) ECLUSE_OK(tiles_.RemovePartials({level, full_before, kTileWidth}));
    }
    if (size / kTileWidth == old_size / kTileWidth) return {};
    return RetireSegments(options_.folder, size / kTileWidth * kTileWidth, options_.leaving);
  }();
  if (!done) {
    Log().warn("what the ledger no longer needs could not be removed: {} ({})", done.error().message,
               done.error().operator_detail);
  }
}

}  // namespace ecluse
