// Hashes what the writer has made durable into tiles, and signs checkpoints over them: behind the release path, on a
// thread of its own. Where the disk is full it waits for room; any other failure is final. docs/ledger_format.md,
// "Tree".
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "base/result.h"
#include "ledger/segment.h"
#include "ledger/tile_folder.h"
#include "ledger/writer.h"
#include "tlog/checkpoint.h"
#include "tlog/note.h"
#include "tlog/tree.h"

namespace ecluse {

// A tree that can grow: what lies right of its full tiles. Not thread-safe.
class TreeEdge {
 public:
  // The edge of a tree of `size` leaves from its tiles and its last bundle, whose entries must be those of the tree.
  static Result<TreeEdge> Read(uint64_t size, const TileFolder& tiles);

  // Adds an entry and writes the tiles that it fills.
  Status Append(std::string_view entry, TileFolder& tiles);
  // Writes the tiles that are not full: with them the tree can be read as it is now.
  Status WritePartials(TileFolder& tiles) const;
  uint64_t size() const { return size_; }
  Hash Root() const;

 private:
  uint64_t size_ = 0;
  std::vector<std::vector<Hash>> levels_ = {{}};  // of each level the hashes behind its last full tile
  std::string bundle_;                            // entries behind the last full bundle
  Frontier full_;                                 // over the full tiles of level 0
};

struct TreeOptions {
  SegmentFolder folder;
  std::shared_ptr<const SigningKey> signer;  // its name is the ledger's origin
  std::chrono::milliseconds every{1'000};    // at most this long behind the last entry
  // Tells the world of a checkpoint before it becomes the ledger's: what it refuses is final; false: not now. Null:
  // nobody is told.
  std::function<Result<bool>(const std::string& note, const Checkpoint& checkpoint,
                             const std::function<Status(const std::string& note)>& ours)>
      publish;
  std::string told;                  // the note of a checkpoint that this ledger must go on from, or empty
  std::function<void(TreeLag)> lag;  // told when it changes
  std::function<void(uint64_t)>
      leaving;                        // segments before this one are about to be removed: the tree holds their entries
  std::function<void(Error)> broken;  // nothing may be appended any more
};

// The ledger's checkpoint as it is on disk: one of size 0 where there is none. Refuses one that `key` has not signed.
Result<Checkpoint> ReadCheckpoint(const SegmentFolder& folder, const VerifierKey& key);
// The verifier key of the ledger in a folder, from its file `vkey`.
Result<VerifierKey> ReadVerifierKey(const SegmentFolder& folder);

// Thread-safe.
class TreeWriter {
 public:
  // Takes up the tree at its last checkpoint, which must be no larger than the `durable` entries that there are and
  // must be that of the tiles; so must the one that was told. Writes `vkey` where it is missing.
  static Result<std::unique_ptr<TreeWriter>> Start(TreeOptions options, uint64_t durable);
  // Signs a last checkpoint over everything that is durable.
  ~TreeWriter();

  // Begins; nothing is written and nobody is called back before.
  void Begin();

  // So many entries are durable.
  void Grew(uint64_t size);

 private:
  TreeWriter(TreeOptions options, TreeEdge edge, Checkpoint last, uint64_t durable);
  void Run();
  Result<bool> Round(uint64_t size);
  bool NoRoom(uint64_t bytes) const;
  Status Reload();
  void Tidy(uint64_t old_size);
  void SetLag(TreeLag lag);

  const TreeOptions options_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  uint64_t durable_;
  std::chrono::steady_clock::time_point uncovered_since_;  // when the first entry beyond the checkpoint became durable
  // How many entries were durable, and when: each time a round began. First the last one that the checkpoint covers.
  std::deque<std::pair<uint64_t, std::chrono::steady_clock::time_point>> grown_;
  TreeLag lag_ = TreeLag::none;
  bool full_ = false;  // the disk, and the log has said so
  bool failed_ = false;
  bool stopping_ = false;
  Checkpoint last_;

  // Of the thread alone.
  TileFolder tiles_;
  TreeEdge edge_;
  RecordCursor cursor_;
  std::thread thread_;
};

}  // namespace ecluse
