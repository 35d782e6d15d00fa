#include "ledger/query.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>

#include "base/file.h"
#include "base/limits.h"
#include "ledger/origin.h"
#include "ledger/people.h"
#include "ledger/tree_writer.h"

namespace ecluse {
namespace {

bool Wanted(const std::string& wanted, const std::string& is) { return wanted.empty() || wanted == is; }

// Whether what stands in clear fits.
bool FitsOutside(const Query& query, const EntryFacts& facts) {
  return facts.time >= query.from && facts.time < query.to && Wanted(query.principal, facts.principal) &&
         Wanted(query.role, facts.role) && Wanted(query.organisation, facts.organisation);
}

bool FitsInside(const Query& query, const EntryFacts& facts) {
  if (!Wanted(query.address, facts.address)) return false;
  return !query.names || std::ranges::binary_search(facts.People(), *query.names);
}

}  // namespace

LedgerQuery::LedgerQuery(SegmentFolder folder, const std::string& data_dir, KeyRing& keys)
    : folder_(std::move(folder)),
      keys_(keys),
      entries_(folder_),
      index_(IndexReader::Open(data_dir, folder_.ledger, keys)),
      names_(folder_, data_dir, index_, keys) {
  entries_.FindBy([this](uint64_t seq) { return index_.PlaceInBundle(seq); });
  entries_.GoOnFrom(index_.last());
}

Result<std::unique_ptr<LedgerQuery>> LedgerQuery::Open(const std::string& data_dir, KeyRing& keys) {
  SegmentFolder folder{&RealFiles(), data_dir + "/ledger", {}, 0};
  std::string origin;
  ECLUSE_TRY(folder.ledger, ReadOrigin(folder, &origin));
  std::unique_ptr<LedgerQuery> query(new LedgerQuery(std::move(folder), data_dir, keys));
  AnswerBasis& basis = query->basis_;
  basis.origin = origin;
  // What the index does not know yet is read once, for its people and for where the ledger ends.
  auto& entries = query->entries_;
  const uint64_t indexed = query->index_.size();
  const auto look = [&](const EntryView& entry) {
    basis.size = entry.seq + 1;
    basis.last_time = EntryTime(entry.json);
    query->names_.Saw(entry);
    return true;
  };
  Status seen = entries.Visit(indexed == 0 ? 0 : indexed - 1, UINT64_MAX, look);
  if (seen && basis.size < indexed) {  // an index of what this ledger does not hold
    ECLUSE_TRY(const uint64_t size, entries.Size());
    seen = entries.Visit(size == 0 ? 0 : size - 1, size, look);
  }
  ECLUSE_OK(seen);
  if (basis.size > 0) {
    ECLUSE_TRY(const uint64_t left, entries.First());
    ECLUSE_TRY(const std::string first, entries.Read(left));
    basis.first_time = EntryTime(first);
  }
  ECLUSE_TRY(auto signed_yet, RealFiles().Find(query->folder_.path + "/checkpoint"));
  if (signed_yet) {
    ECLUSE_TRY(basis.note, ReadWholeFile(RealFiles(), query->folder_.path + "/checkpoint", limits::kNote));
    ECLUSE_TRY(VerifierKey key, ReadVerifierKey(query->folder_));
    ECLUSE_TRY(Checkpoint checkpoint, OpenCheckpoint(basis.note, key));
    basis.covered = checkpoint.size;
  }
  return query;
}

Result<std::optional<SubjectToken>> LedgerQuery::TokenOf(std::string_view space, std::string_view id) {
  ECLUSE_TRY(auto known, index_.TokenOf(space, id));
  if (known) return known;
  const std::string name = fmt::format("{}:{}", space, id);
  std::optional<SubjectToken> found;
  Status problem;
  ECLUSE_OK(entries_.Visit(std::min(index_.size(), basis_.size), basis_.size, [&](const EntryView& entry) {
    problem = [&]() -> Status {
      ECLUSE_TRY(auto introduced, names_.NameIn(entry));
      if (introduced != name) return {};
      ECLUSE_TRY(auto person, ReadPersonEntry(entry.json));
      found = person->token;
      return {};
    }();
    return problem && !found;
  }));
  ECLUSE_OK(problem);
  return found;
}

// Where the index knows of entries that may fit.
Result<std::vector<uint64_t>> LedgerQuery::Candidates(const Query& query, uint64_t first, uint64_t end) {
  std::optional<std::vector<uint64_t>> all;
  auto narrow = [&](std::vector<uint64_t> more) {
    if (!all) {
      all = std::move(more);
      return;
    }
    std::vector<uint64_t> both;
    std::ranges::set_intersection(*all, more, std::back_inserter(both));
    all = std::move(both);
  };
  if (query.names) {
    ECLUSE_TRY(auto some, index_.Naming(*query.names, first, end));
    narrow(std::move(some));
  }
  // A role has as many entries as the ledger, or nearly: it is looked up where nothing else narrows.
  const std::pair<Facet, const std::string&> facets[] = {
      {Facet::principal, query.principal}, {Facet::address, query.address}, {Facet::role, query.role}};
  for (const auto& [facet, value] : facets) {
    if (value.empty() || (facet == Facet::role && all)) continue;
    ECLUSE_TRY(auto some, index_.By(facet, value, first, end));
    narrow(std::move(some));
  }
  // What did not open when it was indexed may open now, and has to be counted where it does not.
  ECLUSE_TRY(auto closed, index_.Closed(first, end));
  std::vector<uint64_t> out;
  std::ranges::set_union(*all, closed, std::back_inserter(out));
  return out;
}

Status LedgerQuery::Find(const Query& query, const std::function<Status(EntryFacts)>& visit, uint64_t* closed) {
  *closed = 0;
  uint64_t first = 0, end = basis_.size;
  if (query.from > basis_.first_time) {
    ECLUSE_TRY(first, entries_.FirstSince(end, query.from));
  }
  if (query.to <= basis_.last_time) {
    ECLUSE_TRY(end, entries_.FirstSince(end, query.to));
  }
  const auto take = [&](EntryFacts facts) -> Status {
    if (!FitsOutside(query, facts)) return {};
    const bool shut = facts.sealed && !facts.opened;
    if (shut) ++*closed;
    if (shut && (query.names || !query.address.empty())) return {};
    return FitsInside(query, facts) ? visit(std::move(facts)) : Status();
  };
  const bool indexed = query.names || !query.principal.empty() || !query.address.empty() || !query.role.empty();
  if (indexed && first < index_.size()) {
    const uint64_t known = std::min(end, index_.size());
    ECLUSE_TRY(auto places, Candidates(query, first, known));
    ScatteredEntries scattered(entries_);
    std::vector<std::optional<EntryFacts>> read;
    for (std::span<const uint64_t> left = places; !left.empty(); left = left.subspan(read.size())) {
      read.assign(std::min(left.size(), limits::kReadTogether), std::nullopt);
      ECLUSE_OK(scattered.Visit(left.first(read.size()), [&](size_t i, const EntryView& entry) -> Status {
        ECLUSE_TRY(read[i], ReadFacts(entry.seq, entry.json, keys_));
        return {};
      }));
      for (std::optional<EntryFacts>& facts : read)
        if (facts) ECLUSE_OK(take(std::move(*facts)));
    }
    first = known;
  }
  Status problem;
  if (first < end) {
    ECLUSE_OK(entries_.Visit(first, end, [&](const EntryView& entry) {
      auto facts = ReadFacts(entry.seq, entry.json, keys_);
      problem = facts ? take(std::move(*facts)) : Status(std::unexpected(std::move(facts).error()));
      return problem.has_value();
    }));
  }
  return problem;
}

}  // namespace ecluse
