#include "ledger/index.h"

#include <algorithm>
#include <cstring>

#include "base/bytes.h"
#include "base/limits.h"
#include "tlog/tile.h"

namespace ecluse {
namespace {

template <typename Array>
std::string_view Text(const Array& bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

uint64_t LastOf(std::string_view key) { return LoadU64(key.data() + key.size() - 8); }

// No space of a policy begins like this, so no person has the key of a facet.
constexpr std::string_view kFacetNames[] = {"\x01principal", "\x01role",
                                            "\x01"
                                            "address"};

}  // namespace

namespace index_format {

std::string KeyOfSubject(const SubjectKey& key) { return std::string("k").append(Text(key)); }
std::string KeyOfToken(const SubjectToken& token) { return std::string("t").append(Text(token)); }
std::string KeyOfAnnounced(std::string_view key_id) { return std::string("a").append(key_id); }
std::string KeyOfClosed(uint64_t seq) {
  std::string key("c");
  AppendU64(key, seq);
  return key;
}
std::string KeyOfBundle(uint64_t number) {
  std::string key("b");
  AppendU64(key, number);
  return key;
}

std::string KeyOfPlaces(char kind, const SubjectKey& of, uint64_t last) {
  std::string key(1, kind);
  key.append(Text(of));
  AppendU64(key, last);
  return key;
}

// From the last one back, how far the one before it is: seven bits a byte, the lowest first, the eighth where more
// follow (LEB128).
std::string EncodePlaces(std::span<const uint64_t> seqs) {
  std::string out;
  for (size_t i = seqs.size(); i > 1; --i) {
    uint64_t back = seqs[i - 1] - seqs[i - 2];
    for (; back >= 0x80; back >>= 7) out += static_cast<char>(back | 0x80);
    out += static_cast<char>(back);
  }
  return out;
}

std::optional<std::vector<uint64_t>> DecodePlaces(std::string_view key, std::string_view value) {
  if (key.size() != 1 + sizeof(SubjectKey) + 8) return std::nullopt;
  std::vector<uint64_t> seqs = {LastOf(key)};
  uint64_t back = 0;
  unsigned shift = 0;
  for (const char c : value) {
    const auto byte = static_cast<uint8_t>(c);
    if (shift > 56) return std::nullopt;
    back |= uint64_t{byte & 0x7Fu} << shift;
    shift += 7;
    if (byte >= 0x80) continue;
    if (back == 0 || back > seqs.back()) return std::nullopt;
    seqs.push_back(seqs.back() - back);
    back = shift = 0;
  }
  if (shift != 0) return std::nullopt;
  std::ranges::reverse(seqs);
  return seqs;
}

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
  out += meta.ledger;
  AppendU64(out, meta.last.segment);
  AppendU64(out, meta.last.offset);
  return out;
}

std::optional<Meta> DecodeMeta(std::string_view bytes) {
  if (bytes.size() != 40) return std::nullopt;
  const uint64_t size = LoadU64(bytes.data());
  const RecordPlace last{size - 1, size == 0 ? 0 : LoadU64(bytes.data() + 24), LoadU64(bytes.data() + 32)};
  return Meta{size, std::string(bytes.substr(8, 16)), last};
}

}  // namespace index_format

std::unexpected<Error> IndexDamaged() {
  return Fail(
      sqlstate::kIo, "the ledger's index is damaged",
      "stop the gate and remove <data_dir>/index: it is made again from the ledger at the next start (a removal "
      "that was interrupted is finished first: `ecluse ledger prune`)",
      "ledger.index");
}

Status PruneIndex(Store& index, uint64_t end, const boost::unordered_flat_set<SubjectToken, SubjectKeyHash>& gone) {
  std::vector<std::string> rows;
  IndexRows::Pairs shorter;
  Status problem;
  const auto change = [&](size_t least) {
    if (rows.size() + shorter.size() < least) return problem.has_value();
    problem = index.Remove(std::exchange(rows, {}));
    if (problem) problem = index.Put(std::exchange(shorter, {}), true);
    return problem.has_value();
  };
  const auto is_gone = [&](std::string_view bytes) {
    SubjectToken token;
    if (bytes.size() != token.size()) return false;
    std::memcpy(token.data(), bytes.data(), token.size());
    return gone.contains(token);
  };
  ECLUSE_OK(index.Visit("", "\xff", [&](std::string_view key, std::string_view value) {
    const bool places = key.starts_with(index_format::kNamed) || key.starts_with(index_format::kFacet);
    const bool about_person =
        (key.starts_with('t') && is_gone(key.substr(1))) || (key.starts_with('k') && is_gone(value));
    const bool about_entry = (places || key.starts_with('c')) && key.size() >= 9 && LastOf(key) < end;
    const bool about_bundle = key.starts_with('b') && key.size() >= 9 && LastOf(key) < end / kTileWidth;
    if (about_person || about_entry || about_bundle) {
      rows.emplace_back(key);
    } else if (places) {
      auto seqs = index_format::DecodePlaces(key, value);
      if (!seqs) problem = IndexDamaged();
      if (seqs && seqs->front() < end) {
        seqs->erase(seqs->begin(), std::ranges::lower_bound(*seqs, end));
        shorter.emplace_back(key, index_format::EncodePlaces(*seqs));
      }
    }
    return problem && change(limits::kIndexPut);
  }));
  ECLUSE_OK(problem);
  if (!change(1)) return problem;
  return index.Compact();
}

Status ForgetPerson(Store& index, const SubjectToken& token) {
  std::vector<std::string> rows = {index_format::KeyOfToken(token)};
  ECLUSE_TRY(const auto found, index.Get(rows[0]));
  const auto known = found ? index_format::DecodeToken(*found) : std::nullopt;
  if (!known) return {};
  const std::string by_name = index_format::KeyOfSubject(known->key);
  ECLUSE_TRY(const auto behind, index.Get(by_name));
  if (behind && std::ranges::equal(*behind, token, {}, [](char c) { return static_cast<uint8_t>(c); }))
    rows.push_back(by_name);
  ECLUSE_OK(index.Remove(rows));
  for (const std::string& row : rows) ECLUSE_OK(index.CompactAround(row));
  return {};
}

IndexedEntry IndexedBy(EntryDraft&& draft) {
  IndexedEntry entry{0, 0, std::move(draft.principal), std::move(draft.role), std::move(draft.address), {}};
  entry.erases = draft.kind == EntryKind::erasure && draft.reason.starts_with(kErasedByKey);
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

void IndexRows::Add(const IndexedEntry& entry) {
  for (const SubjectToken& token : entry.people) places_.push_back({index_format::kNamed, token, entry.seq});
  const auto add = [&](Facet facet, const std::string& value) {
    if (!value.empty()) places_.push_back({index_format::kFacet, KeyOf(facet, value), entry.seq});
  };
  add(Facet::principal, entry.principal);
  add(Facet::role, entry.role);
  add(Facet::address, entry.address);
  if (entry.closed) closed_.push_back(entry.seq);
  const uint64_t place = entry.seq % kTileWidth;
  if (entry.seq != next_ || entry.length > limits::kEntry) lengths_.clear();
  next_ = entry.seq + 1;
  if (lengths_.size() != 2 * place) return;
  AppendU16(lengths_, static_cast<uint16_t>(entry.length));
  if (place + 1 == kTileWidth) full_.emplace_back(entry.seq / kTileWidth, std::exchange(lengths_, {}));
}

void IndexRows::Take(Pairs& out) {
  std::ranges::sort(places_);
  const auto [last, end] = std::ranges::unique(places_);
  places_.erase(last, end);
  std::vector<uint64_t> seqs;
  for (size_t i = 0; i < places_.size(); ++i) {
    const Place& place = places_[i];
    seqs.push_back(place.seq);
    const bool more = i + 1 < places_.size() && places_[i + 1].kind == place.kind && places_[i + 1].of == place.of;
    if (more && seqs.size() < limits::kPlacesTogether) continue;
    out.emplace_back(index_format::KeyOfPlaces(place.kind, place.of, place.seq), index_format::EncodePlaces(seqs));
    seqs.clear();
  }
  for (const uint64_t seq : closed_) out.emplace_back(index_format::KeyOfClosed(seq), "");
  for (auto& [number, lengths] : full_) out.emplace_back(index_format::KeyOfBundle(number), std::move(lengths));
  full_.clear();
  places_.clear();
  closed_.clear();
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
  reader.last_ = meta->last;
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

Result<std::vector<uint64_t>> IndexReader::Range(char kind, const SubjectKey& of, uint64_t first, uint64_t end) const {
  std::vector<uint64_t> out;
  if (!store_ || first >= end) return out;
  bool damaged = false;
  ECLUSE_OK(store_->Visit(index_format::KeyOfPlaces(kind, of, first), index_format::KeyOfPlaces(kind, of, UINT64_MAX),
                          [&](std::string_view key, std::string_view value) {
                            const auto seqs = index_format::DecodePlaces(key, value);
                            damaged = !seqs;
                            if (damaged) return false;
                            const auto from = std::ranges::lower_bound(*seqs, first);
                            const auto to = std::ranges::lower_bound(*seqs, end);
                            out.insert(out.end(), from, to);
                            return to == seqs->end();
                          }));
  if (damaged) return IndexDamaged();
  return out;
}

Result<std::vector<uint64_t>> IndexReader::Naming(const SubjectToken& token, uint64_t first, uint64_t end) const {
  return Range(index_format::kNamed, token, first, end);
}

Result<std::vector<uint64_t>> IndexReader::Closed(uint64_t first, uint64_t end) const {
  std::vector<uint64_t> out;
  if (!store_ || first >= end) return out;
  ECLUSE_OK(store_->Visit(index_format::KeyOfClosed(first), index_format::KeyOfClosed(end),
                          [&](std::string_view key, std::string_view) {
                            out.push_back(LastOf(key));
                            return true;
                          }));
  return out;
}

std::optional<uint64_t> IndexReader::PlaceInBundle(uint64_t seq) const {
  if (!store_) return std::nullopt;
  const auto lengths = store_->Get(index_format::KeyOfBundle(seq / kTileWidth));
  if (!lengths || !*lengths || (*lengths)->size() != 2 * kTileWidth) return std::nullopt;
  uint64_t offset = 0;
  for (size_t i = 0; i < seq % kTileWidth; ++i) offset += 2 + LoadU16((*lengths)->data() + 2 * i);
  return offset;
}

Result<std::vector<uint64_t>> IndexReader::By(Facet facet, std::string_view value, uint64_t first, uint64_t end) const {
  return Range(index_format::kFacet, index_format::FacetKey(*keys_, facet, value), first, end);
}

}  // namespace ecluse
