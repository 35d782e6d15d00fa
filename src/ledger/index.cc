#include "ledger/index.h"

#include <algorithm>
#include <cstring>

#include "base/bytes.h"
#include "base/limits.h"

namespace ecluse {
namespace {

template <typename Array>
std::string_view Text(const Array& bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

std::string Place(char kind, const SubjectKey& of, uint64_t seq) {
  std::string key(1, kind);
  key.append(Text(of));
  AppendU64(key, seq);
  return key;
}

// No space of a policy begins like this, so no person has the key of a facet.
constexpr std::string_view kFacetNames[] = {"\x01principal", "\x01role",
                                            "\x01"
                                            "address"};

}  // namespace

namespace index_format {

std::string KeyOfSubject(const SubjectKey& key) { return std::string("k").append(Text(key)); }
std::string KeyOfToken(const SubjectToken& token) { return std::string("t").append(Text(token)); }
std::string KeyOfAnnounced(std::string_view key_id) { return std::string("a").append(key_id); }
std::string KeyOfNamed(const SubjectToken& token, uint64_t seq) { return Place('s', token, seq); }
std::string KeyOfClosed(uint64_t seq) {
  std::string key("c");
  AppendU64(key, seq);
  return key;
}
std::string KeyOfFacet(const SubjectKey& facet, uint64_t seq) { return Place('f', facet, seq); }

SubjectKey FacetKey(const KeyRing& keys, Facet facet, std::string_view value) {
  SubjectKey key;
  keys.SubjectKey(kFacetNames[static_cast<size_t>(facet)], value, key.data());
  return key;
}

std::string Encode(const TokenValue& value) {
  std::string out(Text(value.key));
  AppendU64(out, value.seq);
  return out;
}

std::optional<TokenValue> DecodeToken(std::string_view bytes) {
  TokenValue value;
  if (bytes.size() != value.key.size() + 8) return std::nullopt;
  std::memcpy(value.key.data(), bytes.data(), value.key.size());
  value.seq = LoadU64(bytes.data() + value.key.size());
  return value;
}

std::string Encode(const Meta& meta) {
  std::string out;
  AppendU64(out, meta.size);
  return out + meta.ledger;
}

std::optional<Meta> DecodeMeta(std::string_view bytes) {
  if (bytes.size() != 24) return std::nullopt;
  return Meta{LoadU64(bytes.data()), std::string(bytes.substr(8))};
}

}  // namespace index_format

Status PruneIndex(Store& index, uint64_t end, const boost::unordered_flat_set<SubjectToken, SubjectKeyHash>& gone) {
  std::vector<std::string> rows;
  Status problem;
  const auto take_out = [&](size_t least) {
    if (rows.size() >= least) problem = index.Remove(std::exchange(rows, {}));
    return problem.has_value();
  };
  const auto is_gone = [&](std::string_view bytes) {
    SubjectToken token;
    if (bytes.size() != token.size()) return false;
    std::memcpy(token.data(), bytes.data(), token.size());
    return gone.contains(token);
  };
  ECLUSE_OK(index.Visit("", "\xff", [&](std::string_view key, std::string_view value) {
    const bool about_person =
        (key.starts_with('t') && is_gone(key.substr(1))) || (key.starts_with('k') && is_gone(value));
    const bool about_entry = (key.starts_with('s') || key.starts_with('f') || key.starts_with('c')) &&
                             key.size() >= 9 && LoadU64(key.data() + key.size() - 8) < end;
    if (about_person || about_entry) rows.emplace_back(key);
    return take_out(limits::kIndexPut);
  }));
  ECLUSE_OK(problem);
  if (!take_out(1)) return problem;
  return index.Compact();
}

IndexedEntry IndexedBy(EntryDraft&& draft) {
  IndexedEntry entry{0, std::move(draft.principal), std::move(draft.role), std::move(draft.address), {}, false};
  for (EntrySubjects& table : draft.subjects) {
    if (entry.people.empty()) {
      entry.people = std::move(table.returned);
    } else {
      entry.people.insert(entry.people.end(), table.returned.begin(), table.returned.end());
    }
    entry.people.insert(entry.people.end(), table.asked.begin(), table.asked.end());
  }
  return entry;
}

const SubjectKey& IndexRows::KeyOf(Facet facet, const std::string& value) {
  auto& known = known_[static_cast<size_t>(facet)];
  if (known.size() >= limits::kFacetsKept) known.clear();
  auto [at, added] = known.try_emplace(value);
  if (added) at->second = index_format::FacetKey(keys_, facet, value);
  return at->second;
}

void IndexRows::Add(IndexedEntry entry, Pairs& out) {
  std::ranges::sort(entry.people);
  const auto [last, end] = std::ranges::unique(entry.people);
  entry.people.erase(last, end);
  for (const SubjectToken& token : entry.people) out.emplace_back(index_format::KeyOfNamed(token, entry.seq), "");
  auto add = [&](Facet facet, const std::string& value) {
    if (!value.empty()) out.emplace_back(index_format::KeyOfFacet(KeyOf(facet, value), entry.seq), "");
  };
  add(Facet::principal, entry.principal);
  add(Facet::role, entry.role);
  add(Facet::address, entry.address);
  if (entry.closed) out.emplace_back(index_format::KeyOfClosed(entry.seq), "");
}

IndexReader IndexReader::Open(const std::string& data_dir, const LedgerId& ledger, const KeyRing& keys) {
  IndexReader reader(keys);
  auto store = Store::Open(data_dir + "/index", Store::Mode::read_only);
  if (!store) return reader;
  auto found = (*store)->Get(index_format::kMeta);
  auto meta = found && *found ? index_format::DecodeMeta(**found) : std::nullopt;
  if (!meta || meta->ledger != Text(ledger)) return reader;
  reader.store_ = std::move(*store);
  reader.size_ = meta->size;
  return reader;
}

Result<std::optional<SubjectToken>> IndexReader::TokenOf(std::string_view space, std::string_view id) const {
  if (!store_) return std::nullopt;
  SubjectKey key;
  keys_->SubjectKey(space, id, key.data());
  ECLUSE_TRY(auto found, store_->Get(index_format::KeyOfSubject(key)));
  if (!found || found->size() != sizeof(SubjectToken)) return std::nullopt;
  SubjectToken token;
  std::memcpy(token.data(), found->data(), token.size());
  return token;
}

Result<std::optional<uint64_t>> IndexReader::IntroductionOf(const SubjectToken& token) const {
  if (!store_) return std::nullopt;
  ECLUSE_TRY(auto found, store_->Get(index_format::KeyOfToken(token)));
  auto value = found ? index_format::DecodeToken(*found) : std::nullopt;
  return value ? std::optional(value->seq) : std::nullopt;
}

Result<std::vector<uint64_t>> IndexReader::Range(const std::string& first, const std::string& end) const {
  std::vector<uint64_t> out;
  if (!store_) return out;
  ECLUSE_OK(store_->Visit(first, end, [&](std::string_view key, std::string_view) {
    out.push_back(LoadU64(key.data() + key.size() - 8));
    return true;
  }));
  return out;
}

Result<std::vector<uint64_t>> IndexReader::Naming(const SubjectToken& token, uint64_t first, uint64_t end) const {
  return Range(index_format::KeyOfNamed(token, first), index_format::KeyOfNamed(token, end));
}

Result<std::vector<uint64_t>> IndexReader::Closed(uint64_t first, uint64_t end) const {
  return Range(index_format::KeyOfClosed(first), index_format::KeyOfClosed(end));
}

Result<std::vector<uint64_t>> IndexReader::By(Facet facet, std::string_view value, uint64_t first, uint64_t end) const {
  const SubjectKey key = index_format::FacetKey(*keys_, facet, value);
  return Range(index_format::KeyOfFacet(key, first), index_format::KeyOfFacet(key, end));
}

}  // namespace ecluse
