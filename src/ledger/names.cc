#include "ledger/names.h"

#include <algorithm>
#include <utility>

#include "base/limits.h"
#include "ledger/people.h"

namespace ecluse {

Names::Names(const SegmentFolder& folder, const std::string& data_dir, const IndexReader& index, KeyRing& keys)
    : entries_(folder), persons_path_(data_dir + "/keys/persons"), index_(index), keys_(keys) {}

// Opened when somebody is to be named: that takes as long as reading its log does.
Store* Names::Persons() {
  if (!std::exchange(tried_, true)) {
    // Without a store names stay tokens: reading what there is beats refusing.
    if (auto store = Store::Open(persons_path_, Store::Mode::read_only)) persons_ = std::move(*store);
  }
  return persons_.get();
}

void Names::Saw(const EntryView& entry) {
  if (entry.seq < index_.size()) return;
  auto person = ReadPersonEntry(entry.json);
  if (person && *person) seen_[(*person)->token] = entry.seq;
}

std::optional<std::string> Names::NameOf(const SubjectToken& token) {
  if (auto known = recent_.find(token); known != recent_.end()) return known->second;
  std::optional<uint64_t> seq = IntroductionOf(token);
  if (!seq) return std::nullopt;
  auto json = entries_.Read(*seq);
  if (!json) return std::nullopt;
  auto name = NameIn(*json);
  if (recent_.size() >= limits::kNamesShown) recent_.clear();
  if (name) recent_.emplace(token, *name);
  return name;
}

std::vector<std::optional<std::string>> Names::NamesOf(std::span<const SubjectToken> tokens) {
  std::vector<std::optional<std::string>> names(tokens.size());
  std::vector<std::pair<uint64_t, size_t>> introductions;  // read in their order, so that no bundle is read twice
  for (size_t i = 0; i < tokens.size(); ++i) {
    if (auto seq = IntroductionOf(tokens[i])) introductions.emplace_back(*seq, i);
  }
  std::ranges::sort(introductions);
  for (const auto& [seq, i] : introductions) {
    if (auto json = entries_.Read(seq)) names[i] = NameIn(*json);
  }
  return names;
}

std::optional<std::string> Names::NameIn(std::string_view person_entry) {
  auto person = ReadPersonEntry(person_entry);
  if (!person || !*person || Persons() == nullptr) return std::nullopt;
  const SubjectToken& token = (*person)->token;
  auto wrapped = Persons()->Get({reinterpret_cast<const char*>(token.data()), token.size()});
  if (!wrapped || !*wrapped) return std::nullopt;
  auto name = OpenPerson(**person, keys_, **wrapped);
  return name ? std::optional(std::move(*name)) : std::nullopt;
}

std::optional<uint64_t> Names::IntroductionOf(const SubjectToken& token) {
  if (auto it = seen_.find(token); it != seen_.end()) return it->second;
  auto seq = index_.IntroductionOf(token);
  return seq ? *seq : std::nullopt;
}

}  // namespace ecluse
