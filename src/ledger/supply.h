// The next segment, made ahead by a thread of its own so that the writer never waits for one while the disk keeps up.
#pragma once

#include <condition_variable>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>

#include "ledger/segment.h"

namespace ecluse {

// An open segment that records can be written to.
struct OpenSegment {
  std::unique_ptr<File> file;
  uint64_t number = 0;
  uint64_t size = 0;
  uint64_t offset = kSegmentHeader;  // where the next record goes
};

// Thread-safe. Making is tried again every second until there is room: on a new file each time. The same thread looks
// every second whether a segment was deleted or cut short under the gate, and calls `broken` where one was.
class SegmentSupply {
 public:
  // `lowest`: the number of the first segment that there is.
  SegmentSupply(SegmentFolder folder, uint64_t lowest, std::function<void(Error)> broken);
  ~SegmentSupply();

  // Segments before `first_left` are about to be removed.
  void Leaving(uint64_t first_left);
  // Begins making segment `number`. At most one at a time.
  void Request(uint64_t number);
  // Is one ready, so that TakeOrFail() returns at once?
  bool Ready();
  // Waits until the requested segment is there, or making it has failed at least once: then the failure.
  Result<OpenSegment> TakeOrFail();

 private:
  void Run();
  Result<OpenSegment> Make(uint64_t number);
  void LookAround(uint64_t lowest, uint64_t highest);

  const SegmentFolder folder_;
  std::map<uint64_t, uint64_t> sizes_;  // of segments as first seen; of the thread alone
  const std::function<void(Error)> broken_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::optional<uint64_t> wanted_;
  std::optional<OpenSegment> ready_;
  std::optional<Error> failure_;
  uint64_t lowest_, highest_ = 0;  // segments from one to the other must be there
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace ecluse
