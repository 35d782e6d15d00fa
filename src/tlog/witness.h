// What a witness answers (C2SP tlog-witness): it cosigns a checkpoint that goes on from the last one it saw, and
// nothing else. Without I/O.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "tlog/checkpoint.h"
#include "tlog/note.h"

namespace ecluse {

struct WitnessAnswer {
  unsigned status = 200;  // of HTTP
  // 200: lines of cosignatures; 409: the size that the witness knows; 422: the note that it holds, which shows that the
  // log's key has signed two trees; else what is wrong.
  std::string body;
  std::string_view type = "text/plain; charset=utf-8";
};

// Thread-safe.
class Witness {
 public:
  // Makes durable, before it returns, that `note` is the last one of its log. Called for one request at a time.
  using Remember = std::function<Status(const std::string& origin, const std::string& note)>;

  // `key` of type cosignature. `logs`: whose checkpoints it cosigns; a log's origin is its key's name, and it may have
  // several keys.
  Witness(SigningKey key, const std::vector<VerifierKey>& logs, Remember remember);

  // Takes up what was remembered of a log; refuses what none of the log's keys signed.
  Status Recall(const std::string& note);

  // The answer to `add-checkpoint` with this body, any bytes, at `seconds` since 1970.
  WitnessAnswer Add(std::string_view body, uint64_t seconds);

  const VerifierKey& verifier() const { return key_.verifier(); }

 private:
  struct Log {
    std::vector<VerifierKey> keys;
    Checkpoint last;
    std::string note;  // that holds it
  };
  static bool Signed(const Note& note, const Log& log);

  const SigningKey key_;
  const Remember remember_;
  std::mutex mutex_;
  std::map<std::string, Log, std::less<>> logs_;
};

}  // namespace ecluse
