#include "vault/ring_file.h"

#include <fmt/format.h>
#include <openssl/crypto.h>

#include <algorithm>
#include <sstream>

#include "base/bytes.h"
#include "base/check.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/random.h"

namespace ecluse {
namespace {

constexpr std::string_view kHeader = "ecluse key ring v1";
constexpr std::string_view kRoot = "root ";

std::string Associated(std::string_view kind, std::string_view name, const KeyId& id) {
  return fmt::format("ecluse {} {} {}", kind, name, HexEncode(id));
}

// A key that the root wrapped.
Result<WrappedKey> UnwrapByRoot(RootKey& root, std::string_view kind, std::string_view name, const KeyId& id,
                                const std::string& coded) {
  const auto wrapped = Base64Decode(coded);
  std::string_view bytes;
  if (wrapped) bytes = {reinterpret_cast<const char*>(wrapped->data()), wrapped->size()};
  ECLUSE_TRY(const Secret key, root.Unwrap(bytes, Associated(kind, name, id)));
  return WrappedKey{id, Xaes(key.Copy())};
}

Result<std::string> WrapLineByRoot(RootKey& root, std::string_view kind, std::string_view name, const KeyId& id,
                                   const Secret& key) {
  ECLUSE_TRY(const std::string wrapped, root.Wrap(key.text(), Associated(kind, name, id)));
  return fmt::format("{} {} {} {}\n", kind, name, HexEncode(id), Base64Encode(AsBytes(wrapped)));
}

// Reads the lines of a ring one after the other.
class RingReader {
 public:
  RingReader(RootKey& root, const std::string& path) : root_(root), path_(path) {}

  Result<Ring> Read(const std::string& content) {
    std::istringstream lines(content);
    std::string line, id_text;
    std::getline(lines, line);
    // What is added is added behind a whole line.
    if (line != kHeader || !content.ends_with('\n')) return Broken();
    std::getline(lines, line);
    if (!line.starts_with(kRoot)) return Broken();
    kind_ = "root";
    id_text = line.substr(kRoot.size());
    if (id_text != HexEncode(root_.id()))
      return Fail(sqlstate::kIo,
                  fmt::format("the gate's keys were wrapped under root key {}, and the policy names {}",
                              Printable(id_text), HexEncode(root_.id())),
                  "put the root key of this data folder back, or correct vault.root; a ring from before a renewal opens "
                  "with the root of that time alone",
                  "vault.keys", path_);
    while (std::getline(lines, line)) {
      std::istringstream words(line);
      std::string coded, more;
      if (!(words >> kind_ >> name_ >> id_text >> coded) || words >> more) return Broken();
      const auto id = ParseKeyId(id_text);
      if (!id) return Broken();
      ECLUSE_OK(Take(*id, coded));
      ring_.names.push_back({kind_, name_, id_text});
    }
    if (!ring_.gate || !ring_.auditors || !ring_.index || !ring_.pseudonym) return Broken();
    for (auto& [name, keys] : compartments_) {
      if (!keys.complete()) return Broken();
      ring_.compartments.emplace(name, std::make_shared<const CompartmentKeys>(std::move(keys)));
    }
    ring_.content = content;
    return std::move(ring_);
  }
  // Once read, the key-encryption key of a compartment; null where there is none.
  const WrappedKey* Under(std::string_view compartment) const {
    const auto found = under_.find(compartment);
    return found == under_.end() ? nullptr : &found->second;
  }

 private:
  std::unexpected<Error> Broken() const {
    return Fail(sqlstate::kIo, "the gate's key ring is damaged",
                "restore <data_dir>/keys from a copy made with the gate stopped", "vault.keys",
                fmt::format("{}: line `{}` does not open", path_, kind_ + " " + name_));
  }

  Status Take(const KeyId& id, const std::string& coded) {
    if (kind_ == "kek" || kind_ == "key") {
      std::optional<WrappedKey>* slot = nullptr;
      if (kind_ == "kek" && name_ == "gate") slot = &ring_.gate;
      if (kind_ == "kek" && name_ == "auditors") slot = &ring_.auditors;
      if (kind_ == "key" && name_ == "index") slot = &ring_.index;
      if (kind_ == "key" && name_ == "pseudonym") slot = &ring_.pseudonym;
      if (kind_ == "key" && name_ == "ledger") slot = &ring_.ledger;
      if (slot == nullptr || *slot) return Broken();
      if (kind_ == "kek") {
        ECLUSE_TRY(*slot, UnwrapByRoot(root_, kind_, name_, id, coded));
        return {};
      }
      if (ring_.gate) *slot = UnwrapText(ring_.gate->key, kind_, name_, id, coded);
      return *slot ? Status() : Broken();
    }
    if (kind_ == "compartment") {
      if (under_.contains(name_)) return Broken();
      ECLUSE_TRY(WrappedKey key, UnwrapByRoot(root_, kind_, name_, id, coded));
      under_.emplace(name_, std::move(key));
      compartments_.try_emplace(name_);
      return {};
    }
    const auto under = under_.find(name_);
    if (under == under_.end()) return Broken();
    auto key = UnwrapText(under->second.key, kind_, name_, id, coded);
    if (!key) return Broken();
    CompartmentKeys& keys = compartments_[name_];
    if (kind_ == "data") {
      if (!keys.AddData(id, std::move(key->key))) return Broken();
    } else if (kind_ == "search" && !keys.renewing && keys.search_id != id) {
      keys.renewing = !keys.search.empty();
      keys.search = Secret(key->key.key());
      keys.search_id = id;
    } else if (kind_ == "link" && keys.link.empty()) {
      keys.link = Secret(key->key.key());
    } else {
      return Broken();
    }
    return {};
  }

  RootKey& root_;
  const std::string& path_;
  std::string kind_, name_;
  Ring ring_;
  std::map<std::string, CompartmentKeys> compartments_;
  std::map<std::string, WrappedKey, std::less<>> under_;  // by compartment
};

// One line of a ring that was read: its words.
struct RingLine {
  std::string kind, name, id, coded;
};
RingLine WordsOf(std::string_view line) {
  RingLine words;
  std::istringstream(std::string(line)) >> words.kind >> words.name >> words.id >> words.coded;
  return words;
}

}  // namespace

KeyId RandomKeyId() {
  KeyId id;
  RandomBytes(id);
  return id;
}

Secret RandomKey() {
  Secret key(kXaesKey);
  RandomBytes(key.mutable_bytes());
  return key;
}

std::optional<KeyId> ParseKeyId(const std::string& hex) {
  auto bytes = HexDecode(hex);
  KeyId id;
  if (!bytes || bytes->size() != id.size()) return std::nullopt;
  std::copy(bytes->begin(), bytes->end(), id.begin());
  return HexEncode(id) == hex ? std::optional(id) : std::nullopt;
}

std::string WrapLine(const Xaes& under, const KeyId& under_id, std::string_view kind, std::string_view name,
                     const KeyId& id, std::span<const uint8_t> key) {
  std::string_view plain{reinterpret_cast<const char*>(key.data()), key.size()};
  std::string envelope = SealEnvelope(under, under_id, plain, Associated(kind, name, id));
  return fmt::format("{} {} {} {}\n", kind, name, HexEncode(id), Base64Encode(AsBytes(envelope)));
}

std::optional<WrappedKey> UnwrapText(const Xaes& under, std::string_view kind, std::string_view name, const KeyId& id,
                                     const std::string& coded) {
  auto bytes = Base64Decode(coded);
  if (!bytes) return std::nullopt;
  std::string_view envelope{reinterpret_cast<const char*>(bytes->data()), bytes->size()};
  auto plain = OpenEnvelope(under, envelope, Associated(kind, name, id));
  if (!plain || plain->size() != kXaesKey) return std::nullopt;
  Secret key{std::string_view(*plain)};
  OPENSSL_cleanse(plain->data(), plain->size());
  return WrappedKey{id, Xaes(std::move(key))};
}

Result<std::unique_ptr<File>> LockRing(FileSystem& files, const std::string& folder) {
  ECLUSE_TRY(std::unique_ptr<File> lock, files.Open(folder + "/lock", OpenMode::lock));
  ECLUSE_TRY(const bool alone, lock->TryLock());
  if (!alone)
    return Fail(sqlstate::kIo, "another command is making keys in the data folder", "try again in a moment",
                "vault.keys", folder);
  return lock;
}

std::optional<KeyId> RootOf(const std::string& content) {
  const std::string head = fmt::format("{}\n{}", kHeader, kRoot);
  return content.starts_with(head) ? ParseKeyId(content.substr(head.size(), 2 * sizeof(KeyId))) : std::nullopt;
}

Result<Ring> ParseRing(RootKey& root, const std::string& content, const std::string& path) {
  return RingReader(root, path).Read(content);
}

Result<Ring> ReadRing(FileSystem& files, RootKey& root, const std::string& path) {
  ECLUSE_TRY(const std::string content, ReadWholeFile(files, path, limits::kRingBytes));
  return ParseRing(root, content, path);
}

Result<std::string> MakeRing(RootKey& root) {
  std::string text = fmt::format("{}\nroot {}\n", kHeader, HexEncode(root.id()));
  const KeyId gate_id = RandomKeyId();
  const Xaes gate(RandomKey());
  ECLUSE_TRY(const std::string gate_line, WrapLineByRoot(root, "kek", "gate", gate_id, Secret(gate.key())));
  ECLUSE_TRY(const std::string auditors_line, WrapLineByRoot(root, "kek", "auditors", RandomKeyId(), RandomKey()));
  text += gate_line + auditors_line;
  for (const char* name : {"index", "pseudonym", "ledger"})
    text += WrapLine(gate, gate_id, "key", name, RandomKeyId(), RandomKey().bytes());
  return text;
}

Result<std::string> MakeCompartment(RootKey& root, std::string_view name) {
  const KeyId id = RandomKeyId();
  const Xaes under(RandomKey());
  ECLUSE_TRY(std::string text, WrapLineByRoot(root, "compartment", name, id, Secret(under.key())));
  for (const char* kind : {"data", "search", "link"})
    text += WrapLine(under, id, kind, name, RandomKeyId(), RandomKey().bytes());
  return text;
}

Result<std::string> MakeKeyLine(RootKey& root, const std::string& content, const std::string& path,
                                std::string_view kind, std::string_view compartment, KeyId* id) {
  RingReader reader(root, path);
  ECLUSE_TRY(const Ring ring, reader.Read(content));
  const WrappedKey* under = reader.Under(compartment);
  if (under == nullptr)
    return Fail(sqlstate::kInvalidParameter, fmt::format("there is no compartment {}", compartment),
                "`ecluse keys list` names those there are", "vault.keys");
  *id = RandomKeyId();
  return WrapLine(under->key, under->id, kind, compartment, *id, RandomKey().bytes());
}

Result<std::string> RewrapRing(RootKey& root, RootKey& next, const std::string& content, const std::string& path) {
  ECLUSE_TRY(const Ring ring, ParseRing(root, content, path));
  std::string out = fmt::format("{}\nroot {}\n", kHeader, HexEncode(next.id()));
  std::map<std::string, std::pair<WrappedKey, WrappedKey>> under;  // by compartment: the former one, the new one
  std::istringstream lines(content);
  std::string line;
  for (int head = 0; head < 2; ++head) std::getline(lines, line);
  while (std::getline(lines, line)) {
    const RingLine words = WordsOf(line);
    const KeyId id = *ParseKeyId(words.id);
    if (words.kind == "kek") {
      ECLUSE_TRY(const WrappedKey key, UnwrapByRoot(root, words.kind, words.name, id, words.coded));
      ECLUSE_TRY(const std::string wrapped, WrapLineByRoot(next, words.kind, words.name, id, Secret(key.key.key())));
      out += wrapped;
    } else if (words.kind == "compartment") {
      ECLUSE_TRY(WrappedKey former, UnwrapByRoot(root, words.kind, words.name, id, words.coded));
      WrappedKey renewed{RandomKeyId(), Xaes(RandomKey())};
      ECLUSE_TRY(const std::string wrapped,
                 WrapLineByRoot(next, words.kind, words.name, renewed.id, Secret(renewed.key.key())));
      out += wrapped;
      under.emplace(words.name, std::pair(std::move(former), std::move(renewed)));
    } else if (const auto keys = under.find(words.name); words.kind != "key" && keys != under.end()) {
      const auto& [former, renewed] = keys->second;
      const auto key = UnwrapText(former.key, words.kind, words.name, id, words.coded);
      CHECK(key.has_value());  // ParseRing() has opened it
      out += WrapLine(renewed.key, renewed.id, words.kind, words.name, id, key->key.key());
    } else {
      out += line + "\n";
    }
  }
  return out;
}

std::string_view KeyLine(std::string_view content, std::string_view kind,
                         const std::function<bool(std::string_view name, std::string_view id)>& which) {
  for (size_t begin = 0; begin < content.size();) {
    const size_t end = std::min(content.find('\n', begin), content.size() - 1) + 1;
    const std::string_view line = content.substr(begin, end - begin);
    const RingLine words = WordsOf(line);
    if (words.kind == kind && which(words.name, words.id)) return line;
    begin = end;
  }
  return {};
}

}  // namespace ecluse
