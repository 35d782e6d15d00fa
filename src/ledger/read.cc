// Reading a ledger from outside the gate that writes it.
#include <optional>
#include <thread>

#include "base/file.h"
#include "base/limits.h"
#include "ledger/entries.h"
#include "ledger/index.h"
#include "ledger/json.h"
#include "ledger/ledger.h"
#include "ledger/names.h"
#include "ledger/open_entry.h"
#include "ledger/origin.h"
#include "ledger/record.h"

namespace ecluse {
namespace {

std::string Opened(const EntryView& entry, Names& names, KeyRing& keys) {
  // Reading what there is beats refusing: where names cannot be had they stay tokens.
  if (auto name = names.NameIn(entry); name && *name) {
    std::string out = "{\"person\":";
    AppendJsonString(out, **name);
    return out + "}";
  }
  auto opened = OpenSealed(entry.json, keys);
  if (!opened || opened->empty()) return {};
  return WithNames(*opened, [&](const SubjectToken& token) {
    auto name = names.NameOf(token);
    return name ? *name : std::nullopt;
  });
}

}  // namespace

Status Ledger::Read(const LedgerOptions& options, KeyRing* keys, int64_t since, bool follow,
                    const std::function<bool(const StoredEntry&)>& visit) {
  SegmentFolder folder{options.files != nullptr ? options.files : &RealFiles(), options.data_dir + "/ledger", {}, 0};
  ECLUSE_TRY(auto present, folder.files->Find(folder.path + "/origin"));
  if (!present)
    return Fail(sqlstate::kIo, "there is no ledger in " + options.data_dir, "it is made when the gate first serves",
                "ledger.none");
  std::string origin;
  ECLUSE_TRY(folder.ledger, ReadOrigin(folder, &origin));
  Entries entries(folder);
  uint64_t first = 0;  // with what was kept of removed entries
  if (since > 0) {
    ECLUSE_TRY(first, entries.FirstSince(UINT64_MAX, since));
  }
  std::optional<IndexReader> index;
  std::optional<Names> names;
  if (keys != nullptr) {
    index = IndexReader::Open(options.data_dir, folder.ledger, *keys);
    names.emplace(folder, options.data_dir, *index, *keys);
  }
  bool stopped = false;
  while (true) {
    ECLUSE_OK(entries.Visit(first, UINT64_MAX, [&](const EntryView& read) {
      first = read.seq + 1;
      if (names) names->Saw(read);
      StoredEntry entry{read.seq, EntryTime(read.json), std::string(read.json), {}};
      if (names) entry.opened = Opened(read, *names, *keys);
      stopped = !visit(entry);
      return !stopped;
    }));
    if (stopped || !follow) return {};
    std::this_thread::sleep_for(limits::kFollowEvery);
  }
}

}  // namespace ecluse
