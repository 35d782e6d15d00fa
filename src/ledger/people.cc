#include "ledger/people.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/json.hpp>
#include <cstring>

#include "base/bytes.h"
#include "base/check.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/random.h"
#include "ledger/entries.h"
#include "ledger/facts.h"
#include "ledger/json.h"
#include "vault/xaes.h"

namespace ecluse {
namespace {

template <typename Array>
std::string_view Text(const Array& bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

Error IndexStopped() {
  return Error{std::string(sqlstate::kIo),
               "the ledger's index cannot be written, and keys go with it",
               "see the gate's log, mend the disk, then restart the gate: it finishes what the ledger says",
               "ledger.index",
               {},
               0};
}

KeyId PersonKeyId(const SubjectToken& token) {
  KeyId id;
  std::copy_n(token.begin(), id.size(), id.begin());
  return id;
}

}  // namespace

Result<std::optional<PersonEntry>> ReadPersonEntry(std::string_view json) {
  // Canonical order puts `kind` first where an entry has none of the members before it, and these have none.
  if (!json.starts_with(R"({"kind":"person",)")) return std::nullopt;
  boost::system::error_code failed;
  boost::json::value parsed = boost::json::parse({json.data(), json.size()}, failed);
  if (failed || !parsed.is_object()) return LedgerDamaged("a person entry is not JSON");
  const auto text = [&](std::string_view name) { return std::string(TextOf(parsed.get_object(), name)); };
  auto token = Base64UrlDecode(text("subject"));
  auto sealed = Base64UrlDecode(text("person"));
  if (!token || token->size() != sizeof(SubjectToken) || !sealed)
    return LedgerDamaged("a person entry has no token or id");
  PersonEntry entry;
  std::copy(token->begin(), token->end(), entry.token.begin());
  entry.sealed_id.assign(sealed->begin(), sealed->end());
  entry.origin = {text("register"), text("node")};
  return entry;
}

Result<std::string> OpenPerson(const PersonEntry& entry, KeyRing& keys, std::string_view wrapped_key) {
  ECLUSE_TRY(Secret secret, keys.generations().Unwrap(wrapped_key, WrapBinding(entry.token)));
  if (secret.size() != kXaesKey) return LedgerDamaged("a person's key has the wrong size");
  auto id = OpenEnvelope(Xaes(std::move(secret)), entry.sealed_id, PersonBinding(entry.origin, entry.token));
  if (!id) return LedgerDamaged("the id of a person does not open");
  return std::move(*id);
}

Result<std::optional<std::string>> ReadKeyEntry(std::string_view json) {
  if (!json.starts_with(R"({"kind":"key",)")) return std::nullopt;
  boost::system::error_code failed;
  boost::json::value parsed = boost::json::parse({json.data(), json.size()}, failed);
  if (failed || !parsed.is_object()) return LedgerDamaged("a key entry is not JSON");
  const std::string_view text = TextOf(parsed.get_object(), "reason");
  if (!text.starts_with(kMadeKey)) return std::nullopt;
  return std::string(text.substr(kMadeKey.size(), 16));
}

People::People(PeopleOptions options, KeyRing& keys, std::unique_ptr<PersonKeys> persons, std::unique_ptr<Store> index)
    : options_(std::move(options)),
      keys_(keys),
      person_keys_(std::move(persons)),
      index_(std::move(index)),
      rows_(keys),
      tokens_(limits::kPeopleCache) {}

People::~People() {
  if (!thread_.joinable()) return;
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_one();
  thread_.join();
}

Result<std::unique_ptr<People>> People::Open(PeopleOptions options, KeyRing& keys) {
  options.keys.mode = options.fresh ? Store::Mode::create : Store::Mode::existing;
  ECLUSE_TRY(auto persons, PersonKeys::Open(options.keys, keys));
  ECLUSE_TRY(auto index, Store::Open(options.index_path, Store::Mode::create));
  ECLUSE_TRY(auto meta, index->Get(index_format::kMeta));
  ECLUSE_TRY(bool empty, index->Empty());
  if (!meta && !empty && !options.fresh) {
    Log().info("the ledger's index is of another version and is made again");
    index.reset();
    ECLUSE_OK(Store::Destroy(options.index_path));
    ECLUSE_TRY(index, Store::Open(options.index_path, Store::Mode::create));
  }
  if (options.fresh) {
    ECLUSE_TRY(bool nobody, persons->store().Empty());
    ECLUSE_TRY(bool nothing, index->Empty());
    if (!nobody || !nothing)
      return LedgerDamaged(options.folder.path + " is empty, and there are keys of people in it");
  }
  return std::unique_ptr<People>(new People(std::move(options), keys, std::move(persons), std::move(index)));
}

Status People::CatchUp(uint64_t size) {
  ECLUSE_TRY(auto found, index_->Get(index_format::kMeta));
  auto meta = found ? index_format::DecodeMeta(*found) : std::nullopt;
  if (found && (!meta || meta->ledger != Text(options_.folder.ledger)))
    return Fail(sqlstate::kIo, "the ledger's index belongs to another ledger",
                fmt::format("move {} away: it is made again from the ledger", options_.index_path), "ledger.index");
  uint64_t from = meta ? meta->size : 0;
  if (from > size)
    return LedgerDamaged(
        fmt::format("the index knows {} entries and the ledger holds {}: the last were lost", from, size));
  if (!meta || from < size) ECLUSE_OK(IndexRange(from, size));
  news_.size = indexed_ = size;
  thread_ = std::thread([this] { Run(); });
  return {};
}

// Reads entries and indexes them. Few are put, many are filled in as sorted files.
Status People::IndexRange(uint64_t from, uint64_t end) {
  const bool many = end - from > options_.fill;
  uint64_t unopened = 0, seen = from, told = from;
  Status problem;
  IndexRows::Pairs pairs;
  auto flush = [&](uint64_t to) -> Status {
    rows_.Take(pairs);
    pairs.emplace_back(index_format::kMeta, index_format::Encode({to, std::string(Text(options_.folder.ledger)), {}}));
    Status done = many ? index_->Ingest(std::exchange(pairs, {})) : index_->Put(pairs, false);
    pairs.clear();
    if (many && done && seen - told >= options_.fill) {
      Log().info("index: {} of {} entries", seen, end);
      told = seen;
    }
    return done;
  };
  auto add = [&](const EntryView& entry) -> Status {
    seen = entry.seq + 1;
    IndexedEntry indexed{entry.seq, entry.json.size(), {}, {}, {}, {}, false};
    ECLUSE_TRY(auto announced, ReadKeyEntry(entry.json));
    if (announced) pairs.emplace_back(index_format::KeyOfAnnounced(*announced), "");
    ECLUSE_TRY(auto person, ReadPersonEntry(entry.json));
    if (person) {
      rows_.Add(indexed);
      ECLUSE_TRY(auto wrapped, person_keys_->store().Get(Text(person->token)));
      if (!wrapped) {
        ++unopened;
        return {};
      }
      auto opened = OpenPerson(*person, keys_, *wrapped);
      if (!opened && opened.error().rule == kGenerationGone) {
        ++unopened;
        return {};
      }
      ECLUSE_TRY(const std::string name, std::move(opened));
      size_t colon = std::min(name.find(':'), name.size() - 1);
      SubjectKey key;
      keys_.SubjectKey(std::string_view(name).substr(0, colon), std::string_view(name).substr(colon + 1), key.data());
      pairs.emplace_back(index_format::KeyOfSubject(key), Text(person->token));
      pairs.emplace_back(index_format::KeyOfToken(person->token), index_format::Encode({key, entry.seq}));
      return {};
    }
    // What does not open is indexed by what stands outside.
    ECLUSE_TRY(EntryFacts facts, ReadFacts(entry.seq, entry.json, keys_));
    indexed.principal = facts.principal;
    indexed.role = facts.role;
    indexed.address = facts.address;
    indexed.people = facts.People();
    indexed.closed = facts.sealed && !facts.opened;
    indexed.erases = facts.kind == EntryKindName(EntryKind::erasure) && facts.reason.starts_with(kErasedByKey);
    if (indexed.erases) {
      ECLUSE_OK(flush(entry.seq));  // whoever it names may stand among the pairs
      ECLUSE_OK(Erase(indexed));
    }
    rows_.Add(indexed);
    return {};
  };
  Entries entries(options_.folder);
  ECLUSE_OK(entries.Visit(from, end, [&](const EntryView& entry) {
    problem = add(entry);
    if (problem && pairs.size() + rows_.size() >= (many ? options_.fill : limits::kIndexPut)) problem = flush(seen);
    return problem.has_value();
  }));
  ECLUSE_OK(problem);
  if (unopened > 0) Log().warn("{} people of the ledger have no key any more: their ids stay closed", unopened);
  return flush(seen);
}

// Its people lose their keys, and the index does not know them any more. Before the index says that it has reached the
// entry: interrupted, it is done again.
Status People::Erase(const IndexedEntry& entry) {
  ECLUSE_TRY(const auto known, KeysOf(entry.people));
  for (const auto& [token, person] : known)
    ECLUSE_OK(person_keys_->DestroyValueKey(person, {options_.folder.ledger, entry.seq}));
  std::vector<SubjectToken> elsewhere;
  for (const SubjectToken& token : entry.people) {
    ECLUSE_TRY(const bool here, person_keys_->Destroy(token));
    if (!here) elsewhere.push_back(token);
    ECLUSE_OK(ForgetPerson(*index_, token));
  }
  return elsewhere.empty() ? Status() : person_keys_->DestroyInFormer(elsewhere);
}

const SubjectToken* People::Known(const SubjectKey& key) {
  if (!pending_.empty()) {
    if (auto it = pending_.find(key); it != pending_.end()) return &it->second;
  }
  return tokens_.Find(key);
}

Result<QueuedEntry> People::Introduce(const PersonName& person) {
  if (person.space.empty() || person.space.find(':') != std::string_view::npos || person.id.empty() ||
      person.id.size() > limits::kSubjectId)
    return Fail(sqlstate::kIo,
                "a person's id is empty or too long to be recorded, so nothing about them can be released",
                fmt::format("ids have at most {} bytes", limits::kSubjectId), "ledger.person");
  auto introduction = std::make_unique<Introduction>();
  introduction->key = person.key;
  RandomBytes(introduction->token);
  Secret secret(kXaesKey);
  RandomBytes(secret.mutable_bytes());
  introduction->wrapped_key = keys_.generations().Wrap(secret.text(), WrapBinding(introduction->token));
  std::string name = fmt::format("{}:{}", person.space, person.id);
  std::string sealed = SealEnvelope(Xaes(std::move(secret)), PersonKeyId(introduction->token), name,
                                    PersonBinding(options_.origin, introduction->token));
  QueuedEntry entry;
  entry.entry = RenderPerson(introduction->token, sealed, options_.origin);
  entry.introduces = std::move(introduction);
  return entry;
}

Result<std::vector<SubjectToken>> People::TokensOf(Writer& writer, std::span<const PersonName> people) {
  std::vector<SubjectToken> tokens(people.size());
  std::vector<Newcomer> unknown;
  uint64_t flushes;
  boost::unordered_flat_set<SubjectToken, SubjectKeyHash> erasing;
  {
    std::lock_guard lock(mutex_);
    for (size_t i = 0; i < people.size(); ++i) {
      if (const SubjectToken* token = Known(people[i].key)) {
        tokens[i] = *token;
      } else {
        unknown.push_back({i, {}, {}});
      }
    }
    flushes = flushes_;
    erasing = erasing_;
  }
  if (unknown.empty()) return tokens;
  ECLUSE_OK(LookUp(people, unknown));
  for (Newcomer& one : unknown) {
    if (one.stored && !erasing.contains(*one.stored)) continue;
    ECLUSE_TRY(one.introduction, Introduce(people[one.number]));
  }
  std::lock_guard lock(mutex_);
  // Somebody else may have introduced them in the meantime, and the index thread have taken them from memory since; or
  // they were erased.
  if (flushes != flushes_) ECLUSE_OK(LookUp(people, unknown));
  for (Newcomer& one : unknown) {
    const SubjectKey& key = people[one.number].key;
    SubjectToken& token = tokens[one.number];
    if (one.stored && !erasing_.contains(*one.stored)) {
      token = *one.stored;
      tokens_.Put(key, token);
    } else if (const SubjectToken* known = Known(key)) {
      token = *known;
    } else {
      if (!one.introduction) {
        ECLUSE_TRY(one.introduction, Introduce(people[one.number]));
      }
      token = one.introduction->introduces->token;
      pending_.emplace(key, token);
      pending_keys_.emplace(token, key);
      // Under the lock: nobody gets this token before its introduction has its place in the queue.
      writer.Submit(std::move(*one.introduction));
    }
  }
  return tokens;
}

// Fills in the tokens of those whom the index knows.
Status People::LookUp(std::span<const PersonName> people, std::vector<Newcomer>& unknown) const {
  std::vector<std::string> names;
  std::vector<Newcomer*> asked;
  for (Newcomer& one : unknown) {
    one.stored.reset();
    asked.push_back(&one);
    names.push_back(index_format::KeyOfSubject(people[one.number].key));
  }
  ECLUSE_TRY(auto stored, index_->GetMany(names));
  for (size_t i = 0; i < asked.size(); ++i) {
    if (!stored[i]) continue;
    SubjectToken& token = asked[i]->stored.emplace();
    if (stored[i]->size() != token.size()) return LedgerDamaged("the index holds a token of the wrong size");
    std::memcpy(token.data(), stored[i]->data(), token.size());
  }
  return {};
}

void People::Durable(DurableNews news) {
  std::lock_guard lock(mutex_);
  bool idle = news_.introduced.empty() && news_.announced.empty();
  auto move = [](auto& from, auto& to) {
    to.insert(to.end(), std::make_move_iterator(from.begin()), std::make_move_iterator(from.end()));
  };
  move(news.introduced, news_.introduced);
  move(news.announced, news_.announced);
  for (const IndexedEntry& entry : news.entries) backlog_ += 1 + entry.people.size();
  if (backlog_ > options_.backlog) reread_ = true;
  if (reread_)
    news_.entries.clear();
  else
    move(news.entries, news_.entries);
  news_.size = news.size;
  news_.last = news.last;
  // The rest may wait for the next round: whoever asks before reads the ledger's end itself.
  if (idle && !(news_.introduced.empty() && news_.announced.empty())) changed_.notify_one();
}

Status People::Round(DurableNews news, bool reread) {
  IndexRows::Pairs pairs;
  for (const IndexedEntry& entry : news.entries)
    if (entry.erases) ECLUSE_OK(Erase(entry));  // whom the index has long known: see BeginErasure()
  for (const Introduction& one : news.introduced) {
    pairs.emplace_back(index_format::KeyOfSubject(one.key), Text(one.token));
    pairs.emplace_back(index_format::KeyOfToken(one.token), index_format::Encode({one.key, one.seq}));
  }
  for (const std::string& id : news.announced) pairs.emplace_back(index_format::KeyOfAnnounced(id), "");
  auto indexed_to = [&](uint64_t size) {
    const RecordPlace last = news.last.seq + 1 == size ? news.last : RecordPlace();
    pairs.emplace_back(index_format::kMeta,
                       index_format::Encode({size, std::string(Text(options_.folder.ledger)), last}));
  };
  for (const IndexedEntry& entry : news.entries) {
    rows_.Add(entry);
    if (pairs.size() + rows_.size() < limits::kIndexPut) continue;
    rows_.Take(pairs);
    indexed_to(entry.seq + 1);
    ECLUSE_OK(index_->Put(std::exchange(pairs, {}), false));
  }
  rows_.Take(pairs);
  if (!reread) indexed_to(news.size);
  if (!pairs.empty()) ECLUSE_OK(index_->Put(pairs, false));
  return reread ? IndexRange(indexed_, news.size) : Status();
}

void People::Run() {
  std::unique_lock lock(mutex_);
  while (true) {
    auto due = [this] { return stopping_ || !news_.introduced.empty() || !news_.announced.empty(); };
    changed_.wait_for(lock, limits::kIndexEvery, due);
    if (!index_failed_ && news_.size != indexed_) {
      DurableNews news = std::exchange(news_, {});
      news_.size = news.size;
      const bool reread = std::exchange(reread_, false);
      backlog_ = 0;
      std::vector<Introduction> introduced = news.introduced;
      std::vector<SubjectToken> erased;
      for (const IndexedEntry& entry : news.entries)
        if (entry.erases) erased.insert(erased.end(), entry.people.begin(), entry.people.end());
      const uint64_t size = news.size;
      lock.unlock();
      Status written = Round(std::move(news), reread);
      lock.lock();
      if (written) {
        Indexed(introduced, erased, size);
      } else {
        // Nothing is lost: the index is derived, and what is pending stays in memory until the next start catches it
        // up.
        index_failed_ = true;
        indexed_to_.notify_all();
        Log().error("the ledger's index cannot be written: {} ({})", written.error().message,
                    written.error().operator_detail);
      }
    }
    if (index_failed_) {
      news_ = {};
      backlog_ = 0;
    }
    if (stopping_ && (index_failed_ || news_.size == indexed_)) return;
  }
}

void People::Indexed(const std::vector<Introduction>& introduced, const std::vector<SubjectToken>& erased,
                     uint64_t size) {
  indexed_ = size;
  ++flushes_;
  for (const SubjectToken& token : erased) erasing_.erase(token);
  for (const Introduction& one : introduced) {
    pending_.erase(one.key);
    pending_keys_.erase(one.token);
    tokens_.Put(one.key, one.token);
  }
  indexed_to_.notify_all();
}

Result<std::optional<SubjectToken>> People::Erasable(const PersonName& person, const Writer& writer, Deadline until) {
  std::vector<Newcomer> one(1);
  std::unique_lock lock(mutex_);
  // What is still to be written to the index would come back behind what is taken out of it.
  while (!index_failed_ && pending_.contains(person.key)) {
    if (auto failure = writer.failure()) return std::unexpected(*failure);
    if (indexed_to_.wait_for(lock, limits::kErasureLook) == std::cv_status::timeout && Deadline::clock::now() >= until)
      return Fail(sqlstate::kIo, "that the person is named is not written down yet, for the ledger cannot be written",
                  "see the gate's log, and try again", "ledger.erase");
  }
  if (index_failed_) return std::unexpected(IndexStopped());
  ECLUSE_OK(LookUp({&person, 1}, one));
  if (!one[0].stored || erasing_.contains(*one[0].stored)) return std::nullopt;
  return one[0].stored;
}

bool People::BeginErasure(const PersonName& person, const SubjectToken& token, Writer& writer, QueuedEntry entry) {
  std::lock_guard lock(mutex_);
  if (!erasing_.insert(token).second) return false;
  tokens_.Forget(person.key);
  person_keys_->BeginErasure(person.key);
  // Under the lock: whoever names them anew has a later place in the queue, and so in the ledger.
  writer.Submit(std::move(entry));
  return true;
}

Status People::AwaitIndexed(uint64_t size, Deadline until) {
  std::unique_lock lock(mutex_);
  const bool reached = indexed_to_.wait_until(lock, until, [&] { return index_failed_ || indexed_ >= size; });
  if (index_failed_) return std::unexpected(IndexStopped());
  if (reached) return {};
  return Fail(sqlstate::kIo, "it is written down, and the keys have not gone yet",
              "they go as soon as the index has reached the entry: see the gate's log", "ledger.erase");
}

Result<std::vector<std::pair<SubjectToken, SubjectKey>>> People::KeysOf(std::span<const SubjectToken> tokens) {
  std::vector<std::pair<SubjectToken, SubjectKey>> out;
  std::vector<SubjectToken> missing;
  {
    std::lock_guard lock(mutex_);
    for (const SubjectToken& token : tokens) {
      auto it = pending_keys_.find(token);
      it != pending_keys_.end() ? out.emplace_back(token, it->second), void() : missing.push_back(token);
    }
  }
  std::vector<std::string> names;
  for (const SubjectToken& token : missing) names.push_back(index_format::KeyOfToken(token));
  ECLUSE_TRY(auto values, index_->GetMany(names));
  for (size_t i = 0; i < missing.size(); ++i) {
    auto value = values[i] ? index_format::DecodeToken(*values[i]) : std::nullopt;
    if (value) out.emplace_back(missing[i], value->key);
  }
  return out;
}

Result<bool> People::Announced(const std::string& key_id) const {
  ECLUSE_TRY(auto found, index_->Get(index_format::KeyOfAnnounced(key_id)));
  return found.has_value();
}

}  // namespace ecluse
