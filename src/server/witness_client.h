// Asking one witness to cosign a checkpoint: C2SP tlog-witness over HTTP/1.1, with or without TLS.
#pragma once

#include <boost/asio.hpp>
#include <boost/asio/ssl.hpp>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "base/result.h"
#include "policy/policy.h"
#include "tlog/checkpoint.h"

namespace ecluse {

struct WitnessReply {
  unsigned status = 0;  // of HTTP
  std::string body;     // at most limits::kNote
};

// A question to the name server, on a thread that nobody waits for.
struct Resolving;

// What is known of a witness between two questions.
struct WitnessMemory {
  uint64_t size = 0;                     // of the last checkpoint that it holds, as far as it is known
  std::shared_ptr<Resolving> resolving;  // its host's name, where there is no answer yet
};

// POSTs `body` to the witness. Takes at most limits::kWitnessAnswer for its address, and as much for the rest. TLS
// trusts whom the system trusts, and the certificate must be of the url's host.
boost::asio::awaitable<Result<WitnessReply>> PostToWitness(const PolicyWitness& witness, WitnessMemory& memory,
                                                           std::string body, boost::asio::ssl::context& tls);

// What came of asking: a cosignature, or why there is none.
struct WitnessOutcome {
  std::optional<NoteSignature> cosignature;  // of the witness, right, and of now
  std::string problem;                       // for the operator; empty where there is one
  std::string
      note;  // what the witness showed instead: text that may be a note of ours (a larger checkpoint, or another)
};

// Asks `witness` to cosign `note`, which holds `checkpoint`; where it knows another size than `memory` says, once more.
// `proof_from` gives the consistency proof from a smaller tree. A cosignature whose time is more than
// limits::kWitnessClock from `now` (seconds since 1970) is none.
boost::asio::awaitable<WitnessOutcome> AskWitness(
    const PolicyWitness& witness, const std::string& note, const Checkpoint& checkpoint, WitnessMemory& memory,
    const std::function<Result<std::vector<Hash>>(uint64_t old_size)>& proof_from, const std::function<int64_t()>& now,
    boost::asio::ssl::context& tls);

}  // namespace ecluse
