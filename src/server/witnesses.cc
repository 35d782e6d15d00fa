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
// The file of a note with our signature that this ledger does not go on from.
std::string ContradictionPath(const SegmentFolder& folder) { return folder.path + "/contradiction"; }

// Between two questions.
std::chrono::milliseconds Rhythm(const Policy& policy) {
  return std::clamp<std::chrono::milliseconds>(policy.witness_grace / 20, 500ms, limits::kWitnessEvery);
}

}  // namespace

Witnesses::Witnesses(Ledger& ledger, const std::string& data_dir, const Clock& clock, std::atomic<bool>& in_time)
    : ledger_(ledger),
      folder_{&RealFiles(), data_dir + "/ledger", {}, 0},
      clock_(clock),
      in_time_(in_time),
      entries_(folder_) {}

Witnesses::~Witnesses() {
  context_.stop();
  if (thread_.joinable()) thread_.join();
}

Status Witnesses::Begin(std::shared_ptr<const Policy> policy) {
  std::string origin;
  ECLUSE_TRY(folder_.ledger, ReadOrigin(folder_, &origin));
  entries_ = Entries(folder_);
  ECLUSE_TRY(own_, ReadVerifierKey(folder_));
  policy_ = last_ = std::move(policy);
  begun_at_ = std::chrono::steady_clock::now();
  ECLUSE_OK(ReadCosigned());
  ECLUSE_OK(ReadContradiction());
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
  ECLUSE_TRY(Checkpoint cosigned, OpenCheckpoint(text, *own_));
  ECLUSE_TRY(Checkpoint own, ReadCheckpoint(folder_, *own_));
  std::string why;
  ECLUSE_TRY(bool other, Contradicts(text, own, &why));
  if (!other && cosigned.size > own.size) {
    other = true;
    why = fmt::format("{} entries were cosigned, and the ledger's checkpoint covers {}", cosigned.size, own.size);
  }
  if (other)
    return Fail(sqlstate::kIo, why,
                "it was put back from a copy, or another gate writes one of the same origin: bring the newest ledger "
                "back, or see \"A new ledger\" in docs/operations.md",
                "ledger.cosigned", CosignedPath(folder_));
  begun_ = true;
  cosigned_ = cosigned.size;
  return {};
}

// What a witness has shown once holds.
Status Witnesses::ReadContradiction() {
  ECLUSE_TRY(auto present, folder_.files->Find(ContradictionPath(folder_)));
  if (!present) return {};
  ECLUSE_TRY(std::string text, ReadWholeFile(*folder_.files, ContradictionPath(folder_), limits::kNote));
  ECLUSE_TRY(Checkpoint own, ReadCheckpoint(folder_, *own_));
  std::string why;
  ECLUSE_TRY(bool contradicts, Contradicts(text, own, &why));
  if (!contradicts) return {};
  broken_ = true;
  Log().error("a witness has held another checkpoint with this ledger's signature, so nothing is released: {} ({})",
              why, ContradictionPath(folder_));
  return {};
}

// Whether `text` is a checkpoint with our signature that this ledger, whose checkpoint is `own`, does not go on from.
// Fails where that cannot be told.
Result<bool> Witnesses::Contradicts(const std::string& text, const Checkpoint& own, std::string* why) const {
  const auto other = OpenCheckpoint(text, *own_);
  if (!other) return false;
  if (other->size > ledger_.size()) {
    *why =
        fmt::format("a checkpoint over {} entries was cosigned, and this ledger holds {}", other->size, ledger_.size());
    return true;
  }
  if (other->size > own.size) return false;  // not to be compared yet
  const TileFolder tiles(*folder_.files, folder_.path);
  TileSource source(own.size, [&](const Tile& tile) { return tiles.Read(tile); });
  ECLUSE_TRY(Hash root, RootAt(other->size, source));
  if (root == other->root) return false;
  *why = fmt::format("a checkpoint over {} entries was cosigned, and they are not this ledger's", other->size);
  return true;
}

std::shared_ptr<const Policy> Witnesses::policy() const {
  std::lock_guard lock(mutex_);
  return policy_;
}

void Witnesses::SetPolicy(std::shared_ptr<const Policy> policy) {
  std::lock_guard lock(mutex_);
  policy_ = std::move(policy);
}

Status Witnesses::MayWaive() const {
  if (!broken_) return {};
  return Fail(sqlstate::kIo, "a witness holds another ledger with this one's signature: that cannot be waived",
              "see \"It runs and releases nothing\" in docs/operations.md", "ledger.witnesses",
              ContradictionPath(folder_));
}

void Witnesses::Waive(std::chrono::seconds time) {
  std::lock_guard lock(mutex_);
  waived_until_ = clock_.BootMicros() +
                  std::chrono::microseconds(std::min<std::chrono::seconds>(time, limits::kWitnessWaiver)).count();
}

awaitable<void> Witnesses::Run() {
  while (true) {
    const std::shared_ptr<const Policy> now = policy();
    // Cosignatures that nobody asked for until now are due from now on.
    if (now->required_witnesses > 0 && last_->required_witnesses == 0) begun_ = false;
    last_ = now;
    const auto time = std::chrono::steady_clock::now();
    if (!now->witnesses.empty() && (!begun_ || time - asked_at_ >= Rhythm(*now))) {
      asked_at_ = time;
      AskAll(now);
    }
    // What became overdue while no gate ran may be cosigned in a moment.
    Judge(*now, time - begun_at_ > std::min<std::chrono::milliseconds>(limits::kWitnessAnswer, now->witness_grace / 4));
    timer_.expires_after(limits::kWitnessJudged);
    co_await timer_.async_wait(asio::as_tuple(asio::use_awaitable));
  }
}

// One that is slow holds nobody up: who answers is asked for the next checkpoint as soon as enough have cosigned this
// one, all have answered, or it has been asked for long enough.
void Witnesses::AskAll(const std::shared_ptr<const Policy>& policy) {
  auto there = folder_.files->Find(folder_.path + "/checkpoint");
  if (there && !*there) return;  // a new ledger
  const auto now = std::chrono::steady_clock::now();
  if (!asked_ || !begun_ || Enough(*asked_, *policy) || busy_.empty() || now - asked_->since > limits::kWitnessAnswer) {
    auto text = ReadWholeFile(*folder_.files, folder_.path + "/checkpoint", limits::kNote);
    auto checkpoint = text ? OpenCheckpoint(*text, *own_) : std::unexpected(text.error());
    if (!checkpoint) {
      Log().error("the ledger's checkpoint cannot be read, so no witness can be asked: {}", checkpoint.error().message);
      return;
    }
    if (!asked_ || asked_->note != *text) {
      asked_ = std::make_shared<Asked>();
      asked_->note = std::move(*text);
      asked_->checkpoint = std::move(*checkpoint);
      asked_->since = now;
    }
  }
  if (!begun_) Remember(*asked_, *policy);
  for (const PolicyWitness& witness : policy->witnesses) {
    const std::string key = witness.key.Text();
    if (asked_->got.contains(key) || asked_->checkpoint.size == 0 || !busy_.insert(key).second) continue;
    asio::co_spawn(context_, AskOne(policy, witness, asked_), [](std::exception_ptr failed) {
      if (failed) std::rethrow_exception(failed);
    });
  }
}

size_t Witnesses::Cosigners(const Asked& asked, const Policy& policy) {
  return static_cast<size_t>(std::ranges::count_if(
      policy.witnesses, [&](const PolicyWitness& one) { return asked.got.contains(one.key.Text()); }));
}

bool Witnesses::Enough(const Asked& asked, const Policy& policy) {
  return Cosigners(asked, policy) >= std::max<size_t>(policy.required_witnesses, 1);
}

// `witness` is one of `policy`.
awaitable<void> Witnesses::AskOne(std::shared_ptr<const Policy> policy, const PolicyWitness& witness,
                                  std::shared_ptr<Asked> asked) {
  const TileFolder tiles(*folder_.files, folder_.path);
  const std::string key = witness.key.Text();
  WitnessOutcome outcome;
  try {
    outcome = co_await AskWitness(
        witness, asked->note, asked->checkpoint, memory_[key],
        [&](uint64_t old_size) {
          TileSource source(asked->checkpoint.size, [&](const Tile& tile) { return tiles.Read(tile); });
          return ConsistencyProof(old_size, asked->checkpoint.size, source);
        },
        [this] { return clock_.WallMicros() / 1'000'000; }, tls_);
  } catch (const std::exception& error) {  // no memory, no thread: asked again
    outcome.problem = Printable(error.what());
  }
  busy_.erase(key);
  Take(witness, *asked, std::move(outcome));
}

void Witnesses::Take(const PolicyWitness& witness, Asked& asked, WitnessOutcome outcome) {
  Say(witness, std::move(outcome.problem));
  const std::shared_ptr<const Policy> now = policy();
  std::string why;
  if (!broken_ && Contradicts(outcome.note, asked.checkpoint, &why).value_or(false)) {
    Break(outcome.note, witness, std::move(why));
    return;
  }
  if (!outcome.cosignature) return;
  asked.got[witness.key.Text()] = std::move(*outcome.cosignature);
  // Also where the next one has been asked for already: somebody was slow.
  if (!Enough(asked, *now) || (begun_ && asked.checkpoint.size < cosigned_)) return;
  Remember(asked, *now);
  Judge(*now, true);
}

// Once a minute at most, whatever a witness comes up with.
void Witnesses::Say(const PolicyWitness& witness, std::string problem) {
  Said& said = said_[witness.key.Text()];
  const auto now = std::chrono::steady_clock::now();
  if (problem == said.problem || (!problem.empty() && !said.problem.empty() && now - said.at < 60s)) return;
  if (problem.empty())
    Log().info("the witness {} cosigns again", witness.key.name);
  else
    Log().warn("the witness {} ({}) has not cosigned the ledger: {}", witness.key.name, witness.url, problem);
  said = {std::move(problem), now};
}

// What was asked for, with the cosignatures that have come.
void Witnesses::Remember(const Asked& asked, const Policy& policy) {
  auto note = ParseNote(asked.note);
  CHECK(note);  // it was opened
  for (const PolicyWitness& witness : policy.witnesses) {
    const auto got = asked.got.find(witness.key.Text());
    if (got != asked.got.end()) note->signatures.push_back(got->second);
  }
  // It holds also where it cannot be kept; a restart then asks again.
  if (Status kept = ReplaceFile(*folder_.files, CosignedPath(folder_), note->Text()); !kept)
    Log().error("what witnesses cosigned cannot be kept: {} ({})", kept.error().message, kept.error().operator_detail);
  if (!begun_ || asked.checkpoint.size != cosigned_) first_late_ = 0;
  begun_ = true;
  cosigned_ = asked.checkpoint.size;
}

// Sets `in_time_`, and writes down where that has to be known.
void Witnesses::Judge(const Policy& policy, bool alert) {
  if (broken_) {
    in_time_.store(false, std::memory_order_release);
    return;
  }
  const bool due = policy.required_witnesses > 0 && begun_ && ledger_.size() > cosigned_;
  if (!due) first_late_ = 0;
  if (due && first_late_ == 0) {
    auto entry = entries_.Read(cosigned_);
    if (entry) first_late_ = EntryTime(*entry);
  }
  const int64_t grace = std::chrono::microseconds(policy.witness_grace).count();
  // An entry that cannot be read is as late as can be, until it can.
  const int64_t late = !due ? 0 : first_late_ == 0 ? INT64_MAX : ledger_.NowMicros() - first_late_;
  const Lateness now = late > grace       ? Lateness::whole
                       : late > grace / 2 ? Lateness::half
                       : late > grace / 4 ? Lateness::quarter
                                          : Lateness::none;
  bool waived = false;
  {
    std::lock_guard lock(mutex_);
    waived = clock_.BootMicros() < waived_until_;
  }
  in_time_.store(now != Lateness::whole || waived, std::memory_order_release);
  if (!alert || now == lateness_ || (due && first_late_ == 0)) return;
  if (now > lateness_) {
    Alert(policy, fmt::format("fewer than {} of {} witnesses have cosigned entry {}, of {}: {}",
                              policy.required_witnesses, policy.witnesses.size(), cosigned_, TimeText(first_late_),
                              now != Lateness::whole ? "release stops at " + TimeText(first_late_ + grace)
                              : waived               ? std::string("release goes on because two people waived it")
                                                     : std::string("nothing is released until they do")));
  } else if (now == Lateness::none) {
    Alert(policy, "no cosignature of the ledger is overdue any more");
  }
  lateness_ = now;
}

// No other explanation is left than two ledgers with one key. The note is kept: it is the proof.
void Witnesses::Break(const std::string& note, const PolicyWitness& witness, std::string why) {
  broken_ = true;
  in_time_.store(false, std::memory_order_release);
  if (Status kept = ReplaceFile(*folder_.files, ContradictionPath(folder_), note); !kept)
    Log().error("what the witness {} shows cannot be kept: {} ({}): {}", witness.key.name, kept.error().message,
                kept.error().operator_detail, Printable(note));
  Alert(*policy(), fmt::format("the witness {} holds another checkpoint with this ledger's signature, so nothing is "
                               "released any more: {}",
                               witness.key.name, why));
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
