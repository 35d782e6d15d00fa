// Examining a ledger: every byte of it against what was signed. docs/ledger_format.md, "Verification".
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "ledger/segment.h"
#include "tlog/checkpoint.h"
#include "tlog/note.h"

namespace ecluse {

struct VerifyOptions {
  SegmentFolder folder;                // `files` and `path`; the rest is read
  std::optional<VerifierKey> key;      // the ledger's, kept elsewhere; else its own file `vkey` is believed
  std::string from;                    // the note of an earlier checkpoint, or empty
  bool resume = false;                 // entries under `from` are not read again: only what has come since
  std::vector<VerifierKey> witnesses;  // whose cosignatures are looked at
  // How many of them must have cosigned every entry that is older than `grace` at `now`, microseconds since 1970.
  size_t required = 0;
  std::chrono::seconds grace{0};
  int64_t now = 0;
  unsigned threads = 0;                                       // 0: one for each processor
  std::chrono::milliseconds patience{500};                    // with a tail that a gate may be writing just now
  std::function<void(uint64_t done, uint64_t all)> progress;  // entries; now and then, on the calling thread
};

// One fault.
struct Finding {
  std::optional<uint64_t> entry;  // the first it concerns, where one can be named
  std::string what;
};

// What witnesses cosigned, as the file `cosigned` has it.
struct Cosigned {
  uint64_t size = 0;                                        // entries
  std::vector<std::pair<std::string, uint64_t>> witnesses;  // who, of those asked about, and when (seconds since 1970)
};

struct Verification {
  Checkpoint checkpoint;  // size 0 where there is none, or none that can be believed
  std::optional<Cosigned> cosigned;
  uint64_t entries = 0;           // under the checkpoint, and behind it in segments
  uint64_t removed = 0;           // of them, before this one, as a signed `retention` entry says
  std::vector<Finding> findings;  // by entry; none: the ledger is whole
};

// Reads everything once, on all processors, and changes nothing; also beside a running gate. Fails only where there is
// no ledger to examine.
Result<Verification> VerifyLedger(const VerifyOptions& options);

}  // namespace ecluse
