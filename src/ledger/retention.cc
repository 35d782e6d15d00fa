#include "ledger/retention.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/json.hpp>
#include <boost/unordered/unordered_flat_set.hpp>
#include <charconv>
#include <sstream>

#include "base/bytes.h"
#include "base/file.h"
#include "base/limits.h"
#include "base/time_text.h"
#include "ledger/entries.h"
#include "ledger/facts.h"
#include "ledger/index.h"
#include "ledger/origin.h"
#include "ledger/people.h"
#include "ledger/store.h"
#include "ledger/tile_folder.h"
#include "ledger/tree_writer.h"

namespace ecluse {
namespace {

constexpr std::string_view kHeader = "ecluse removed v1\n";
constexpr std::string_view kStatement = "removed entries before ";
constexpr std::string_view kStays = ", kept ";
constexpr std::string_view kHashed = " with SHA-256 ";
constexpr size_t kMostKept = kTileWidth * (3 + limits::kEntry);
constexpr uint64_t kProgressEvery = 10'000;

std::string RemovedPath(const SegmentFolder& folder) { return folder.path + "/removed"; }
std::string KeptPath(const SegmentFolder& folder) { return folder.path + "/kept"; }
std::string KeptPath(const SegmentFolder& folder, uint64_t bundle) {
  return fmt::format("{}/{:012}", KeptPath(folder), bundle);
}

std::optional<uint64_t> Number(std::string_view text) {
  uint64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  return error == std::errc() && end == text.data() + text.size() ? std::optional(number) : std::nullopt;
}

}  // namespace

void KeptHash::Add(uint64_t seq, const Hash& leaf) {
  AppendU64(bytes_, seq);
  bytes_.append(reinterpret_cast<const char*>(leaf.data()), leaf.size());
  ++count_;
}

Result<Removal> ReadRemoval(const SegmentFolder& folder) {
  ECLUSE_TRY(auto present, folder.files->Find(RemovedPath(folder)));
  if (!present) return Removal{};
  ECLUSE_TRY(std::string text, ReadWholeFile(*folder.files, RemovedPath(folder), limits::kNote));
  if (text.starts_with(kHeader) && text.ends_with('\n')) {
    const std::string_view rest = std::string_view(text).substr(kHeader.size(), text.size() - kHeader.size() - 1);
    const size_t space = rest.find(' ');
    const auto entries = Number(rest.substr(0, space));
    const auto by = space == std::string_view::npos ? std::nullopt : Number(rest.substr(space + 1));
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
    const auto number = Number(name);
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
  const auto entries = Number(reason.substr(kStatement.size(), stays - kStatement.size()));
  const auto kept = Number(reason.substr(stays + kStays.size(), hashed - stays - kStays.size()));
  const auto hash = HexDecode(reason.substr(hashed + kHashed.size(), 2 * sizeof(Hash)));
  if (!entries || !kept || !hash || hash->size() != sizeof(Hash)) return std::nullopt;
  RetentionStatement statement{*entries, *kept, {}};
  std::ranges::copy(*hash, statement.hash.begin());
  return statement;
}

std::optional<RetentionStatement> ReadRetentionEntry(std::string_view json) {
  boost::system::error_code failed;
  const boost::json::value parsed = boost::json::parse({json.data(), json.size()}, failed);
  if (failed || !parsed.is_object()) return std::nullopt;
  const auto text = [&](const char* name) -> std::string_view {
    const auto* value = parsed.get_object().if_contains(name);
    if (value == nullptr || !value->is_string()) return {};
    return {value->get_string().data(), value->get_string().size()};
  };
  return text("kind") == EntryKindName(EntryKind::retention) ? ParseRetention(text("reason")) : std::nullopt;
}

namespace {

using Tokens = boost::unordered_flat_set<SubjectToken, SubjectKeyHash>;

class Pruner {
 public:
  Pruner(const PruneOptions& options, KeyRing& keys) : options_(options), keys_(keys) {
    folder_.files = options.ledger.files != nullptr ? options.ledger.files : &RealFiles();
    folder_.path = options.ledger.data_dir + "/ledger";
  }

  Result<Pruned> Run() {
    std::string origin;
    ECLUSE_TRY(folder_.ledger, ReadOrigin(folder_, &origin));
    LedgerOptions writing = options_.ledger;
    writing.node = origin.substr(std::min(origin.find('/'), origin.size() - 1) + 1);
    ECLUSE_TRY(auto ledger, Ledger::Open(writing, keys_));  // whatever was interrupted before is recovered first
    ECLUSE_TRY(removal_, ReadRemoval(folder_));
    ECLUSE_OK(Choose(ledger->size()));
    if (end_ <= removal_.entries) {
      out_.left_from = removal_.entries;
      if (!options_.dry_run) {
        ledger.reset();
        ECLUSE_TRY(auto lock, Lock());
        ECLUSE_OK(Remove(removal_));  // what an interrupted removal left
      }
      return out_;
    }
    ECLUSE_OK(FindReferences(ledger->size()));
    ECLUSE_OK(Keep());
    out_.entries = end_ - removal_.entries;
    out_.left_from = end_;
    if (options_.dry_run) return out_;
    EntryDraft draft;
    draft.kind = EntryKind::retention;
    draft.door = "command";
    draft.reason = fmt::format("{}; {}", RetentionStatement{end_, hash_.count(), hash_.Value()}.Text(), options_.why);
    ECLUSE_TRY(Receipt written, ledger->AppendAndWait(std::move(draft)));
    out_.by = written.seq();
    ledger.reset();  // signs
    ECLUSE_TRY(auto lock, Lock());
    ECLUSE_TRY(VerifierKey key, ReadVerifierKey(folder_));
    ECLUSE_TRY(Checkpoint checkpoint, ReadCheckpoint(folder_, key));
    if (checkpoint.size <= out_.by)
      return Fail(sqlstate::kIo, "no checkpoint covers the entry that tells of the removal, so nothing was removed",
                  "see the messages above (a full disk?), then run it again", "ledger.prune");
    const Removal removal{end_, out_.by};
    ECLUSE_OK(ReplaceFile(*folder_.files, RemovedPath(folder_),
                          fmt::format("{}{} {}\n", kHeader, removal.entries, removal.by)));
    ECLUSE_OK(Remove(removal));
    return out_;
  }

 private:
  Result<std::unique_ptr<File>> Lock() {
    ECLUSE_TRY(auto lock, folder_.files->Open(folder_.path + "/lock", OpenMode::lock));
    ECLUSE_TRY(bool alone, lock->TryLock());
    if (!alone)
      return Fail(sqlstate::kIo, "a gate was started meanwhile, so nothing was removed", "stop it and run this again",
                  "ledger.lock", folder_.path);
    return lock;
  }

  // Up to where entries can go: whole bundles, older than asked for, and nowhere else than in the tree.
  Status Choose(uint64_t size) {
    Entries entries(folder_);
    ECLUSE_TRY(end_, entries.FirstSince(size, options_.before));
    ECLUSE_TRY(VerifierKey key, ReadVerifierKey(folder_));
    ECLUSE_TRY(Checkpoint checkpoint, ReadCheckpoint(folder_, key));
    ECLUSE_TRY(auto first, FirstInSegments(folder_));
    end_ = std::min({end_, checkpoint.size, first.value_or(0)}) / kTileWidth * kTileWidth;
    return {};
  }

  // Whom entries that stay name. Where one does not open nobody can say, and everybody's introduction stays.
  Status FindReferences(uint64_t size) {
    Status problem;
    ECLUSE_OK(Entries(folder_).Visit(end_, size, [&](const EntryView& entry) {
      problem = [&]() -> Status {
        ECLUSE_TRY(EntryFacts facts, ReadFacts(entry.seq, entry.json, keys_));
        if (facts.sealed && !facts.opened) everybody_ = true;
        for (const SubjectToken& token : facts.People()) named_.insert(token);
        return {};
      }();
      if (options_.progress && entry.seq % kProgressEvery == 0) options_.progress(entry.seq - end_, size - end_);
      return problem.has_value();
    }));
    return problem;
  }

  // Writes what stays of the bundles that go; of those that went before it is there.
  Status Keep() {
    if (!options_.dry_run) ECLUSE_OK(folder_.files->MakeDirectory(KeptPath(folder_)));
    for (uint64_t bundle = 0; bundle < removal_.entries / kTileWidth; ++bundle) {
      ECLUSE_TRY(auto kept, ReadKept(folder_, bundle));
      for (const KeptEntry& entry : kept) hash_.Add(entry.seq, LeafHash(entry.json));
    }
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

  Result<bool> Stays(const EntryView& entry) {
    if (ReadRetentionEntry(entry.json)) return true;
    ECLUSE_TRY(auto key, ReadKeyEntry(entry.json));
    if (key) return true;
    ECLUSE_TRY(auto person, ReadPersonEntry(entry.json));
    if (!person) return false;
    if (everybody_ || named_.contains(person->token)) return true;
    ++out_.people;
    return false;
  }

  // Everything that was written down as removed. Each step may have been done before.
  Status Remove(const Removal& removal) {
    if (removal.entries == 0) return {};
    ECLUSE_OK(RemoveBundles(removal.entries));
    ECLUSE_TRY(std::string next, Entries(folder_).Read(removal.entries));
    ECLUSE_TRY(out_.days, keys_.DestroyDaysBefore(EntryTime(next)));
    return RemoveNames(removal.entries);
  }

  Status RemoveBundles(uint64_t end) {
    std::string last;
    for (uint64_t bundle = 0; bundle < end / kTileWidth; ++bundle) {
      const std::string path = folder_.path + "/" + TilePath({kEntriesLevel, bundle, kTileWidth});
      ECLUSE_TRY(auto present, folder_.files->Find(path));
      if (!present) continue;
      ECLUSE_OK(folder_.files->Remove(path));
      const std::string in = path.substr(0, path.rfind('/'));
      if (in == last) continue;
      if (!last.empty()) ECLUSE_OK(folder_.files->SyncDirectory(last));
      last = in;
    }
    return last.empty() ? Status() : folder_.files->SyncDirectory(last);
  }

  // Rows of the index about entries that went, and people whom nothing introduces any more, with their keys.
  Status RemoveNames(uint64_t end) {
    ECLUSE_TRY(auto present, folder_.files->Find(options_.ledger.data_dir + "/index"));
    if (!present) return {};  // it is made again, of what is left
    Tokens kept;
    ECLUSE_TRY(auto bundles, KeptBundles(folder_));
    for (uint64_t bundle : bundles) {
      ECLUSE_TRY(auto entries, ReadKept(folder_, bundle));
      for (const KeptEntry& entry : entries) {
        ECLUSE_TRY(auto person, ReadPersonEntry(entry.json));
        if (person) kept.insert(person->token);
      }
    }
    ECLUSE_TRY(auto index, Store::Open(options_.ledger.data_dir + "/index", Store::Mode::existing));
    std::vector<std::string> gone;
    ECLUSE_OK(PruneIndex(*index, end, kept, &gone));
    if (gone.empty()) return {};
    ECLUSE_TRY(auto persons, Store::Open(options_.ledger.data_dir + "/keys/persons", Store::Mode::existing));
    ECLUSE_OK(persons->Remove(gone));
    return persons->Compact();
  }

  const PruneOptions& options_;
  KeyRing& keys_;
  SegmentFolder folder_;
  Removal removal_;  // what went before
  uint64_t end_ = 0;
  Tokens named_;
  bool everybody_ = false;
  KeptHash hash_;
  Pruned out_;
};

}  // namespace

Result<Pruned> PruneLedger(const PruneOptions& options, KeyRing& keys) { return Pruner(options, keys).Run(); }

}  // namespace ecluse
