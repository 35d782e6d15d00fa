#include "ledger/person_keys.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <map>

#include "base/bytes.h"
#include "base/file.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/random.h"
#include "base/secret.h"
#include "base/time_text.h"
#include "ledger/entries.h"
#include "ledger/origin.h"
#include "ledger/people.h"
#include "vault/literal_keys.h"

namespace ecluse {
namespace {

std::string KeyOf(const SubjectToken& token) { return {token.begin(), token.end()}; }
std::string StoredAs(const KeyedSubject& person) { return {person.begin(), person.end()}; }

std::optional<SubjectToken> TokenOf(std::string_view key) {
  SubjectToken token;
  if (key.size() != token.size()) return std::nullopt;
  std::ranges::copy(key, token.begin());
  return token;
}

// Of one that is no token nothing is bound to: it does not open.
std::string BindingOfToken(std::string_view key) {
  const auto token = TokenOf(key);
  return token ? WrapBinding(*token) : "";
}

std::string BindingOfPerson(std::string_view key) {
  KeyedSubject person;
  if (key.size() != person.size()) return "";
  std::ranges::copy(key, person.begin());
  return ValueWrapBinding(person);
}

// What the store of value keys holds of a person: by which entry they were erased last, if ever, and behind that their
// key, if they have one.
struct StoredValueKey {
  std::string mark, wrapped;
  explicit StoredValueKey(std::string_view stored = {}) {
    const size_t size = stored.size() % kWrappedSize == kMarkSize ? kMarkSize : 0;  // 24, or 24 and 81; else 81
    mark = stored.substr(0, size);
    wrapped = stored.substr(size);
  }
  std::string Text() const { return mark + wrapped; }
  static std::string Mark(const PersonKeys::Erasure& by) {
    std::string mark(by.ledger.begin(), by.ledger.end());
    AppendU64(mark, by.seq);
    return mark;
  }
  // By that entry, or a later one of the same ledger.
  bool ErasedBy(const PersonKeys::Erasure& by) const {
    const std::string asked = Mark(by);
    return mark.size() == asked.size() && std::string_view(mark).starts_with(asked.substr(0, by.ledger.size())) &&
           mark >= asked;
  }
  static constexpr size_t kMarkSize = sizeof(LedgerId) + 8, kWrappedSize = kEnvelopeOverhead + kXaesKey;
};

const std::string kBehindAll(std::max(sizeof(SubjectToken), sizeof(KeyedSubject)) + 1, '\xff');

std::string StoreIn(const std::string& folder) { return folder + "/keys/persons"; }
std::string ValuesIn(const std::string& data_dir) { return data_dir + "/keys/values"; }
std::string NotePath(const std::string& data_dir) { return data_dir + "/keys/generation"; }

// Of a row of a store: what its key is bound to, and where it stands in the value.
std::string_view WholeValue(std::string_view stored) { return stored; }
std::string_view BehindMark(std::string_view stored) {
  return stored.substr(
      stored.size() % StoredValueKey::kWrappedSize == StoredValueKey::kMarkSize ? StoredValueKey::kMarkSize : 0);
}
const PersonKeys::Parts kOfTokens{BindingOfToken, WholeValue}, kOfValues{BindingOfPerson, BehindMark};

}  // namespace

std::string WrapBinding(const SubjectToken& token) { return "ecluse person key " + Base64UrlEncode(token); }

std::string ValueWrapBinding(const KeyedSubject& person) { return "ecluse value key " + Base64UrlEncode(person); }

Result<std::unique_ptr<PersonKeys>> PersonKeys::Open(PersonKeysOptions options, KeyRing& ring) {
  ECLUSE_TRY(auto store, Store::Open(StoreIn(options.data_dir), options.mode));
  // Values outlive ledgers, and come with the first table that has such: their store is none of a ledger's.
  ECLUSE_TRY(auto values, Store::Open(ValuesIn(options.data_dir), Store::Mode::create));
  std::unique_ptr<PersonKeys> keys(new PersonKeys(std::move(options), ring, std::move(store), std::move(values)));
  ECLUSE_OK(keys->CheckGeneration());
  if (ring.generations().List().empty()) ECLUSE_OK(keys->MakeGeneration());
  ECLUSE_OK(keys->NoteGeneration());
  ring.Attach(keys.get());
  return keys;
}

PersonKeys::~PersonKeys() {
  Stop();
  if (keys_.value_keys() == this) keys_.Attach(attached_before_);
}

void PersonKeys::Stop() {
  if (!thread_.joinable()) return;
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_one();
  thread_.join();
}

// By what was noted when one was made: a file that was put back may lack the newest, and others would still open.
Status PersonKeys::CheckGeneration() const {
  const std::string path = NotePath(options_.data_dir);
  ECLUSE_TRY(const auto noted, RealFiles().Find(path));
  if (!noted) return {};
  ECLUSE_TRY(std::string id, ReadWholeFile(RealFiles(), path, limits::kNote));
  if (id.ends_with('\n')) id.pop_back();
  const auto all = generations_.List();
  if (std::ranges::find(all, id, &GenerationInfo::id) != all.end()) return {};
  return Fail(sqlstate::kIo,
              fmt::format("the root generation {} is not in {}, and people's keys are under it", Printable(id),
                          generations_.path()),
              "put back the newest copy of that file. Where it is the data folder that was put back, from a copy older "
              "than the erasure horizon, nobody whom its ledger names has a name any more: to go on like that, remove "
              "<data_dir>/keys/generation",
              "vault.generations", path);
}

// Also where it was interrupted, or failed, between the file and the note.
Status PersonKeys::NoteGeneration() const {
  const std::string path = NotePath(options_.data_dir), newest = generations_.List().back().id + "\n";
  ECLUSE_TRY(const auto noted, RealFiles().Find(path));
  if (noted) {
    ECLUSE_TRY(const std::string text, ReadWholeFile(RealFiles(), path, limits::kNote));
    if (text == newest) return {};
  }
  return ReplaceFile(RealFiles(), path, newest);
}

Status PersonKeys::MakeGeneration() {
  std::lock_guard lock(keys_mutex_);  // nothing is written under it before it is noted
  ECLUSE_OK(generations_.Make(options_.clock->WallMicros()));
  return NoteGeneration();
}

bool PersonKeys::ClockIsBelieved() const {
  const int64_t horizon = options_.horizon->count();
  return !options_.last_time || opened_wall_ - *options_.last_time <= horizon ||
         options_.clock->BootMicros() - opened_boot_ >= horizon / 10;
}

void PersonKeys::Begin() {
  if (options_.horizon && !ClockIsBelieved())
    Log().warn(
        "the clock is {} days ahead of the ledger's last entry: where that is wrong, stop the gate and correct it "
        "now; {} minutes from now, keys that are due by it are destroyed",
        (opened_wall_ - *options_.last_time) / 86'400'000'000, options_.horizon->count() / 600'000'000);
  if (options_.horizon) thread_ = std::thread([this] { Run(); });
}

bool PersonKeys::Stopping() const {
  std::lock_guard lock(mutex_);
  return stopping_;
}

void PersonKeys::Run() {
  const auto every = std::min<std::chrono::microseconds>(limits::kGenerationCheck, *options_.horizon / 20);
  bool failed = false;
  while (true) {
    const Status renewed = Renew();
    // Once, not every minute.
    if (!renewed && !failed)
      Log().error("the keys of people are not kept erasable: {} {} ({})", renewed.error().message, renewed.error().hint,
                  Printable(renewed.error().operator_detail));
    late_ = failed = !renewed;
    std::unique_lock lock(mutex_);
    if (changed_.wait_for(lock, every, [this] { return stopping_; })) return;
  }
}

Status PersonKeys::Renew() {
  ECLUSE_TRY(const bool mended, generations_.Mend());
  if (mended) Log().error("the file of root generations was gone and is written again: {}", generations_.path());
  ECLUSE_OK(NoteGeneration());
  const int64_t now = options_.clock->WallMicros();
  const int64_t horizon = options_.horizon->count();
  // One that is of a time to come was made by a clock that was ahead: nobody knows how old it is.
  if (const int64_t made = generations_.List().back().made; now - made >= horizon / 2 || made > now)
    ECLUSE_OK(MakeGeneration());
  if (options_.literals_retention && ClockIsBelieved()) {
    ECLUSE_OK(keys_.literal_keys().DestroyEndedBefore(
        now - options_.literals_retention->count(),
        [this](const std::string& month) { return tell_(fmt::format("{}{}", kDestroyLiterals, month)); }));
  }
  const std::vector<GenerationInfo> all = generations_.List();
  if (all.size() == 1) return {};
  if (wrapped_under_ != all.back().id) {
    ECLUSE_OK(WrapAllAnew());
    ECLUSE_OK(keys_.literal_keys().WrapAnew());
    if (Stopping()) return {};
    wrapped_under_ = all.back().id;
  }
  if (!ClockIsBelieved()) return {};
  // None is older than those made behind it. A little before it is due: this looks only now and then.
  std::vector<int64_t> made(all.size());
  int64_t last = INT64_MAX;
  for (size_t i = all.size(); i-- > 0;) made[i] = last = std::min(last, all[i].made);
  for (size_t i = 0; i + 1 < all.size(); ++i) {
    if (now - made[i] < horizon - horizon / 10) continue;
    ECLUSE_OK(tell_(fmt::format("{}{} of {}: who was erased before {} opens in no copy any more", kDestroyGeneration,
                                all[i].id, TimeText(all[i].made), TimeText(made[i + 1]))));
    ECLUSE_OK(generations_.Destroy(all[i].id));
  }
  return {};
}

Result<std::vector<std::string>> PersonKeys::Former() const {
  std::vector<std::string> folders;
  FileSystem& files = RealFiles();
  const std::string former = options_.data_dir + "/former";
  ECLUSE_TRY(const auto any, files.Find(former));
  if (!any) return folders;
  ECLUSE_TRY(const auto names, files.List(former));
  for (const std::string& name : names) {
    ECLUSE_TRY(const auto store, files.Find(StoreIn(former + "/" + name)));
    if (store) folders.push_back(former + "/" + name);
  }
  return folders;
}

Status PersonKeys::WrapAllAnew() {
  ECLUSE_OK(WrapAnew(*store_, kOfTokens));
  ECLUSE_OK(WrapAnew(*values_, kOfValues));
  std::lock_guard lock(former_mutex_);
  ECLUSE_TRY(const auto former, Former());
  for (const std::string& folder : former) {
    ECLUSE_TRY(const auto store, Store::Open(StoreIn(folder), Store::Mode::existing));
    ECLUSE_OK(WrapAnew(*store, kOfTokens));
  }
  return {};
}

Status PersonKeys::WrapAnew(Store& store, const Parts& parts) {
  std::string from;
  for (bool more = true; more && !Stopping();) {
    ECLUSE_TRY(more, WrapAnew(store, parts, &from));
  }
  return {};
}

// Some keys, from `from` on; false at the end. What does not open is left as it is: it is lost already.
Result<bool> PersonKeys::WrapAnew(Store& store, const Parts& parts, std::string* from) {
  std::lock_guard lock(keys_mutex_);
  std::vector<std::pair<std::string, std::string>> pairs;
  size_t seen = 0;
  ECLUSE_OK(store.Visit(*from, kBehindAll, [&](std::string_view key, std::string_view wrapped) {
    from->assign(key).push_back('\0');
    if (const std::string_view bare = parts.key(wrapped); !bare.empty() && !generations_.UnderNewest(bare))
      pairs.emplace_back(key, wrapped);
    return ++seen < limits::kWrappedTogether;
  }));
  std::erase_if(pairs, [&](auto& pair) {
    const std::string bound_to = parts.binding(pair.first);
    const std::string_view bare = parts.key(pair.second);
    const auto key = generations_.Unwrap(bare, bound_to);
    if (!key) {
      Log().error("the key of the person {} does not open", Base64UrlEncode(AsBytes(pair.first)));
      return true;
    }
    pair.second = pair.second.substr(0, pair.second.size() - bare.size()) + generations_.Wrap(key->text(), bound_to);
    return false;
  });
  if (!pairs.empty()) ECLUSE_OK(store.Put(pairs, true));
  return seen == limits::kWrappedTogether;
}

Status PersonKeys::Add(std::vector<Wrapped> keys) {
  std::lock_guard lock(keys_mutex_);
  std::vector<std::pair<std::string, std::string>> pairs;
  for (auto& [token, wrapped] : keys) {
    if (!generations_.UnderNewest(wrapped)) {  // it waited while one was made
      ECLUSE_TRY(const Secret key, generations_.Unwrap(wrapped, WrapBinding(token)));
      wrapped = generations_.Wrap(key.text(), WrapBinding(token));
    }
    pairs.emplace_back(KeyOf(token), std::move(wrapped));
  }
  ECLUSE_OK(store_->Put(pairs, true));
  return store_->CheckFiles();
}

Result<bool> PersonKeys::Destroy(const SubjectToken& token) {
  const std::string key = KeyOf(token);
  bool there = false;
  {
    std::lock_guard lock(keys_mutex_);
    ECLUSE_TRY(const auto known, store_->Get(key));
    there = known.has_value();
    if (there) ECLUSE_OK(store_->Remove({&key, 1}));
  }
  // Also where it was interrupted behind that.
  ECLUSE_OK(store_->CompactAround(key));
  return there;
}

Result<std::vector<PersonKeys::WrappedValueKey>> PersonKeys::FindWrapped(std::span<const KeyedSubject> people,
                                                                         bool make) {
  std::vector<std::string> names;
  for (const KeyedSubject& person : people) names.push_back(StoredAs(person));
  std::unique_lock lock(keys_mutex_, std::defer_lock);
  if (make) lock.lock();
  ECLUSE_TRY(const auto stored, values_->GetMany(names));
  std::vector<WrappedValueKey> found(people.size());
  std::map<std::string, std::string> made;
  for (size_t i = 0; i < people.size(); ++i) {
    StoredValueKey now(stored[i].value_or(""));
    if (make && erasing_.contains(people[i]))
      return Fail("55006", "a person whom this is about is being erased at this moment", "Try again.",
                  "ledger.erasing");
    if (make && now.wrapped.empty()) {
      if (const auto twice = made.find(names[i]); twice != made.end()) {
        now = StoredValueKey(twice->second);
      } else {
        Secret secret(kXaesKey);
        RandomBytes(secret.mutable_bytes());
        now.wrapped = generations_.Wrap(secret.text(), ValueWrapBinding(people[i]));
        made[names[i]] = now.Text();
      }
    }
    found[i] = {std::move(now.wrapped), !now.mark.empty()};
  }
  if (made.empty()) return found;
  const std::vector<std::pair<std::string, std::string>> pairs(made.begin(), made.end());
  ECLUSE_OK(values_->Put(pairs, true));
  ECLUSE_OK(values_->CheckFiles());
  return found;
}

Result<Secret> PersonKeys::UnwrapValueKey(KeyRing& ring, const KeyedSubject& person, std::string_view wrapped) {
  ECLUSE_TRY(Secret key, ring.generations().Unwrap(wrapped, ValueWrapBinding(person)));
  if (key.size() != kXaesKey) return LedgerDamaged("a person's key has the wrong size");
  return key;
}

Result<std::vector<Secret>> PersonKeys::Take(std::span<const KeyedSubject> people) {
  ECLUSE_TRY(const auto found, FindWrapped(people, true));
  std::vector<Secret> keys;
  for (size_t i = 0; i < people.size(); ++i) {
    ECLUSE_TRY(keys.emplace_back(), UnwrapValueKey(keys_, people[i], found[i].wrapped));
  }
  return keys;
}

Result<std::vector<ValueKeys::Found>> PersonKeys::Find(std::span<const KeyedSubject> people) {
  ECLUSE_TRY(const auto found, FindWrapped(people, false));
  std::vector<Found> keys;
  for (size_t i = 0; i < people.size(); ++i) {
    keys.emplace_back().erased = found[i].erased;
    if (found[i].wrapped.empty()) continue;
    ECLUSE_TRY(keys.back().key, UnwrapValueKey(keys_, people[i], found[i].wrapped));
  }
  return keys;
}

void PersonKeys::BeginErasure(const KeyedSubject& person) {
  std::lock_guard lock(keys_mutex_);
  erasing_.insert(person);
}

Status PersonKeys::DestroyValueKey(const KeyedSubject& person, const Erasure& by) {
  const std::string name = StoredAs(person);
  bool there = false;
  {
    std::lock_guard lock(keys_mutex_);
    ECLUSE_TRY(const auto known, values_->Get(name));
    there = known.has_value();
    // An entry that is gone through again, after a crash, must not take what was sealed since.
    if (there && !StoredValueKey(*known).ErasedBy(by)) {
      const std::pair<std::string, std::string> erased{name, StoredValueKey::Mark(by)};
      ECLUSE_OK(values_->Put({&erased, 1}, true));
    }
    erasing_.erase(person);
  }
  // Also where it was interrupted behind that.
  return there ? values_->CompactAround(name) : Status();
}

PersonKeys::InFormer PersonKeys::FindInFormer(std::string_view name) {
  std::lock_guard lock(former_mutex_);
  InFormer found;
  const auto former = Former();
  if (!former) found.unreadable.push_back(options_.data_dir + "/former: " + former.error().message);
  for (const std::string& folder : former.value_or(std::vector<std::string>())) {
    if (Status read = FindInFormer(folder, name, &found.tokens); !read)
      found.unreadable.push_back(folder + ": " + read.error().message);
  }
  return found;
}

Status PersonKeys::FindInFormer(const std::string& folder, std::string_view name, std::vector<SubjectToken>* tokens) {
  ECLUSE_TRY(const auto store, Store::Open(StoreIn(folder), Store::Mode::existing));
  SegmentFolder ledger{&RealFiles(), folder + "/ledger", {}, 0};
  std::string origin;
  ECLUSE_TRY(ledger.ledger, ReadOrigin(ledger, &origin));
  Status problem;
  uint64_t introduced = 0, keys = 0;
  ECLUSE_OK(Entries(ledger).Visit(0, UINT64_MAX, [&](const EntryView& entry) {
    problem = [&]() -> Status {
      ECLUSE_TRY(const auto person, ReadPersonEntry(entry.json));
      if (!person) return {};
      ECLUSE_TRY(const auto wrapped, store->Get(KeyOf(person->token)));
      if (!wrapped) return {};
      ++introduced;
      const auto who = OpenPerson(*person, keys_, *wrapped);
      if (!who && who.error().rule == kGenerationGone) return {};  // nobody can be told by it any more
      if (!who) return std::unexpected(who.error());
      if (*who == name) tokens->push_back(person->token);
      return {};
    }();
    return problem.has_value();
  }));
  ECLUSE_OK(problem);
  // A damaged ledger ends where it is damaged.
  ECLUSE_OK(store->Visit("", kBehindAll, [&](std::string_view, std::string_view) { return ++keys > 0; }));
  if (keys == introduced) return {};
  return LedgerDamaged(fmt::format("{} people are named in it where it cannot be read", keys - introduced));
}

Status PersonKeys::DestroyInFormer(std::span<const SubjectToken> tokens) {
  std::lock_guard lock(former_mutex_);
  ECLUSE_TRY(const auto former, Former());
  for (const std::string& folder : former) {
    const auto store = Store::Open(StoreIn(folder), Store::Mode::existing);
    if (!store) {  // it said so where they were looked for
      Log().error("the keys of {} cannot be looked at: {}", folder, store.error().message);
      continue;
    }
    for (const SubjectToken& token : tokens) {
      const std::string key = KeyOf(token);
      ECLUSE_TRY(const auto known, (*store)->Get(key));
      if (known) ECLUSE_OK((*store)->Remove({&key, 1}));
      ECLUSE_OK((*store)->CompactAround(key));
    }
  }
  return {};
}

}  // namespace ecluse
