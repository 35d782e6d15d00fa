// Has witnesses cosign the ledger's checkpoints, and stops release where they have not done so for too long.
// docs/ledger_format.md, "Cosignatures"; what each alert means: docs/operations.md.
#pragma once

#include <atomic>
#include <boost/asio.hpp>
#include <boost/asio/ssl.hpp>
#include <chrono>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <thread>

#include "base/result.h"
#include "ledger/entries.h"
#include "ledger/ledger.h"
#include "ledger/segment.h"
#include "policy/policy.h"
#include "server/witness_client.h"

namespace ecluse {

// Asks on a thread of its own; nothing waits for it. An entry is overdue when it is older than the policy's
// `witness_grace` and no checkpoint over it carries cosignatures of `required_witnesses`.
class Witnesses {
 public:
  // `in_time` is false while an entry is overdue and nobody waived it; shared with delivery. The ledger must outlive
  // this object.
  Witnesses(Ledger& ledger, const std::string& data_dir, std::atomic<bool>& in_time);
  ~Witnesses();

  // Reads what was cosigned last and judges it; refuses a ledger that does not go on from that. Then asks, until the
  // object is destroyed.
  Status Begin(std::shared_ptr<const Policy> policy);
  // From now on. Thread-safe.
  void SetPolicy(std::shared_ptr<const Policy> policy);
  // Lets release go on for so long without cosignatures, at most limits::kWitnessWaiver; not beyond this process. The
  // caller has written down who wanted it, and why. Thread-safe.
  void Waive(std::chrono::seconds time);

 private:
  // How late the first entry is that no quorum has cosigned.
  enum class Lateness { none, quarter, half, whole };

  // What is to be cosigned.
  struct Asked {
    std::string note;
    Checkpoint checkpoint;
  };

  Status ReadCosigned();
  void Remember(const Policy& policy);
  boost::asio::awaitable<void> Run();
  void AskAll(const std::shared_ptr<const Policy>& policy);
  boost::asio::awaitable<void> AskOne(std::shared_ptr<const Policy> policy, const PolicyWitness& witness,
                                      std::shared_ptr<const Asked> asked);
  bool Enough(const Policy& policy) const;
  void Judge(const Policy& policy, bool alert);
  bool Contradicts(const std::string& text, const Checkpoint& checkpoint, std::string* why);
  void Alert(const Policy& policy, std::string what);
  std::shared_ptr<const Policy> policy();
  int64_t Seconds() const { return ledger_.NowMicros() / 1'000'000; }

  Ledger& ledger_;
  SegmentFolder folder_;
  std::atomic<bool>& in_time_;
  std::mutex mutex_;  // of the next two
  std::shared_ptr<const Policy> policy_;
  std::chrono::steady_clock::time_point waived_until_{};

  // Of the thread alone.
  std::chrono::steady_clock::time_point begun_at_;
  std::optional<VerifierKey> own_;  // the ledger's
  Entries entries_;
  uint64_t cosigned_ = 0;               // entries under the last checkpoint that a quorum cosigned
  bool begun_ = false;                  // the file `cosigned` is there
  int64_t first_late_ = 0;              // the time of entry `cosigned_`, microseconds since 1970; 0: not read yet
  std::shared_ptr<const Asked> asked_;  // the last
  std::chrono::steady_clock::time_point asked_since_;
  std::map<std::string, NoteSignature> got_;  // its cosignatures, by witness
  std::set<std::string> busy_;                // witnesses that have not answered yet
  std::map<std::string, WitnessMemory> memory_;
  std::map<std::string, std::string> problems_;  // of each, as the log has said
  Lateness lateness_ = Lateness::none;           // as was alerted last
  bool broken_said_ = false;
  std::string broken_;  // another ledger carries our signature: nothing is released any more
  boost::asio::io_context context_{1};
  boost::asio::steady_timer timer_{context_};
  boost::asio::ssl::context tls_{boost::asio::ssl::context::tls_client};
  std::thread thread_;
};

}  // namespace ecluse
