#include "ledger/supply.h"

#include <fmt/format.h>

#include <chrono>

#include "base/check.h"
#include "base/log.h"

namespace ecluse {

SegmentSupply::SegmentSupply(SegmentFolder folder, uint64_t lowest, std::function<void(Error)> broken)
    : folder_(std::move(folder)), broken_(std::move(broken)), lowest_(lowest), thread_([this] { Run(); }) {}

SegmentSupply::~SegmentSupply() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

void SegmentSupply::Request(uint64_t number) {
  std::lock_guard lock(mutex_);
  CHECK(!wanted_ && !ready_);
  wanted_ = number;
  highest_ = number - 1;
  failure_.reset();
  changed_.notify_all();
}

void SegmentSupply::Leaving(uint64_t first_left) {
  std::lock_guard lock(mutex_);
  lowest_ = first_left;
}

bool SegmentSupply::Ready() {
  std::lock_guard lock(mutex_);
  return ready_.has_value();
}

Result<OpenSegment> SegmentSupply::TakeOrFail() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return ready_ || failure_; });
  if (!ready_) return std::unexpected(*failure_);
  OpenSegment segment = std::move(*ready_);
  ready_.reset();
  return segment;
}

Result<OpenSegment> SegmentSupply::Make(uint64_t number) {
  // Asked before anything is written: tries that cannot succeed would keep a full disk busy, and take every second what
  // little room it has from everybody else.
  ECLUSE_TRY(uint64_t free, folder_.files->FreeBytes(folder_.path));
  if (free < folder_.segment_bytes)
    return Fail(sqlstate::kIo, "the gate's disk is full", "free space on the gate's disk, and it goes on by itself",
                "ledger.full",
                fmt::format("{} has {} bytes free, a segment takes {}", folder_.path, free, folder_.segment_bytes));
  ECLUSE_OK(MakeSegment(folder_, number, {}));
  ECLUSE_TRY(auto file, folder_.files->Open(folder_.PathOf(number), OpenMode::write));
  return OpenSegment{std::move(file), number, folder_.segment_bytes, kSegmentHeader};
}

void SegmentSupply::Run() {
  std::unique_lock lock(mutex_);
  while (!stopping_) {
    if (wanted_) {
      uint64_t number = *wanted_;
      lock.unlock();
      Result<OpenSegment> made = Make(number);
      lock.lock();
      if (made) {
        ready_ = std::move(*made);
        wanted_.reset();
        failure_.reset();
      } else {
        if (!failure_)
          Log().error("the next ledger segment cannot be made; {}: {} ({})", made.error().hint, made.error().message,
                      made.error().operator_detail);
        failure_ = std::move(made).error();
      }
      changed_.notify_all();
    }
    uint64_t lowest = lowest_, highest = highest_;
    lock.unlock();
    LookAround(lowest, highest);
    lock.lock();
    if (!stopping_) changed_.wait_for(lock, std::chrono::seconds(1));
  }
}

void SegmentSupply::LookAround(uint64_t lowest, uint64_t highest) {
  sizes_.erase(sizes_.begin(), sizes_.lower_bound(lowest));
  for (uint64_t number = lowest; number <= highest; ++number) {
    auto info = folder_.files->Find(folder_.PathOf(number));
    {
      std::lock_guard lock(mutex_);
      if (number < lowest_) continue;  // it left while we looked
    }
    if (info && *info && (*info)->size == sizes_.try_emplace(number, (*info)->size).first->second) continue;
    broken_(LedgerDamaged(folder_.PathOf(number) + " was deleted or cut short under the running gate").error());
    return;
  }
}

}  // namespace ecluse
