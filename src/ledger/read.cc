// Reading a ledger from outside the gate that writes it.
#include <boost/json.hpp>
#include <unordered_map>

#include "base/bytes.h"
#include "base/file.h"
#include "base/limits.h"
#include "ledger/entries.h"
#include "ledger/json.h"
#include "ledger/ledger.h"
#include "ledger/open_entry.h"
#include "ledger/origin.h"
#include "ledger/people.h"
#include "ledger/recovery.h"

namespace ecluse {
namespace {

// Names of people as `space:id`: through the index where it knows them, else through introductions read on the way.
class Names {
 public:
  Names(const SegmentFolder& folder, const std::string& data_dir, KeyRing& keys) : entries_(folder), keys_(keys) {
    // Without a store names stay tokens: reading what there is beats refusing.
    if (auto store = Store::Open(data_dir + "/keys/persons", Store::Mode::read_only)) persons_ = std::move(*store);
    if (auto store = Store::Open(data_dir + "/index", Store::Mode::read_only)) index_ = std::move(*store);
    auto meta = index_ ? index_->Get(index_format::kMeta) : std::nullopt;
    if (meta && *meta && (*meta)->size() == 24) indexed_ = LoadU64((*meta)->data());
  }

  void Saw(const EntryView& entry) {
    if (entry.seq < indexed_) return;
    auto person = ReadPersonEntry(entry.json);
    if (person && *person) seen_[(*person)->token] = entry.seq;
  }

  std::optional<std::string> NameOf(const SubjectToken& token) {
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

  std::optional<std::string> NameIn(std::string_view person_entry) {
    auto person = ReadPersonEntry(person_entry);
    if (!person || !*person || !persons_) return std::nullopt;
    const SubjectToken& token = (*person)->token;
    auto wrapped = persons_->Get({reinterpret_cast<const char*>(token.data()), token.size()});
    if (!wrapped || !*wrapped) return std::nullopt;
    auto name = OpenPerson(**person, keys_, **wrapped);
    return name ? std::optional(std::move(*name)) : std::nullopt;
  }

 private:
  std::optional<uint64_t> IntroductionOf(const SubjectToken& token) {
    if (auto it = seen_.find(token); it != seen_.end()) return it->second;
    if (!index_) return std::nullopt;
    auto value = index_->Get(index_format::KeyOfToken(token));
    if (!value || !*value) return std::nullopt;
    auto decoded = index_format::Decode(**value);
    return decoded ? std::optional(decoded->seq) : std::nullopt;
  }

  Entries entries_;
  KeyRing& keys_;
  std::unique_ptr<Store> persons_, index_;
  uint64_t indexed_ = 0;
  std::unordered_map<SubjectToken, uint64_t, SubjectKeyHash> seen_;
  std::unordered_map<SubjectToken, std::string, SubjectKeyHash> recent_;
};

std::string Opened(const EntryView& entry, Names& names, KeyRing& keys) {
  if (auto name = names.NameIn(entry.json)) {
    std::string out = "{\"person\":";
    AppendJsonString(out, *name);
    return out + "}";
  }
  auto opened = OpenSealed(entry.json, keys);
  if (!opened || opened->empty()) return {};
  return WithNames(*opened, [&](const SubjectToken& token) { return names.NameOf(token); });
}

}  // namespace

Status Ledger::Read(const LedgerOptions& options, KeyRing* keys, int64_t since,
                    const std::function<bool(const StoredEntry&)>& visit) {
  SegmentFolder folder{options.files != nullptr ? options.files : &RealFiles(), options.data_dir + "/ledger", {}, 0};
  ECLUSE_TRY(auto present, folder.files->Find(folder.path + "/origin"));
  if (!present)
    return Fail(sqlstate::kIo, "there is no ledger in " + options.data_dir, "it is made when the gate first serves",
                "ledger.none");
  std::string origin;
  ECLUSE_TRY(folder.ledger, ReadOrigin(folder, &origin));
  Entries entries(folder);
  ECLUSE_TRY(uint64_t first, entries.FirstSince(UINT64_MAX, since));
  std::optional<Names> names;
  if (keys != nullptr) names.emplace(folder, options.data_dir, *keys);
  return entries.Visit(first, UINT64_MAX, [&](const EntryView& read) {
    if (names) names->Saw(read);
    StoredEntry entry{read.seq, EntryTime(read.json), std::string(read.json), {}};
    if (names) entry.opened = Opened(read, *names, *keys);
    return visit(entry);
  });
}

}  // namespace ecluse
