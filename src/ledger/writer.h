// The one thread that writes the ledger: takes everything queued, gives each entry its sequence and time, writes and
// syncs the group, and only then completes the waiters.
#pragma once

#include <atomic>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "base/clock.h"
#include "ledger/entry.h"
#include "ledger/index.h"
#include "ledger/recovery.h"
#include "ledger/render.h"
#include "ledger/segment.h"
#include "ledger/supply.h"

namespace ecluse {

class PersonKeys;  // person_keys.h

// Told once what became of an entry: its sequence when it is durable, or why it is not. Called on the writer's thread,
// or on the submitter's where the ledger has failed already. Must not block.
class Waiter {
 public:
  virtual ~Waiter() = default;
  virtual void Done(Result<uint64_t> seq) = 0;
};

// What a `person` entry introduces.
struct Introduction {
  SubjectToken token{};
  SubjectKey key{};
  std::string wrapped_key;  // for the store of person keys; emptied once it is there
  uint64_t seq = 0;         // filled in by the writer
};

struct QueuedEntry {
  RenderedEntry entry;
  bool reserved = false;  // may use the space kept for keys, locks, alerts, approvals and erasures by key
  std::unique_ptr<Introduction> introduces;
  std::string announces;           // id of the key that a `key` entry tells of
  IndexedEntry indexed;            // what the index finds it by
  std::unique_ptr<Waiter> waiter;  // null: nobody waits
};

// Whether the tree follows what is appended: it is far behind; it is so because the disk is full.
enum class TreeLag : uint8_t { none, behind, full };

// What has just become durable and has a place in the index.
struct DurableNews {
  std::vector<Introduction> introduced;
  std::vector<std::string> announced;
  std::vector<IndexedEntry> entries;
  uint64_t size = 0;  // entries that are durable now
  RecordPlace last;   // of the last of them
};

struct WriterOptions {
  SegmentFolder folder;
  const Clock* clock = nullptr;
  PersonKeys* persons = nullptr;  // outlives the writer
  uint64_t reserve_bytes = 0;
  int64_t ahead = 0;  // by how much entries' times are ahead of the wall clock: an accepted clock, in microseconds
  std::function<QueuedEntry(std::string reason)> alert;  // makes the `alert` entry that tells of a moved clock
  std::function<void(DurableNews)> durable;              // called on the writer's thread, after the waiters
};

// Thread-safe.
class Writer {
 public:
  // Refuses where the tail's segment cannot be opened.
  static Result<std::unique_ptr<Writer>> Start(WriterOptions options, const RecoveredTail& tail);
  ~Writer();  // Stop(), where nobody has called it

  void Submit(QueuedEntry entry);
  // Whether an append need not wait for room now.
  bool HasRoom() const;
  // True at once where the queue has room or the ledger has failed; else false, and `waiter` is taken, and told (always
  // with 0) when one of the two is so.
  bool RoomOrWait(std::unique_ptr<Waiter>& waiter);

  bool healthy() const { return !failed_.load(std::memory_order_acquire); }
  uint64_t size() const { return size_.load(std::memory_order_acquire); }
  std::optional<Error> failure() const;
  // Segments before `first_left` are about to be removed: they are in the tree.
  void Leaving(uint64_t first_left) { supply_->Leaving(first_left); }
  // How the tree keeps up. Behind: those who ask for room wait. Full: ordinary entries are refused with 58030.
  void SetLag(TreeLag lag);
  // Writes what is queued; whoever waits for room goes on. Nothing may be submitted any more.
  void Stop();
  // Stops for good: every waiter and everything later gets `error`.
  void FailForGood(Error error);

 private:
  Writer(WriterOptions options, const RecoveredTail& tail, OpenSegment segment, uint64_t first_segment);
  void Run();
  void Process(std::vector<QueuedEntry>& batch);
  bool Open() const;  // mutex_ held: nobody need wait for room
  Status MakeRoom(const QueuedEntry& entry);
  uint64_t RoomFor(bool reserved);
  Status WriteGroup(std::span<QueuedEntry> group);
  Status WriteAndSync(std::string_view records);
  Status StorePersonKeys(std::span<QueuedEntry> group);
  Status CheckClock();
  void Complete(std::span<QueuedEntry> group);
  void Refuse(QueuedEntry entry, const Error& why);
  void FailBatch(std::span<QueuedEntry> rest);

  const WriterOptions options_;
  std::unique_ptr<SegmentSupply> supply_;

  mutable std::mutex mutex_;
  std::condition_variable queued_;
  std::vector<QueuedEntry> queue_;
  size_t queue_bytes_ = 0;
  std::vector<std::unique_ptr<Waiter>> room_waiters_;
  std::optional<Error> failure_;
  bool stopping_ = false;
  std::atomic<TreeLag> lag_ = TreeLag::none;
  std::atomic<bool> failed_ = false;
  std::atomic<uint64_t> size_;

  // Of the writer's thread alone.
  OpenSegment segment_;
  // Introductions, and erasures by key, that found no room: never dropped, for tokens already refer to them, or no
  // longer do. Tried again before what comes behind them.
  std::vector<QueuedEntry> retained_;
  std::string buffer_;
  RecordPlace last_;      // of the entry written last
  int64_t last_time_;     // of the last entry
  int64_t clock_offset_;  // wall minus boot clock at start
  std::thread thread_;
};

}  // namespace ecluse
