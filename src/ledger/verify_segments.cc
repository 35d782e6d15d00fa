#include "ledger/verify_segments.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <thread>

#include "base/file.h"
#include "base/limits.h"
#include "ledger/record.h"
#include "ledger/tile_folder.h"
#include "ledger/tree_writer.h"
#include "tlog/tile.h"

namespace ecluse {
namespace {

constexpr std::chrono::milliseconds kBetweenLooks{100};

class SegmentExaminer {
 public:
  SegmentExaminer(const SegmentFolder& folder, uint64_t size, const std::optional<VerifierKey>& key)
      : folder_(folder), tiles_(*folder.files, folder.path), size_(size), key_(key) {}

  // Adds to `found`; false where they could not be read whole.
  bool Look(std::vector<Finding>* found) {
    found_ = found;
    next_.reset();
    time_ = 0;
    auto numbers = ListSegments(folder_, false);
    if (!numbers) {
      Found(std::nullopt, numbers.error().operator_detail);
      return false;
    }
    if (numbers->empty()) {
      Found(size_, "there is no segment");
      return true;
    }
    for (const uint64_t number : *numbers) {
      if (!LookAt(number)) return false;
    }
    if (next_.value_or(size_) < size_)
      Found(*next_, fmt::format("the segments end at entry {}, and the checkpoint covers {}", *next_, size_));
    if (!next_ && size_ > 0) Found(size_ - 1, "no segment holds an entry, and the one that held this one always stays");
    const auto first = FirstInSegments(folder_);
    if (first && *first && **first > Covered())
      Found(size_, fmt::format("entries {} to {} are missing", size_, **first - 1));
    return true;
  }

  uint64_t Entries() const { return std::max(size_, next_.value_or(0)); }

 private:
  void Found(std::optional<uint64_t> entry, std::string what) { found_->push_back({entry, std::move(what)}); }

  bool LookAt(uint64_t number) {
    bool broken = false;
    auto end = VisitSegment(folder_, number, [&](const Record& record, uint64_t) {
      const uint64_t seq = record.header.seq;
      if (next_ && seq != *next_) {
        Found(*next_, fmt::format("{} goes on with entry {}", folder_.PathOf(number), seq));
        broken = true;
        return false;
      }
      next_ = seq + 1;
      const int64_t now = EntryTime(record.entry);
      if (EntrySeq(record.entry) != seq || now < time_)
        Found(seq, "the entry has another's sequence, or is older than the one before it");
      time_ = now;
      if (seq < size_ && !IsInTree(seq, record.entry))
        Found(seq, "the entry in " + folder_.PathOf(number) + " is not the one in the tree");
      return true;
    });
    if (!end) {
      Found(next_, end.error().operator_detail);
      return false;
    }
    if (broken) return false;
    if (OnlyZeros(number, *end)) return true;
    const auto again = VisitSegment(folder_, number, [](const Record&, uint64_t) { return true; });
    if (again && *again != *end) return true;  // a gate is writing there just now
    Found(next_, fmt::format("{} holds bytes behind its last entry that are no entry; a crash leaves such, and the "
                             "next start of the gate removes them",
                             folder_.PathOf(number)));
    return true;
  }

  // Where the tile cannot be read, that has been found already.
  bool IsInTree(uint64_t seq, std::string_view entry) {
    if (seq / kTileWidth != tile_number_) {
      tile_number_ = seq / kTileWidth;
      const auto bytes = tiles_.Read({0, tile_number_, std::min(kTileWidth, size_ - tile_number_ * kTileWidth)});
      tile_ = bytes ? HashesOf(*bytes) : std::vector<Hash>();
    }
    return seq % kTileWidth >= tile_.size() || tile_[seq % kTileWidth] == LeafHash(entry);
  }

  // What the checkpoint covers by now: beside a running gate it goes on, and segments go with it.
  uint64_t Covered() const {
    if (!key_) return size_;
    const auto text = ReadWholeFile(*folder_.files, folder_.path + "/checkpoint", limits::kNote);
    const auto now = text ? OpenCheckpoint(*text, *key_) : std::unexpected(text.error());
    return now ? std::max(size_, now->size) : size_;
  }

  bool OnlyZeros(uint64_t number, uint64_t from) const {
    auto file = folder_.files->Open(folder_.PathOf(number), OpenMode::read);
    if (!file) return false;
    std::vector<uint8_t> bytes(1024 * 1024);
    while (true) {
      auto n = (*file)->ReadAt(from, bytes);
      if (!n) return false;
      if (*n == 0) return true;
      if (!std::all_of(bytes.begin(), bytes.begin() + static_cast<ptrdiff_t>(*n),
                       [](uint8_t byte) { return byte == 0; }))
        return false;
      from += *n;
    }
  }

  const SegmentFolder& folder_;
  const TileFolder tiles_;
  const uint64_t size_;
  const std::optional<VerifierKey>& key_;
  std::vector<Finding>* found_ = nullptr;
  std::optional<uint64_t> next_;  // the entry due
  int64_t time_ = 0;              // of the last one
  uint64_t tile_number_ = UINT64_MAX;
  std::vector<Hash> tile_;
};

}  // namespace

uint64_t ExamineSegments(const VerifyOptions& options, const SegmentFolder& folder, uint64_t size,
                         const std::optional<VerifierKey>& key, std::vector<Finding>* findings) {
  SegmentExaminer examiner(folder, size, key);
  std::vector<Finding> found;
  const auto until = std::chrono::steady_clock::now() + options.patience;
  while (true) {
    found.clear();
    if ((examiner.Look(&found) && found.empty()) || std::chrono::steady_clock::now() >= until) break;
    std::this_thread::sleep_for(kBetweenLooks);  // a gate may be writing just now: what is wrong stays wrong
  }
  findings->insert(findings->end(), found.begin(), found.end());
  return examiner.Entries();
}

}  // namespace ecluse
