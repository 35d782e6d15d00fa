#include "server/witnesses.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/check.h"
#include "base/file.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/time_text.h"
#include "ledger/origin.h"
#include "ledger/record.h"
#include "ledger/tile_folder.h"
#include "ledger/tree_writer.h"

namespace ecluse {

namespace asio = boost::asio;
using asio::awaitable;
using namespace std::chrono_literals;

namespace {

// The file of the last note that a quorum cosigned, or, before there was one, from which on cosignatures are due.
std::string CosignedPath(const SegmentFolder& folder) { return folder.path + "/cosigned"; }

// Between two questions.
std::chrono::milliseconds Rhythm(const Policy& policy) {
  const std::chrono::milliseconds often =
      std::clamp<std::chrono::milliseconds>(policy.witness_grace / 20, 500ms, limits::kWitnessEvery);
  return std::max<std::chrono::milliseconds>(often, policy.checkpoint_every);
}

}  // namespace

Witnesses::Witnesses(Ledger& ledger, const std::string& data_dir, std::atomic<bool>& in_time)
    : ledger_(ledger), folder_{&RealFiles(), data_dir + "/ledger", {}, 0}, in_time_(in_time), entries_(folder_) {}

Witnesses::~Witnesses() {
  context_.stop();
  if (thread_.joinable()) thread_.join();
}

Status Witnesses::Begin(std::shared_ptr<const Policy> policy) {
  std::string origin;
  ECLUSE_TRY(folder_.ledger, ReadOrigin(folder_, &origin));
  entries_ = Entries(folder_);
  ECLUSE_TRY(own_, ReadVerifierKey(folder_));
  policy_ = std::move(policy);
  begun_at_ = std::chrono::steady_clock::now();
  ECLUSE_OK(ReadCosigned());
  boost::system::error_code ignored;  // without certificates no TLS succeeds, and the log says so
  tls_.set_default_verify_paths(ignored);
  tls_.set_verify_mode(asio::ssl::verify_peer);
  Judge(*policy_, false);  // what became overdue while no gate ran is released again once it is cosigned
  asio::co_spawn(context_, Run(), [](std::exception_ptr failed) {
    if (failed) std::rethrow_exception(failed);
  });
  thread_ = std::thread([this] {
    try {
      context_.run();
    } catch (const std::exception& error) {
      Log().critical("what asks witnesses failed, so nothing is released until the gate is started again: {}",
                     Printable(error.what()));
      in_time_.store(false, std::memory_order_release);
    }
  });
  return {};
}

// The ledger goes on from what was cosigned, or it is another, or was put back.
Status Witnesses::ReadCosigned() {
  ECLUSE_TRY(auto present, folder_.files->Find(CosignedPath(folder_)));
  if (!present) return {};
  ECLUSE_TRY(std::string text, ReadWholeFile(*folder_.files, CosignedPath(folder_), limits::kNote));
  ECLUSE_TRY(Checkpoint checkpoint, OpenCheckpoint(text, *own_));
  std::string why;
  if (Contradicts(text, checkpoint, &why))
    return Fail(sqlstate::kIo, why,
                "it was put back from a copy, or another gate writes one of the same origin: bring the newest ledger "
                "back, or see \"A new ledger\" in docs/operations.md",
                "ledger.cosigned", CosignedPath(folder_));
  begun_ = true;
  cosigned_ = checkpoint.size;
  return {};
}

// Whether `text` is a checkpoint with our signature that this ledger does not go on from. `own` covers what can be
// compared.
bool Witnesses::Contradicts(const std::string& text, const Checkpoint& own, std::string* why) {
  const auto other = OpenCheckpoint(text, *own_);
  if (!other) return false;
  if (other->size > ledger_.size()) {
    *why =
        fmt::format("a checkpoint over {} entries was cosigned, and this ledger holds {}", other->size, ledger_.size());
    return true;
  }
  const TileFolder tiles(*folder_.files, folder_.path);
  TileSource source(std::max(own.size, other->size), [&](const Tile& tile) { return tiles.Read(tile); });
  const auto root = RootAt(other->size, source);
  if (!root || *root == other->root) return false;  // what cannot be read just now is asked again
  *why = fmt::format("a checkpoint over {} entries was cosigned, and they are not this ledger's", other->size);
  return true;
}

std::shared_ptr<const Policy> Witnesses::policy() {
  std::lock_guard lock(mutex_);
  return policy_;
}

void Witnesses::SetPolicy(std::shared_ptr<const Policy> policy) {
  std::lock_guard lock(mutex_);
  policy_ = std::move(policy);
  asio::post(context_, [this] { timer_.cancel(); });
}

void Witnesses::Waive(std::chrono::seconds time) {
  std::lock_guard lock(mutex_);
  waived_until_ = std::chrono::steady_clock::now() + std::min<std::chrono::seconds>(time, limits::kWitnessWaiver);
  asio::post(context_, [this] { timer_.cancel(); });
}

awaitable<void> Witnesses::Run() {
  while (true) {
    const std::shared_ptr<const Policy> now = policy();
    if (!now->witnesses.empty()) AskAll(now);
    // What became overdue while no gate ran may be cosigned in a moment.
    Judge(*now, std::chrono::steady_clock::now() - begun_at_ >
                    std::min<std::chrono::milliseconds>(limits::kWitnessAnswer, now->witness_grace / 4));
    timer_.expires_after(Rhythm(*now));
    co_await timer_.async_wait(asio::as_tuple(asio::use_awaitable));
  }
}

// One that is slow holds nobody up: who answers is asked for the next checkpoint as soon as enough have cosigned this
// one, all have answered, or it has been asked for long enough.
void Witnesses::AskAll(const std::shared_ptr<const Policy>& policy) {
  auto there = folder_.files->Find(folder_.path + "/checkpoint");
  if (there && !*there) return;  // a new ledger
  const auto now = std::chrono::steady_clock::now();
  if (!asked_ || Enough(*policy) || busy_.empty() || now - asked_since_ > limits::kWitnessAnswer) {
    auto text = ReadWholeFile(*folder_.files, folder_.path + "/checkpoint", limits::kNote);
    auto checkpoint = text ? OpenCheckpoint(*text, *own_) : std::unexpected(text.error());
    if (!checkpoint) {
      Log().error("the ledger's checkpoint cannot be read, so no witness can be asked: {}", checkpoint.error().message);
      return;
    }
    if (!asked_ || asked_->note != *text) {
      asked_ = std::make_shared<const Asked>(Asked{std::move(*text), std::move(*checkpoint)});
      asked_since_ = now;
      got_.clear();
    }
  }
  if (!begun_) Remember(*policy);
  for (size_t i = 0; i < policy->witnesses.size(); ++i) {
    const std::string key = policy->witnesses[i].key.Text();
    if (got_.contains(key) || asked_->checkpoint.size == 0 || !busy_.insert(key).second) continue;
    asio::co_spawn(context_, AskOne(policy, policy->witnesses[i], asked_), [](std::exception_ptr failed) {
      if (failed) std::rethrow_exception(failed);
    });
  }
}

bool Witnesses::Enough(const Policy& policy) const {
  return got_.size() >= std::max<size_t>(policy.required_witnesses, 1);
}

// `witness` is one of `policy`.
awaitable<void> Witnesses::AskOne(std::shared_ptr<const Policy> policy, const PolicyWitness& witness,
                                  std::shared_ptr<const Asked> asked) {
  const TileFolder tiles(*folder_.files, folder_.path);
  const std::string key = witness.key.Text();
  WitnessOutcome outcome = co_await AskWitness(
      witness, asked->note, asked->checkpoint, memory_[key],
      [&](uint64_t old_size) {
        TileSource source(asked->checkpoint.size, [&](const Tile& tile) { return tiles.Read(tile); });
        return ConsistencyProof(old_size, asked->checkpoint.size, source);
      },
      [this] { return Seconds(); }, tls_);
  busy_.erase(key);
  std::string& said = problems_[key];
  if (outcome.problem != said) {
    if (outcome.problem.empty())
      Log().info("the witness {} cosigns again", witness.key.name);
    else
      Log().warn("the witness {} ({}) has not cosigned the ledger: {}", witness.key.name, witness.url, outcome.problem);
  }
  said = std::move(outcome.problem);
  if (broken_.empty()) (void)Contradicts(outcome.note, asked->checkpoint, &broken_);
  if (!outcome.cosignature || asked != asked_) co_return;
  got_[key] = std::move(*outcome.cosignature);
  if (!Enough(*policy)) co_return;
  Remember(*policy);
  Judge(*policy, true);
}

// What was asked for, with the cosignatures that have come.
void Witnesses::Remember(const Policy& policy) {
  auto note = ParseNote(asked_->note);
  CHECK(note);  // it was opened
  for (const PolicyWitness& witness : policy.witnesses) {
    const auto got = got_.find(witness.key.Text());
    if (got != got_.end()) note->signatures.push_back(got->second);
  }
  if (Status kept = ReplaceFile(*folder_.files, CosignedPath(folder_), note->Text()); !kept) {
    Log().error("what witnesses cosigned cannot be kept: {} ({})", kept.error().message, kept.error().operator_detail);
    return;
  }
  begun_ = true;
  if (asked_->checkpoint.size != cosigned_) first_late_ = 0;
  cosigned_ = asked_->checkpoint.size;
}

// Sets `in_time_`, and writes down where that has to be known.
void Witnesses::Judge(const Policy& policy, bool alert) {
  if (!broken_.empty()) {
    in_time_.store(false, std::memory_order_release);
    if (!std::exchange(broken_said_, true))
      Alert(policy, "a witness holds another checkpoint with this ledger's signature: " + broken_);
    return;
  }
  if (policy.required_witnesses == 0 || !begun_ || ledger_.size() <= cosigned_) {
    first_late_ = 0;
  } else if (first_late_ == 0) {
    auto entry = entries_.Read(cosigned_);
    first_late_ = entry ? EntryTime(*entry) : ledger_.NowMicros();
  }
  const int64_t grace = std::chrono::microseconds(policy.witness_grace).count();
  const int64_t late = first_late_ == 0 ? 0 : ledger_.NowMicros() - first_late_;
  const Lateness now = late > grace       ? Lateness::whole
                       : late > grace / 2 ? Lateness::half
                       : late > grace / 4 ? Lateness::quarter
                                          : Lateness::none;
  bool waived = false;
  {
    std::lock_guard lock(mutex_);
    waived = std::chrono::steady_clock::now() < waived_until_;
  }
  in_time_.store(now != Lateness::whole || waived, std::memory_order_release);
  if (!alert || now == lateness_) return;
  if (now > lateness_) {
    Alert(policy, fmt::format("fewer than {} of {} witnesses have cosigned entry {}, of {}: {}",
                              policy.required_witnesses, policy.witnesses.size(), cosigned_, TimeText(first_late_),
                              now == Lateness::whole ? std::string("nothing is released until they do")
                                                     : "release stops at " + TimeText(first_late_ + grace)));
  } else if (now == Lateness::none) {
    Alert(policy, "no cosignature of the ledger is overdue any more");
  }
  lateness_ = now;
}

void Witnesses::Alert(const Policy& policy, std::string what) {
  Log().error("{}", what);
  EntryDraft draft;
  draft.kind = EntryKind::alert;
  draft.policy = policy.digest;
  draft.door = "gate";
  draft.reason = std::move(what);
  if (auto written = ledger_.AppendAndWait(std::move(draft)); !written)
    Log().error("that is not written down: {}", written.error().message);
}

}  // namespace ecluse
