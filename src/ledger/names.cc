#include "ledger/names.h"

#include <algorithm>
#include <utility>

#include "base/limits.h"
#include "base/parallel.h"
#include "ledger/people.h"

namespace ecluse {
Names::Names(const SegmentFolder& folder, const std::string& data_dir, const IndexReader& index, KeyRing& keys)
    : entries_(folder), persons_path_(data_dir + "/keys/persons"), index_(index), keys_(keys), seen_to_(index.size()) {
  entries_.FindBy([this](uint64_t seq) { return index_.PlaceInBundle(seq); });
}

// The store is opened when somebody is to be named, for that takes as long as reading its log does; and again for
// people introduced since.
void Names::OpenPersons(uint64_t introduced) {
  opened_to_ = std::max(seen_to_, introduced + 1);
  Result<std::unique_ptr<Store>> store = Store::Open(persons_path_, Store::Mode::read_only);
  persons_ = store ? std::move(*store) : nullptr;
  if (!store) failure_ = std::move(store).error();
}

// Nobody is taken for erased because it could not be read.
Result<std::optional<std::string>> Names::WrappedKey(const SubjectToken& token) const {
  if (!persons_) return std::unexpected(failure_);
  return persons_->Get({reinterpret_cast<const char*>(token.data()), token.size()});
}

void Names::Saw(const EntryView& entry) {
  seen_to_ = std::max(seen_to_, entry.seq + 1);
  if (entry.seq < index_.size()) return;
  auto person = ReadPersonEntry(entry.json);
  if (person && *person) seen_[(*person)->token] = entry.seq;
}

Result<std::optional<std::string>> Names::NameOf(const SubjectToken& token) {
  if (auto known = recent_.find(token); known != recent_.end()) return known->second;
  ECLUSE_TRY(std::optional<uint64_t> seq, IntroductionOf(token));
  if (!seq) return std::nullopt;
  ECLUSE_TRY(std::string json, entries_.Read(*seq));
  ECLUSE_TRY(auto person, ReadPersonEntry(json));
  if (!person || person->token != token) return IndexDamaged();
  ECLUSE_TRY(auto name, NameIn({*seq, json}));
  if (recent_.size() >= limits::kNamesShown) recent_.clear();
  if (name) recent_.emplace(token, *name);
  return name;
}

Result<std::vector<std::optional<std::string>>> Names::NamesOf(std::span<const SubjectToken> tokens) {
  std::vector<std::optional<std::string>> names(tokens.size());
  std::vector<std::optional<uint64_t>> introduced(tokens.size());
  ECLUSE_OK(ForEachInParallel(tokens.size(), limits::kReaders, [&](size_t i, unsigned) -> Status {
    ECLUSE_TRY(introduced[i], IntroductionOf(tokens[i]));
    return {};
  }));
  std::vector<size_t> order;  // of their introductions, so that no bundle is read twice
  for (size_t i = 0; i < tokens.size(); ++i)
    if (introduced[i]) order.push_back(i);
  if (order.empty()) return names;
  std::ranges::sort(order, {}, [&](size_t i) { return *introduced[i]; });
  std::vector<uint64_t> seqs;
  for (const size_t i : order) seqs.push_back(*introduced[i]);
  if (seqs.back() >= opened_to_) OpenPersons(seqs.back());
  ScatteredEntries scattered(entries_);
  std::vector<uint8_t> found(seqs.size());
  ECLUSE_OK(scattered.Visit(seqs, [&](size_t i, const EntryView& entry) -> Status {
    ECLUSE_TRY(const auto person, ReadPersonEntry(entry.json));
    if (!person || person->token != tokens[order[i]]) return IndexDamaged();
    ECLUSE_TRY(names[order[i]], NameOf(*person));
    found[i] = 1;
    return {};
  }));
  for (size_t i = 0; i < seqs.size(); ++i)
    if (!found[i]) ECLUSE_OK(entries_.Read(seqs[i]));  // says that it was removed
  return names;
}

Result<std::optional<std::string>> Names::NameIn(const EntryView& entry) {
  ECLUSE_TRY(auto person, ReadPersonEntry(entry.json));
  if (!person) return std::nullopt;
  const bool known = persons_ && WrappedKey(person->token).value_or(std::nullopt);
  if (!known && entry.seq >= opened_to_) OpenPersons(entry.seq);
  return NameOf(*person);
}

Result<std::optional<std::string>> Names::NameOf(const PersonEntry& person) const {
  ECLUSE_TRY(auto wrapped, WrappedKey(person.token));
  if (!wrapped) return std::nullopt;
  auto name = OpenPerson(person, keys_, *wrapped);
  return name ? std::optional(std::move(*name)) : std::nullopt;
}

Result<std::optional<uint64_t>> Names::IntroductionOf(const SubjectToken& token) const {
  if (auto it = seen_.find(token); it != seen_.end()) return it->second;
  return index_.IntroductionOf(token);
}

}  // namespace ecluse
