#include "ledger/retention.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/json.hpp>
#include <boost/unordered/unordered_flat_set.hpp>
#include <sstream>

#include "base/bytes.h"
#include "base/file.h"
#include "base/limits.h"
#include "base/time_text.h"
#include "ledger/accepted_clock.h"
#include "ledger/entries.h"
#include "ledger/facts.h"
#include "ledger/index.h"
#include "ledger/json.h"
#include "ledger/open_entry.h"
#include "ledger/origin.h"
#include "ledger/people.h"
#include "ledger/store.h"
#include "ledger/tile_folder.h"
#include "ledger/tree_writer.h"
#include "tlog/decimal.h"
#include "vault/literal_keys.h"

namespace ecluse {
namespace {

constexpr std::string_view kHeader = "ecluse removed v1\n";
constexpr std::string_view kStatement = "removed entries before ";
constexpr std::string_view kStays = ", kept ";
constexpr std::string_view kHashed = " with SHA-256 ";
constexpr size_t kMostKept = kTileWidth * (3 + limits::kEntry);
constexpr uint64_t kProgressEvery = 10'000;
constexpr int64_t kDayMicros = 86'400'000'000;

std::string RemovedPath(const SegmentFolder& folder) { return folder.path + "/removed"; }
constexpr std::string_view kRemovingHeader = "ecluse removing v1\n";

std::string KeptPath(const SegmentFolder& folder) { return folder.path + "/kept"; }
std::string KeptPath(const SegmentFolder& folder, uint64_t bundle) {
  return fmt::format("{}/{:012}", KeptPath(folder), bundle);
}

}  // namespace

void KeptHash::Add(uint64_t seq, const Hash& leaf) {
  AppendU64(bytes_, seq);
  bytes_.append(reinterpret_cast<const char*>(leaf.data()), leaf.size());
  ++count_;
}

std::string RemovingPath(const SegmentFolder& folder) { return folder.path + "/removing"; }

Result<Removal> ReadRemoval(const SegmentFolder& folder) {
  ECLUSE_TRY(auto present, folder.files->Find(RemovedPath(folder)));
  if (!present) return Removal{};
  ECLUSE_TRY(std::string text, ReadWholeFile(*folder.files, RemovedPath(folder), limits::kNote));
  if (text.starts_with(kHeader) && text.ends_with('\n')) {
    const std::string_view rest = std::string_view(text).substr(kHeader.size(), text.size() - kHeader.size() - 1);
    const size_t space = rest.find(' ');
    const auto entries = ReadDecimal(rest.substr(0, space));
    const auto by = space == std::string_view::npos ? std::nullopt : ReadDecimal(rest.substr(space + 1));
    if (entries && by && *entries % kTileWidth == 0 && *by >= *entries) return Removal{*entries, *by};
  }
  return LedgerDamaged(RemovedPath(folder) + " does not say what was removed");
}

Result<std::vector<KeptEntry>> ReadKept(const SegmentFolder& folder, uint64_t bundle) {
  std::vector<KeptEntry> kept;
  const std::string path = KeptPath(folder, bundle);
  ECLUSE_TRY(auto present, folder.files->Find(path));
  if (!present) return kept;
  ECLUSE_TRY(std::string bytes, ReadWholeFile(*folder.files, path, kMostKept));
  std::string_view rest = bytes;
  int last = -1;
  while (!rest.empty()) {
    if (rest.size() < 3) return LedgerDamaged(path + " is cut short");
    const int at = static_cast<uint8_t>(rest[0]);
    const size_t length = LoadU16(rest.data() + 1);
    if (at <= last || rest.size() < 3 + length) return LedgerDamaged(path + " is cut short");
    kept.push_back({bundle * kTileWidth + static_cast<uint64_t>(at), std::string(rest.substr(3, length))});
    rest.remove_prefix(3 + length);
    last = at;
  }
  return kept;
}

Result<std::vector<uint64_t>> KeptBundles(const SegmentFolder& folder) {
  std::vector<uint64_t> bundles;
  ECLUSE_TRY(auto present, folder.files->Find(KeptPath(folder)));
  if (!present) return bundles;
  ECLUSE_TRY(auto names, folder.files->List(KeptPath(folder)));
  for (const std::string& name : names) {
    const size_t digit = std::min(name.find_first_not_of('0'), name.size() - 1);
    const auto number = ReadDecimal(std::string_view(name).substr(digit));
    if (number && name.size() == 12) bundles.push_back(*number);
  }
  std::ranges::sort(bundles);
  return bundles;
}

std::string RetentionStatement::Text() const {
  return fmt::format("{}{}{}{}{}{}", kStatement, entries, kStays, kept, kHashed, HexEncode(hash));
}

std::optional<RetentionStatement> ParseRetention(std::string_view reason) {
  if (!reason.starts_with(kStatement)) return std::nullopt;
  const size_t stays = reason.find(kStays), hashed = reason.find(kHashed);
  if (stays == std::string_view::npos || hashed == std::string_view::npos || hashed < stays) return std::nullopt;
  const auto entries = ReadDecimal(reason.substr(kStatement.size(), stays - kStatement.size()));
  const auto kept = ReadDecimal(reason.substr(stays + kStays.size(), hashed - stays - kStays.size()));
  const auto hash = HexDecode(reason.substr(hashed + kHashed.size(), 2 * sizeof(Hash)));
  if (!entries || !kept || !hash || hash->size() != sizeof(Hash)) return std::nullopt;
  RetentionStatement statement{*entries, *kept, {}};
  std::ranges::copy(*hash, statement.hash.begin());
  return statement;
}

std::optional<RetentionStatement> ReadRetentionEntry(std::string_view json) {
  if (!json.contains(kStatement)) return std::nullopt;  // every entry that is removed passes here
  boost::system::error_code failed;
  const boost::json::value parsed = boost::json::parse({json.data(), json.size()}, failed);
  if (failed || !parsed.is_object()) return std::nullopt;
  const boost::json::object& entry = parsed.get_object();
  if (TextOf(entry, "kind") != EntryKindName(EntryKind::retention)) return std::nullopt;
  return ParseRetention(TextOf(entry, "reason"));
}

namespace {

using Tokens = boost::unordered_flat_set<SubjectToken, SubjectKeyHash>;

// What is to go, as the file `removing` has it: nothing else decides, however often it is begun again.
struct Plan {
  Removal removal;
  int64_t first_day = 0;             // since 1970: keys of days before it go
  std::vector<SubjectToken> people;  // whose keys go

  std::string Text() const {
    std::string text = fmt::format("{}{} {}\n{}\n", kRemovingHeader, removal.entries, removal.by, first_day);
    for (const SubjectToken& token : people) text += Base64UrlEncode(token) + "\n";
    return text;
  }
};

Result<Plan> ReadPlan(const SegmentFolder& folder) {
  ECLUSE_TRY(std::string text, ReadWholeFile(*folder.files, RemovingPath(folder), limits::kRemoving));
  const auto broken = [&] { return LedgerDamaged(RemovingPath(folder) + " does not say what is being removed"); };
  if (!text.starts_with(kRemovingHeader)) return broken();
  std::istringstream lines(text.substr(kRemovingHeader.size()));
  Plan plan;
  if (!(lines >> plan.removal.entries >> plan.removal.by >> plan.first_day) || plan.removal.entries % kTileWidth != 0 ||
      plan.removal.by < plan.removal.entries)
    return broken();
  for (std::string line; lines >> line;) {
    const auto bytes = Base64UrlDecode(line);
    SubjectToken token;
    if (!bytes || bytes->size() != token.size()) return broken();
    std::ranges::copy(*bytes, token.begin());
    plan.people.push_back(token);
  }
  return plan;
}

class Pruner {
 public:
  Pruner(const PruneOptions& options, KeyRing& keys) : options_(options), keys_(keys) {
    folder_.files = options.ledger.files != nullptr ? options.ledger.files : &RealFiles();
    folder_.path = options.ledger.data_dir + "/ledger";
  }

  Result<Pruned> Run() {
    ECLUSE_TRY(const std::string node, OwnNode(&folder_));
    ECLUSE_TRY(auto beginning, folder_.files->Find(options_.ledger.data_dir + "/beginning"));
    if (beginning)
      return Fail(sqlstate::kIo, "a new ledger was begun and not finished", "run `ecluse ledger new` again, as before",
                  "ledger.new");
    ECLUSE_OK(FinishInterrupted());
    LedgerOptions writing = options_.ledger;
    writing.node = node;
    ECLUSE_TRY(const int64_t last, LastTime());  // before this run writes anything by a clock that may be wrong
    ECLUSE_TRY(auto ledger, Ledger::Open(writing, keys_));
    ECLUSE_TRY(removal_, ReadRemoval(folder_));
    out_.left_from = removal_.entries;
    ECLUSE_OK(
        Choose(ledger->size(), std::min(options_.before, last - std::chrono::microseconds(options_.keep).count())));
    if (end_ <= removal_.entries) return out_;
    ECLUSE_OK(FindReferences(ledger->size()));
    ECLUSE_OK(Keep());
    out_.entries = end_ - removal_.entries;
    out_.left_from = end_;
    out_.people = plan_.people.size();
    if (options_.dry_run) return out_;
    EntryDraft draft;
    draft.kind = EntryKind::retention;
    draft.policy = options_.policy;
    draft.door = "command";
    draft.reason = fmt::format("{}; {}", RetentionStatement{end_, hash_.count(), hash_.Value()}.Text(), options_.why);
    ECLUSE_TRY(Receipt written, ledger->AppendAndWait(std::move(draft)));
    out_.by = written.seq();
    ledger.reset();  // signs
    ECLUSE_TRY(auto lock, Lock());
    ECLUSE_TRY(VerifierKey key, ReadVerifierKey(folder_));
    ECLUSE_TRY(Checkpoint checkpoint, ReadCheckpoint(folder_, key));
    if (checkpoint.size != out_.by + 1)
      return Fail(sqlstate::kIo,
                  "the last entry under the checkpoint is not the one that tells of the removal, so "
                  "nothing was removed",
                  "a gate ran meanwhile, or the disk is full: see the messages above, then run it again",
                  "ledger.prune");
    plan_.removal = {end_, out_.by};
    ECLUSE_OK(ReplaceFile(*folder_.files, RemovingPath(folder_), plan_.Text()));
    ECLUSE_OK(Remove(plan_));
    return out_;
  }

 private:
  Result<std::unique_ptr<File>> Lock() {
    ECLUSE_TRY(auto lock, folder_.files->Open(folder_.path + "/lock", OpenMode::lock));
    ECLUSE_TRY(bool alone, lock->TryLock());
    if (!alone)
      return Fail(sqlstate::kIo, "another gate has this ledger open", "stop it and run this again", "ledger.lock",
                  folder_.path);
    return lock;
  }

  Status FinishInterrupted() {
    ECLUSE_TRY(auto removing, folder_.files->Find(RemovingPath(folder_)));
    if (!removing || options_.dry_run) return {};
    ECLUSE_TRY(auto lock, Lock());
    ECLUSE_TRY(const Plan plan, ReadPlan(folder_));
    return Remove(plan);
  }

  Result<int64_t> LastTime() {
    Entries entries(folder_);
    ECLUSE_TRY(const uint64_t size, entries.Size());
    if (size == 0) return 0;
    ECLUSE_TRY(const std::string last, entries.Read(size - 1));
    return EntryTime(last);
  }

  // Up to where entries can go: whole bundles and whole disclosures, older than asked for, and nowhere else than in the
  // tree.
  Status Choose(uint64_t size, int64_t before) {
    Entries entries(folder_);
    ECLUSE_TRY(end_, entries.FirstSince(size, before));
    ECLUSE_TRY(VerifierKey key, ReadVerifierKey(folder_));
    ECLUSE_TRY(Checkpoint checkpoint, ReadCheckpoint(folder_, key));
    ECLUSE_TRY(auto first, FirstInSegments(folder_));
    end_ = std::min({end_, checkpoint.size, first.value_or(0)}) / kTileWidth * kTileWidth;
    while (end_ > removal_.entries) {
      ECLUSE_TRY(const std::string next, entries.Read(end_));
      ECLUSE_TRY(const EntryFacts facts, ReadFacts(end_, next, keys_));
      if (facts.part != "part" && facts.part != "last") break;
      end_ -= kTileWidth;
    }
    return {};
  }

  // Whom entries that stay name, and of what days they are. Where one does not open nobody can say whom, and
  // everybody's introduction stays.
  Status FindReferences(uint64_t size) {
    Status problem;
    std::string policy;
    plan_.first_day = INT64_MAX;
    ECLUSE_OK(Entries(folder_).Visit(end_, size, [&](const EntryView& entry) {
      problem = [&]() -> Status {
        ECLUSE_TRY(EntryFacts facts, ReadFacts(entry.seq, entry.json, keys_));
        if (facts.sealed && !facts.opened) everybody_ = true;
        for (const SubjectToken& token : facts.People()) named_.insert(token);
        const auto day = SealedOnDay(entry.json);
        plan_.first_day = std::min(plan_.first_day, day.value_or(facts.time / kDayMicros));
        if (facts.kind == "start" || facts.kind == "policy") policy = facts.policy;
        return {};
      }();
      if (options_.progress && entry.seq % kProgressEvery == 0) options_.progress(entry.seq - end_, size - end_);
      return problem.has_value();
    }));
    ECLUSE_OK(problem);
    if (!options_.policy.empty() && !policy.empty() && policy != options_.policy)
      return Fail(sqlstate::kInvalidParameter, "this is not the policy that was in force last",
                  "what may go is by the policy that the gate served under: give its file (--config), or serve under "
                  "this one first",
                  "ledger.prune", "in force: " + policy);
    return {};
  }

  // Writes what stays of the bundles that go; of those that went before it is there, and is what was signed.
  Status Keep() {
    if (!options_.dry_run) ECLUSE_OK(folder_.files->MakeDirectory(KeptPath(folder_)));
    ECLUSE_TRY(const auto bundles, KeptBundles(folder_));
    for (const uint64_t bundle : bundles) {
      if (bundle >= removal_.entries / kTileWidth) {  // of a run that ended early
        if (!options_.dry_run) ECLUSE_OK(folder_.files->Remove(KeptPath(folder_, bundle)));
        continue;
      }
      ECLUSE_TRY(const auto kept, ReadKept(folder_, bundle));
      for (const KeptEntry& entry : kept) {
        hash_.Add(entry.seq, LeafHash(entry.json));
        ECLUSE_TRY(auto person, ReadPersonEntry(entry.json));
        if (person && !everybody_ && !named_.contains(person->token)) plan_.people.push_back(person->token);
      }
    }
    ECLUSE_OK(CheckKept());
    Entries entries(folder_);
    for (uint64_t first = removal_.entries; first < end_; first += kTileWidth) {
      std::string bytes;
      Status problem;
      ECLUSE_OK(entries.Visit(first, first + kTileWidth, [&](const EntryView& entry) {
        problem = [&]() -> Status {
          ECLUSE_TRY(bool stays, Stays(entry));
          if (!stays) return {};
          bytes += static_cast<char>(entry.seq % kTileWidth);
          AppendU16(bytes, static_cast<uint16_t>(entry.json.size()));
          bytes += entry.json;
          hash_.Add(entry.seq, LeafHash(entry.json));
          ++out_.kept;
          return {};
        }();
        return problem.has_value();
      }));
      ECLUSE_OK(problem);
      if (!bytes.empty() && !options_.dry_run)
        ECLUSE_OK(ReplaceFile(*folder_.files, KeptPath(folder_, first / kTileWidth), bytes));
    }
    return {};
  }

  // What was kept of earlier removals is signed again, so it has to be all of it.
  Status CheckKept() {
    if (removal_.entries == 0) return {};
    ECLUSE_TRY(const std::string entry, Entries(folder_).Read(removal_.by));
    const auto said = ReadRetentionEntry(entry);
    if (said && said->entries == removal_.entries && said->kept == hash_.count() && said->hash == hash_.Value())
      return {};
    return LedgerDamaged(
        "what was kept of entries that were removed before is not what was signed: see `ecluse ledger "
        "verify`");
  }

  Result<bool> Stays(const EntryView& entry) {
    if (ReadRetentionEntry(entry.json) || AcceptsClock(entry.json)) return true;
    ECLUSE_TRY(auto key, ReadKeyEntry(entry.json));
    if (key) return true;
    ECLUSE_TRY(auto person, ReadPersonEntry(entry.json));
    if (!person) return false;
    if (everybody_ || named_.contains(person->token)) return true;
    plan_.people.push_back(person->token);
    return false;
  }

  // Everything that was written down. Each step may have been done before.
  Status Remove(const Plan& plan) {
    ECLUSE_OK(ReplaceFile(*folder_.files, RemovedPath(folder_),
                          fmt::format("{}{} {}\n", kHeader, plan.removal.entries, plan.removal.by)));
    ECLUSE_OK(RemoveBundles(plan.removal.entries));
    ECLUSE_TRY(out_.days, keys_.DestroyDaysBefore(plan.first_day * kDayMicros));
    ECLUSE_OK(keys_.literal_keys().DestroyEndedBefore(plan.first_day * kDayMicros,
                                                      [](const std::string&) { return Status(); }));
    ECLUSE_OK(RemovePeople(plan));
    ECLUSE_OK(folder_.files->Remove(RemovingPath(folder_)));
    return folder_.files->SyncDirectory(folder_.path);
  }

  Status RemoveBundles(uint64_t end) {
    std::string last;
    TileFolder tiles(*folder_.files, folder_.path);
    for (uint64_t bundle = 0; bundle < end / kTileWidth; ++bundle) {
      const Tile tile{kEntriesLevel, bundle, kTileWidth};
      ECLUSE_OK(tiles.RemovePartials(tile));
      const std::string path = folder_.path + "/" + TilePath(tile);
      ECLUSE_TRY(auto present, folder_.files->Find(path));
      if (present) ECLUSE_OK(folder_.files->Remove(path));
      const std::string in = path.substr(0, path.rfind('/'));
      if (in == last) continue;
      if (!last.empty()) ECLUSE_OK(folder_.files->SyncDirectory(last));
      last = in;
    }
    return last.empty() ? Status() : folder_.files->SyncDirectory(last);
  }

  // The keys of people whom nothing names any more, and then the index's rows, of them and of entries that went.
  Status RemovePeople(const Plan& plan) {
    ECLUSE_TRY(auto persons, Store::Open(options_.ledger.data_dir + "/keys/persons", Store::Mode::existing));
    std::vector<std::string> some;
    for (const SubjectToken& token : plan.people) {
      some.emplace_back(reinterpret_cast<const char*>(token.data()), token.size());
      if (some.size() >= limits::kIndexPut) ECLUSE_OK(persons->Remove(std::exchange(some, {})));
    }
    ECLUSE_OK(persons->Remove(some));
    ECLUSE_OK(persons->Compact());
    ECLUSE_TRY(auto present, folder_.files->Find(options_.ledger.data_dir + "/index"));
    if (!present) return {};  // it is made again, of what is left
    ECLUSE_TRY(auto index, Store::Open(options_.ledger.data_dir + "/index", Store::Mode::existing));
    return PruneIndex(*index, plan.removal.entries, Tokens(plan.people.begin(), plan.people.end()));
  }

  const PruneOptions& options_;
  KeyRing& keys_;
  SegmentFolder folder_;
  Removal removal_;  // what went before
  uint64_t end_ = 0;
  Tokens named_;
  bool everybody_ = false;
  KeptHash hash_;
  Plan plan_;
  Pruned out_;
};

}  // namespace

Result<Pruned> PruneLedger(const PruneOptions& options, KeyRing& keys) { return Pruner(options, keys).Run(); }

}  // namespace ecluse
