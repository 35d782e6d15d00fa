#include "ledger/writer.h"

#include <fmt/format.h>

#include <cerrno>
#include <cstdlib>

#include "base/bytes.h"
#include "base/check.h"
#include "base/limits.h"
#include "base/log.h"
#include "ledger/person_keys.h"

namespace ecluse {
namespace {

uint64_t RecordBound(const QueuedEntry& entry) { return RecordSize(entry.entry.Size()); }

Error Unavailable(const Error& cause) {
  return Error{std::string(sqlstate::kIo),
               "the ledger cannot be written, so nothing is released",
               "tell the operator: " + cause.hint,
               "ledger.unavailable",
               cause.message + ": " + cause.operator_detail,
               0};
}

Error TreeFull() {
  return Unavailable({std::string(sqlstate::kIo), "the gate's disk is full, and no checkpoint can be signed",
                      "free space on the gate's disk, and it goes on by itself", "ledger.full", "", 0});
}

}  // namespace

Result<std::unique_ptr<Writer>> Writer::Start(WriterOptions options, const RecoveredTail& tail) {
  ECLUSE_TRY(auto file, options.folder.files->Open(options.folder.PathOf(tail.segment), OpenMode::write));
  ECLUSE_TRY(auto numbers, ListSegments(options.folder, false));
  OpenSegment segment{std::move(file), tail.segment, tail.size, tail.offset};
  return std::unique_ptr<Writer>(new Writer(std::move(options), tail, std::move(segment), numbers.front()));
}

Writer::Writer(WriterOptions options, const RecoveredTail& tail, OpenSegment segment, uint64_t first_segment)
    : options_(std::move(options)),
      size_(tail.next_seq),
      segment_(std::move(segment)),
      last_time_(tail.last_time),
      clock_offset_(options_.clock->WallMicros() - options_.clock->BootMicros()) {
  supply_ = std::make_unique<SegmentSupply>(options_.folder, first_segment,
                                            [this](Error error) { FailForGood(std::move(error)); });
  supply_->Request(segment_.number + 1);
  thread_ = std::thread([this] { Run(); });
}

Writer::~Writer() {
  Stop();
  supply_.reset();
}

void Writer::Stop() {
  if (!thread_.joinable()) return;
  std::vector<std::unique_ptr<Waiter>> waiting;
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
    waiting.swap(room_waiters_);
  }
  for (auto& waiter : waiting) waiter->Done(0);
  queued_.notify_one();
  thread_.join();
}

void Writer::SetLag(TreeLag lag) {
  std::vector<std::unique_ptr<Waiter>> waiting;
  {
    std::lock_guard lock(mutex_);
    lag_ = lag;
    if (lag != TreeLag::behind) waiting.swap(room_waiters_);
  }
  for (auto& waiter : waiting) waiter->Done(0);
}

std::optional<Error> Writer::failure() const {
  std::lock_guard lock(mutex_);
  return failure_;
}

void Writer::Submit(QueuedEntry entry) {
  bool taken = false, first = false;
  {
    std::lock_guard lock(mutex_);
    if (!failure_) {
      queue_bytes_ += RecordBound(entry);
      queue_.push_back(std::move(entry));
      first = queue_.size() == 1;
      taken = true;
    }
  }
  if (first) queued_.notify_one();  // outside the lock, which the thread that wakes takes at once
  if (!taken && entry.waiter) entry.waiter->Done(std::unexpected(*failure_));  // set once, never changed
}

bool Writer::Open() const {
  return failure_ || stopping_ || (queue_bytes_ < limits::kLedgerQueue && lag_ != TreeLag::behind);
}

bool Writer::HasRoom() const {
  std::lock_guard lock(mutex_);
  return Open();
}

bool Writer::RoomOrWait(std::unique_ptr<Waiter>& waiter) {
  std::lock_guard lock(mutex_);
  if (Open()) return true;
  room_waiters_.push_back(std::move(waiter));
  return false;
}

void Writer::FailForGood(Error error) {
  std::vector<QueuedEntry> queue;
  std::vector<std::unique_ptr<Waiter>> waiting;
  {
    std::lock_guard lock(mutex_);
    if (failure_) return;
    Log().error("the ledger has failed, nothing is released until the gate is restarted: {}; {} ({})", error.message,
                error.hint, error.operator_detail);
    failure_ = Unavailable(error);
    failed_.store(true, std::memory_order_release);
    queue.swap(queue_);
    waiting.swap(room_waiters_);
    queue_bytes_ = 0;
  }
  queued_.notify_one();
  for (auto& entry : queue)
    if (entry.waiter) entry.waiter->Done(std::unexpected(*failure_));
  for (auto& waiter : waiting) waiter->Done(0);
}

void Writer::Run() {
  std::vector<QueuedEntry> batch;  // and the queue take turns, so that neither grows anew
  while (true) {
    std::vector<std::unique_ptr<Waiter>> waiting;
    {
      std::unique_lock lock(mutex_);
      bool due = queued_.wait_for(lock, limits::kClockCheck, [this] { return stopping_ || !queue_.empty(); });
      if (!due) {
        lock.unlock();
        if (Status right = healthy() ? CheckClock() : Status(); !right) FailForGood(right.error());
        if (!retained_.empty()) Process(batch);  // there may be room again, and nobody who asks for any
        batch.clear();
        continue;
      }
      if (queue_.empty()) return;  // stopping, and everything is written
      batch.swap(queue_);
      if (lag_ != TreeLag::behind) waiting.swap(room_waiters_);
      queue_bytes_ = 0;
    }
    for (auto& waiter : waiting) waiter->Done(0);
    Process(batch);
    batch.clear();
  }
}

void Writer::Process(std::vector<QueuedEntry>& batch) {
  if (!retained_.empty()) {
    retained_.insert(retained_.end(), std::make_move_iterator(batch.begin()), std::make_move_iterator(batch.end()));
    batch.swap(retained_);
    retained_.clear();
  }
  std::optional<Error> no_room;
  std::span<QueuedEntry> rest = batch;
  while (!rest.empty()) {
    if (!healthy()) return FailBatch(rest);
    QueuedEntry& first = rest.front();
    // After one refusal every ordinary entry of the batch is refused: it may name somebody whose introduction was.
    if (!no_room && lag_ == TreeLag::full) no_room = TreeFull();
    Status room = no_room && !first.reserved ? Status(std::unexpected(*no_room)) : MakeRoom(first);
    if (!room) {
      no_room = room.error();
      Refuse(std::move(first), *no_room);
      rest = rest.subspan(1);
      continue;
    }
    uint64_t most = std::min<uint64_t>(RoomFor(first.reserved), limits::kLedgerGroup);
    uint64_t bytes = RecordBound(first);
    size_t count = 1;
    while (count < rest.size() && !no_room && rest[count].reserved == first.reserved &&
           bytes + RecordBound(rest[count]) <= most)
      bytes += RecordBound(rest[count++]);
    auto group = rest.first(count);
    Status written = CheckClock();
    if (written) written = WriteGroup(group);
    if (!written) {
      FailForGood(written.error());
      return FailBatch(rest);
    }
    Complete(group);
    rest = rest.subspan(count);
  }
}

// Bytes that entries may still take of this segment. Ordinary ones leave the reserve alone while no segment follows.
uint64_t Writer::RoomFor(bool reserved) {
  uint64_t left = segment_.size - segment_.offset;
  if (reserved || supply_->Ready()) return left;
  return left > options_.reserve_bytes ? left - options_.reserve_bytes : 0;
}

Status Writer::MakeRoom(const QueuedEntry& entry) {
  uint64_t need = RecordBound(entry);
  if (need <= RoomFor(false)) return {};
  if (entry.reserved && need <= RoomFor(true)) return {};
  Result<OpenSegment> next = supply_->TakeOrFail();
  if (!next) return std::unexpected(Unavailable(next.error()));
  // The segment may have come while we waited for it, and this one may still have room; leaving it early is harmless.
  segment_ = std::move(*next);
  supply_->Request(segment_.number + 1);
  return {};
}

void Writer::Refuse(QueuedEntry entry, const Error& why) {
  if (entry.waiter) entry.waiter->Done(std::unexpected(why));
  entry.waiter.reset();
  if (entry.introduces || entry.indexed.erases) retained_.push_back(std::move(entry));
}

void Writer::FailBatch(std::span<QueuedEntry> rest) {
  Error error = *failure();
  for (QueuedEntry& entry : rest)
    if (entry.waiter) entry.waiter->Done(std::unexpected(error));
}

// Refuses where somebody has moved the wall clock; the last entry says so, at the time it would be had nobody done it.
Status Writer::CheckClock() {
  int64_t most = std::chrono::duration_cast<std::chrono::microseconds>(limits::kClockDivergence).count();
  int64_t boot, wall;
  do {  // again where the machine stood still between the two
    boot = options_.clock->BootMicros();
    wall = options_.clock->WallMicros();
  } while (options_.clock->BootMicros() - boot > most / 2);
  int64_t expected = boot + clock_offset_;
  int64_t drift = wall - expected;
  if (std::abs(drift) <= most) {
    last_time_ = std::max(last_time_, wall + options_.ahead);
    return {};
  }
  Status moved =
      Fail(sqlstate::kIo, fmt::format("the wall clock was moved by {} ms while the gate was running", drift / 1000),
           "correct the machine's clock, then restart the gate", "ledger.clock");
  last_time_ = std::max(last_time_, expected + options_.ahead);
  std::vector<QueuedEntry> alert;
  alert.push_back(options_.alert(fmt::format("{}: {}", moved.error().rule, moved.error().message)));
  if (RecordBound(alert[0]) > RoomFor(true)) {
    Log().error("there is no room in the ledger for an alert: {}", moved.error().message);
  } else if (Status written = WriteGroup(alert); written) {
    Complete(alert);
  }
  return moved;
}

Status Writer::StorePersonKeys(std::span<QueuedEntry> group) {
  std::vector<PersonKeys::Wrapped> keys;
  for (QueuedEntry& entry : group) {
    if (!entry.introduces || entry.introduces->wrapped_key.empty()) continue;
    keys.emplace_back(entry.introduces->token, std::exchange(entry.introduces->wrapped_key, {}));
  }
  return keys.empty() ? Status() : options_.persons->Add(std::move(keys));
}

Status Writer::WriteGroup(std::span<QueuedEntry> group) {
  ECLUSE_OK(StorePersonKeys(group));
  uint64_t first = size();
  buffer_.clear();
  for (size_t i = 0; i < group.size(); ++i) {
    size_t start = buffer_.size();
    buffer_.resize(start + kRecordHeader);
    group[i].entry.Complete(buffer_, first + i, last_time_);
    group[i].indexed.length = buffer_.size() - start - kRecordHeader;
    FinishRecord(buffer_, start, first + i, first, options_.folder.ledger);
    if (group[i].introduces) group[i].introduces->seq = first + i;
    last_ = {first + i, segment_.number, segment_.offset + start};
  }
  ECLUSE_OK(WriteAndSync(buffer_));
  if (buffer_.capacity() > 2 * limits::kLedgerGroup) buffer_ = {};
  size_.store(first + group.size(), std::memory_order_release);
  return {};
}

// A failure here is final: after a failed sync the page cache may show what the disk does not hold, so nothing may be
// concluded from trying again.
Status Writer::WriteAndSync(std::string_view records) {
  CHECK(segment_.offset + records.size() <= segment_.size);
  std::string path = options_.folder.PathOf(segment_.number);
  ECLUSE_TRY(size_t n, segment_.file->WriteAt(segment_.offset, AsBytes(records)));
  if (n != records.size()) return std::unexpected(IoError("write the ledger whole", path, ENOSPC));
  ECLUSE_OK(segment_.file->SyncData());
  ECLUSE_TRY(FileInfo info, segment_.file->Info());
  if (info.links == 0 || info.size != segment_.size)
    return LedgerDamaged(path + " was deleted or cut short under the running gate");
  segment_.offset += records.size();
  return {};
}

void Writer::Complete(std::span<QueuedEntry> group) {
  uint64_t seq = size() - group.size();
  DurableNews news;
  news.entries.reserve(group.size());
  for (QueuedEntry& entry : group) {
    if (entry.waiter) entry.waiter->Done(seq);
    if (entry.introduces) news.introduced.push_back(std::move(*entry.introduces));
    if (!entry.announces.empty()) news.announced.push_back(std::move(entry.announces));
    entry.indexed.seq = seq++;
    news.entries.push_back(std::move(entry.indexed));
  }
  news.size = seq;
  news.last = last_;
  options_.durable(std::move(news));
}

}  // namespace ecluse
