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

#include "base/clock.h"
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
  Witnesses(Ledger& ledger, const std::string& data_dir, const Clock& clock, std::atomic<bool>& in_time);
  ~Witnesses();

  // Reads what was cosigned last and judges it; refuses a ledger that does not go on from that. Then asks, until the
  // object is destroyed.
  Status Begin(std::shared_ptr<const Policy> policy);
  // From now on. Thread-safe.
  void SetPolicy(std::shared_ptr<const Policy> policy);
  // Whether release may be let go on without cosignatures: not where a witness holds another ledger with our signature.
  // Thread-safe.
  Status MayWaive() const;
  // Lets it, for so long, at most limits::kWitnessWaiver, and not beyond this process. The caller has written down who
  // wanted it, and why. Thread-safe.
  void Waive(std::chrono::seconds time);

 private:
  // How late the first entry is that no quorum has cosigned.
  enum class Lateness { none, quarter, half, whole };

  // What is to be cosigned, and the cosignatures that have come, by witness.
  struct Asked {
    std::string note;
    Checkpoint checkpoint;
    std::chrono::steady_clock::time_point since;
    std::map<std::string, NoteSignature> got;
  };
  // What the log has said last of a witness, and when.
  struct Said {
    std::string problem;
    std::chrono::steady_clock::time_point at;
  };

  Status ReadCosigned();
  Status ReadContradiction();
  void Remember(const Asked& asked, const Policy& policy);
  boost::asio::awaitable<void> Run();
  void AskAll(const std::shared_ptr<const Policy>& policy);
  boost::asio::awaitable<void> AskOne(std::shared_ptr<const Policy> policy, const PolicyWitness& witness,
                                      std::shared_ptr<Asked> asked);
  void Take(const PolicyWitness& witness, Asked& asked, WitnessOutcome outcome);
  void Say(const PolicyWitness& witness, std::string problem);
  static size_t Cosigners(const Asked& asked, const Policy& policy);
  static bool Enough(const Asked& asked, const Policy& policy);
  void Judge(const Policy& policy, bool alert);
  void Break(const std::string& note, const PolicyWitness& witness, std::string why);
  Result<bool> Contradicts(const std::string& text, const Checkpoint& own, std::string* why) const;
  void Alert(const Policy& policy, std::string what);
  std::shared_ptr<const Policy> policy() const;

  Ledger& ledger_;
  SegmentFolder folder_;
  const Clock& clock_;
  std::atomic<bool>& in_time_;
  std::atomic<bool> broken_ = false;  // another ledger carries our signature: nothing is released any more
  mutable std::mutex mutex_;          // of the next two
  std::shared_ptr<const Policy> policy_;
  int64_t waived_until_ = 0;  // on the boot clock, microseconds

  // Of the thread alone.
  std::chrono::steady_clock::time_point begun_at_, asked_at_{};
  std::optional<VerifierKey> own_;  // the ledger's
  Entries entries_;
  std::shared_ptr<const Policy> last_;  // the policy of the last look
  uint64_t cosigned_ = 0;               // entries under the last checkpoint that a quorum cosigned
  bool begun_ = false;                  // there is such a one, or one from which on cosignatures are due
  int64_t first_late_ = 0;              // the time of entry `cosigned_`, microseconds since 1970; 0: not read yet
  std::shared_ptr<Asked> asked_;        // the last
  std::set<std::string> busy_;          // witnesses that have not answered yet
  std::map<std::string, WitnessMemory> memory_;
  std::map<std::string, Said> said_;
  Lateness lateness_ = Lateness::none;  // as was alerted last
  boost::asio::io_context context_{1};
  boost::asio::steady_timer timer_{context_};
  boost::asio::ssl::context tls_{boost::asio::ssl::context::tls_client};
  std::thread thread_;
};

}  // namespace ecluse
