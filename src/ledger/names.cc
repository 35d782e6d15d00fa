#include "ledger/names.h"

#include <algorithm>
#include <utility>

#include "base/limits.h"
#include "ledger/people.h"

namespace ecluse {
Names::Names(const SegmentFolder& folder, const std::string& data_dir, const IndexReader& index, KeyRing& keys)
    : entries_(folder), persons_path_(data_dir + "/keys/persons"), index_(index), keys_(keys), seen_to_(index.size()) {
  entries_.FindBy([this](uint64_t seq) { return index_.PlaceInBundle(seq); });
}

// The store is opened when somebody is to be named, for that takes as long as reading its log does; and again for
// people introduced since. Nobody is taken for erased because it could not be read.
Result<std::optional<std::string>> Names::WrappedKey(const SubjectToken& token, uint64_t introduced) {
  const std::string_view key(reinterpret_cast<const char*>(token.data()), token.size());
  while (true) {
    if (persons_) {
      ECLUSE_TRY(auto found, persons_->Get(key));
      if (found || introduced < opened_to_) return found;
    } else if (introduced < opened_to_) {
      return std::unexpected(failure_);
    }
    opened_to_ = std::max(seen_to_, introduced + 1);
    Result<std::unique_ptr<Store>> store = Store::Open(persons_path_, Store::Mode::read_only);
    persons_ = store ? std::move(*store) : nullptr;
    if (!store) failure_ = std::move(store).error();
  }
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
  ECLUSE_TRY(auto name, NameIn({*seq, json}));
  if (recent_.size() >= limits::kNamesShown) recent_.clear();
  if (name) recent_.emplace(token, *name);
  return name;
}

Result<std::vector<std::optional<std::string>>> Names::NamesOf(std::span<const SubjectToken> tokens) {
  std::vector<std::optional<std::string>> names(tokens.size());
  std::vector<std::pair<uint64_t, size_t>> introductions;  // read in their order, so that no bundle is read twice
  for (size_t i = 0; i < tokens.size(); ++i) {
    ECLUSE_TRY(auto seq, IntroductionOf(tokens[i]));
    if (seq) introductions.emplace_back(*seq, i);
  }
  std::ranges::sort(introductions);
  for (const auto& [seq, i] : introductions) {
    ECLUSE_TRY(std::string json, entries_.Read(seq));
    ECLUSE_TRY(names[i], NameIn({seq, json}));
  }
  return names;
}

Result<std::optional<std::string>> Names::NameIn(const EntryView& entry) {
  ECLUSE_TRY(auto person, ReadPersonEntry(entry.json));
  if (!person) return std::nullopt;
  ECLUSE_TRY(auto wrapped, WrappedKey(person->token, entry.seq));
  if (!wrapped) return std::nullopt;
  auto name = OpenPerson(*person, keys_, *wrapped);
  return name ? std::optional(std::move(*name)) : std::nullopt;
}

Result<std::optional<uint64_t>> Names::IntroductionOf(const SubjectToken& token) {
  if (auto it = seen_.find(token); it != seen_.end()) return it->second;
  return index_.IntroductionOf(token);
}

}  // namespace ecluse
