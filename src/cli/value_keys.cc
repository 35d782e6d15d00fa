#include "cli/value_keys.h"

#include <algorithm>
#include <sstream>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/limits.h"
#include "cli/running_gate.h"
#include "server/control_socket.h"

namespace ecluse {
namespace {

Result<PersonKeys::WrappedValueKey> ReadAnswer(std::string_view word) {
  const bool erased = word.ends_with('!');
  if (erased) word.remove_suffix(1);
  if (word == "-") return PersonKeys::WrappedValueKey{{}, erased};
  const auto bytes = Base64UrlDecode(word);
  if (!bytes || bytes->empty())
    return Fail(sqlstate::kIo, "the gate's answer is not understood",
                "the program and the gate that runs are of different versions: restart the gate", "cli.value-keys");
  return PersonKeys::WrappedValueKey{std::string(bytes->begin(), bytes->end()), erased};
}

}  // namespace

CommandValueKeys::CommandValueKeys(const Policy& policy, KeyRing& ring) : policy_(policy), ring_(ring) {
  ring_.Attach(this);
}

CommandValueKeys::~CommandValueKeys() {
  store_.reset();  // which detaches itself
  ring_.Attach(nullptr);
}

Result<std::optional<std::string>> CommandValueKeys::Ask(std::span<const KeyedSubject> people, bool make) {
  std::string names;
  for (const KeyedSubject& person : people) names.append(person.begin(), person.end());
  const boost::json::object request{
      {"command", "value-keys"}, {"people", Base64UrlEncode(AsBytes(names))}, {"make", make ? "yes" : "no"}};
  if (!asked_) return AskIfRunning(policy_, request);
  auto answer = AskGate(policy_.data_dir, request);
  if (answer) return std::move(*answer);
  Error error = std::move(answer).error();
  error.hint = "what was done is kept: run this again (" + error.hint + ")";
  return std::unexpected(std::move(error));
}

Result<std::vector<PersonKeys::WrappedValueKey>> CommandValueKeys::FindWrapped(std::span<const KeyedSubject> people,
                                                                               bool make) {
  std::vector<Wrapped> found;
  if (people.empty()) return found;
  for (size_t first = 0; first < people.size() && !store_; first += limits::kValueKeysAsked) {
    const auto some = people.subspan(first, std::min(limits::kValueKeysAsked, people.size() - first));
    ECLUSE_TRY(const auto answer, Ask(some, make));
    if (!answer) break;
    asked_ = true;
    std::istringstream words(*answer);
    std::string word;
    for (size_t i = 0; i < some.size(); ++i) {
      words >> word;
      ECLUSE_TRY(found.emplace_back(), ReadAnswer(words ? word : ""));
    }
  }
  if (asked_) return found;
  if (!store_) {
    ECLUSE_TRY(const auto there, RealFiles().Find(policy_.data_dir + "/keys/values"));
    if (!there && !make) return std::vector<Wrapped>(people.size());
    ECLUSE_TRY(const auto ledger, RealFiles().Find(policy_.data_dir + "/ledger/origin"));
    const auto mode = ledger ? Store::Mode::existing : Store::Mode::create;
    ECLUSE_TRY(store_, PersonKeys::Open({policy_.data_dir, mode, &SystemClock(), {}, {}}, ring_));
    ring_.Attach(this);
  }
  return store_->FindWrapped(people, make);
}

Result<std::vector<Secret>> CommandValueKeys::Take(std::span<const KeyedSubject> people) {
  ECLUSE_TRY(const auto found, FindWrapped(people, true));
  std::vector<Secret> keys;
  for (size_t i = 0; i < people.size(); ++i) {
    ECLUSE_TRY(keys.emplace_back(), PersonKeys::UnwrapValueKey(ring_, people[i], found[i].wrapped));
  }
  return keys;
}

Result<std::vector<ValueKeys::Found>> CommandValueKeys::Find(std::span<const KeyedSubject> people) {
  ECLUSE_TRY(const auto found, FindWrapped(people, false));
  std::vector<Found> keys;
  for (size_t i = 0; i < people.size(); ++i) {
    keys.emplace_back().erased = found[i].erased;
    if (found[i].wrapped.empty()) continue;
    ECLUSE_TRY(keys.back().key, PersonKeys::UnwrapValueKey(ring_, people[i], found[i].wrapped));
  }
  return keys;
}

}  // namespace ecluse
