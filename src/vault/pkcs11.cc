#include "vault/pkcs11.h"

#include <dlfcn.h>
#include <fmt/format.h>
#include <openssl/crypto.h>
#include <p11-kit/pkcs11.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <vector>

#include "base/bytes.h"
#include "base/limits.h"
#include "base/random.h"
#include "base/terminal.h"

namespace ecluse {
namespace {

constexpr std::string_view kLabel = "ecluse root key";
constexpr char kVersion = '\x02';
constexpr size_t kIv = 12;
constexpr size_t kTag = 16;
constexpr size_t kHead = 1 + sizeof(KeyId);

std::string ReasonOf(CK_RV rv) {
  switch (rv) {
    case CKR_PIN_INCORRECT:
      return "its PIN is another";
    case CKR_PIN_LOCKED:
      return "its PIN was tried wrongly too often and is locked";
    case CKR_USER_PIN_NOT_INITIALIZED:
      return "no PIN was set for its user";
    case CKR_TOKEN_NOT_PRESENT:
    case CKR_DEVICE_REMOVED:
      return "it is not there any more";
    case CKR_TOKEN_WRITE_PROTECTED:
      return "it cannot be written to";
    case CKR_MECHANISM_INVALID:
      return "it does not know AES-GCM (CKM_AES_GCM)";
    default:
      return fmt::format("PKCS#11 error 0x{:x}", rv);
  }
}

std::unexpected<Error> Refused(const char* what, CK_RV rv) {
  const bool pin = rv == CKR_PIN_INCORRECT || rv == CKR_PIN_LOCKED || rv == CKR_USER_PIN_NOT_INITIALIZED;
  return Fail(pin ? "28000" : sqlstate::kIo,
              fmt::format("the token that holds the root key could not {}: {}", what, ReasonOf(rv)),
              pin ? "correct vault.root.pkcs11.pin_file, or unlock the token with its vendor's tool"
                  : "see that the token is plugged in and its library is the right one (vault.root.pkcs11)",
              "vault.token");
}

std::unexpected<Error> NotOurs() {
  return Fail(sqlstate::kIo, "what the token calls a root key was not made by `ecluse keys init`",
              fmt::format("who put it there may know it: remove the key labelled \"{}\" with the vendor's tool and run "
                          "`ecluse keys init`, or take another token",
                          kLabel),
              "vault.token");
}

CK_ATTRIBUTE Attribute(CK_ATTRIBUTE_TYPE type, const void* value, size_t size) {
  return {type, const_cast<void*>(value), size};
}

// The token, logged in to. Not thread-safe.
class Token {
 public:
  Token() = default;
  Token(const Token&) = delete;
  Token& operator=(const Token&) = delete;
  ~Token() {
    if (session_ != CK_INVALID_HANDLE) calls_->C_CloseSession(session_);
    if (initialized_) calls_->C_Finalize(nullptr);
    if (library_ != nullptr) dlclose(library_);
  }

  // To make a key in it: `writes`.
  Status Open(FileSystem& files, const RootSource& source, bool writes) {
    library_ = dlopen(source.module.c_str(), RTLD_NOW | RTLD_LOCAL);
    const char* why = library_ == nullptr ? dlerror() : nullptr;
    const auto list =
        library_ == nullptr ? nullptr : reinterpret_cast<CK_C_GetFunctionList>(dlsym(library_, "C_GetFunctionList"));
    if (list == nullptr || list(&calls_) != CKR_OK)
      return Fail(sqlstate::kIo, fmt::format("{} is not a PKCS#11 library", source.module),
                  "install the library of the token's vendor, or correct vault.root.pkcs11.module", "vault.token",
                  why != nullptr ? why : "");
    CK_C_INITIALIZE_ARGS locking{};
    locking.flags = CKF_OS_LOCKING_OK;
    const CK_RV ready = calls_->C_Initialize(&locking);
    initialized_ = ready == CKR_OK;
    if (!initialized_ && ready != CKR_CRYPTOKI_ALREADY_INITIALIZED) return Refused("be started", ready);
    ECLUSE_TRY(const CK_SLOT_ID slot, Find(source.token));
    slot_ = slot;
    const CK_FLAGS how = CKF_SERIAL_SESSION | (writes ? CKF_RW_SESSION : 0);
    if (const CK_RV rv = calls_->C_OpenSession(slot, how, nullptr, nullptr, &session_); rv != CKR_OK)
      return Refused("be opened", rv);
    Result<Secret> pin =
        source.pin_file.empty()
            ? AskUnseen("PIN of the token that holds the root key: ",
                        "name a file that holds it in vault.root.pkcs11.pin_file, or start on a terminal")
            : ReadSecretLine(files, source.pin_file);
    if (!pin) return std::unexpected(std::move(pin).error());
    const CK_RV in = calls_->C_Login(session_, CKU_USER, const_cast<uint8_t*>(pin->bytes().data()), pin->size());
    if (in != CKR_OK && in != CKR_USER_ALREADY_LOGGED_IN) return Refused("be opened", in);
    return {};
  }

  // Handles of the root keys in it.
  Result<std::vector<CK_OBJECT_HANDLE>> Roots() {
    const CK_OBJECT_CLASS secret = CKO_SECRET_KEY;
    const CK_BBOOL yes = CK_TRUE;
    std::array<CK_ATTRIBUTE, 3> like = {Attribute(CKA_CLASS, &secret, sizeof secret),
                                        Attribute(CKA_TOKEN, &yes, sizeof yes),
                                        Attribute(CKA_LABEL, kLabel.data(), kLabel.size())};
    if (const CK_RV rv = calls_->C_FindObjectsInit(session_, like.data(), like.size()); rv != CKR_OK)
      return Refused("be searched", rv);
    std::vector<CK_OBJECT_HANDLE> found(limits::kTokenRoots + 1);
    CK_ULONG count = 0;
    const CK_RV rv = calls_->C_FindObjects(session_, found.data(), found.size(), &count);
    calls_->C_FindObjectsFinal(session_);
    if (rv != CKR_OK) return Refused("be searched", rv);
    found.resize(count);
    return found;
  }

  Result<KeyId> IdOf(CK_OBJECT_HANDLE key) {
    KeyId id;
    CK_ATTRIBUTE asked = Attribute(CKA_ID, id.data(), id.size());
    const CK_RV rv = calls_->C_GetAttributeValue(session_, key, &asked, 1);
    if (rv != CKR_OK && rv != CKR_BUFFER_TOO_SMALL) return Refused("tell of its root key", rv);
    if (rv != CKR_OK || asked.ulValueLen != id.size()) return NotOurs();
    return id;
  }

  // That the token made it, and that nobody ever had it outside.
  Status CheckKept(CK_OBJECT_HANDLE key) {
    CK_BBOOL local = CK_FALSE, sensitive = CK_FALSE, always = CK_FALSE, never = CK_FALSE, secret = CK_FALSE;
    CK_KEY_TYPE type = 0;
    CK_ULONG length = 0;
    std::array<CK_ATTRIBUTE, 7> asked = {
        Attribute(CKA_LOCAL, &local, sizeof local),
        Attribute(CKA_SENSITIVE, &sensitive, sizeof sensitive),
        Attribute(CKA_ALWAYS_SENSITIVE, &always, sizeof always),
        Attribute(CKA_NEVER_EXTRACTABLE, &never, sizeof never),
        Attribute(CKA_PRIVATE, &secret, sizeof secret),
        Attribute(CKA_KEY_TYPE, &type, sizeof type),
        Attribute(CKA_VALUE_LEN, &length, sizeof length),
    };
    const CK_RV rv = calls_->C_GetAttributeValue(session_, key, asked.data(), asked.size());
    if (rv != CKR_OK) return Refused("tell of its root key", rv);
    const bool kept = local == CK_TRUE && sensitive == CK_TRUE && always == CK_TRUE && never == CK_TRUE &&
                      secret == CK_TRUE && type == CKK_AES && length == kXaesKey;
    return kept ? Status() : NotOurs();
  }

  Status CheckKnowsGcm() {
    CK_MECHANISM_INFO info{};
    const CK_RV rv = calls_->C_GetMechanismInfo(slot_, CKM_AES_GCM, &info);
    constexpr CK_FLAGS kBoth = CKF_ENCRYPT | CKF_DECRYPT;
    if (rv == CKR_OK && (info.flags & kBoth) == kBoth) return {};
    return Refused("be used", rv == CKR_OK ? CKR_MECHANISM_INVALID : rv);
  }

  Status Make(const KeyId& id) {
    const CK_OBJECT_CLASS secret = CKO_SECRET_KEY;
    const CK_KEY_TYPE aes = CKK_AES;
    const CK_ULONG length = kXaesKey;
    const CK_BBOOL yes = CK_TRUE, no = CK_FALSE;
    std::array<CK_ATTRIBUTE, 11> as = {
        Attribute(CKA_CLASS, &secret, sizeof secret),     Attribute(CKA_KEY_TYPE, &aes, sizeof aes),
        Attribute(CKA_VALUE_LEN, &length, sizeof length), Attribute(CKA_LABEL, kLabel.data(), kLabel.size()),
        Attribute(CKA_ID, id.data(), id.size()),          Attribute(CKA_TOKEN, &yes, sizeof yes),
        Attribute(CKA_PRIVATE, &yes, sizeof yes),         Attribute(CKA_SENSITIVE, &yes, sizeof yes),
        Attribute(CKA_EXTRACTABLE, &no, sizeof no),       Attribute(CKA_ENCRYPT, &yes, sizeof yes),
        Attribute(CKA_DECRYPT, &yes, sizeof yes)};
    CK_MECHANISM generate = {CKM_AES_KEY_GEN, nullptr, 0};
    CK_OBJECT_HANDLE made = CK_INVALID_HANDLE;
    const CK_RV rv = calls_->C_GenerateKey(session_, &generate, as.data(), as.size(), &made);
    if (rv != CKR_OK) return Refused("make a root key", rv);
    return {};
  }

  Status Destroy(CK_OBJECT_HANDLE key) {
    const CK_RV rv = calls_->C_DestroyObject(session_, key);
    if (rv != CKR_OK) return Refused("destroy a root key", rv);
    return {};
  }

  enum class Do { encrypt, decrypt };
  // AES-256-GCM under the root key.
  Result<std::string> Crypt(Do what, CK_OBJECT_HANDLE key, std::string_view iv, std::string_view associated,
                            std::string_view in) {
    const auto bytes = [](std::string_view text) { return reinterpret_cast<uint8_t*>(const_cast<char*>(text.data())); };
    CK_GCM_PARAMS how{bytes(iv), iv.size(), 8 * iv.size(), bytes(associated), associated.size(), 8 * kTag};
    CK_MECHANISM gcm = {CKM_AES_GCM, &how, sizeof how};
    std::string out(in.size() + kTag, '\0');
    CK_ULONG size = out.size();
    CK_RV rv = CKR_OK;
    if (what == Do::encrypt) {
      rv = calls_->C_EncryptInit(session_, &gcm, key);
      if (rv == CKR_OK) rv = calls_->C_Encrypt(session_, bytes(in), in.size(), bytes(out), &size);
    } else {
      rv = calls_->C_DecryptInit(session_, &gcm, key);
      if (rv == CKR_OK) rv = calls_->C_Decrypt(session_, bytes(in), in.size(), bytes(out), &size);
    }
    if (rv != CKR_OK) return Refused(what == Do::encrypt ? "wrap a key" : "open a key that it should have wrapped", rv);
    out.resize(size);
    return out;
  }

 private:
  Result<CK_SLOT_ID> Find(const std::string& label) {
    CK_ULONG count = 0;
    CK_RV rv = calls_->C_GetSlotList(CK_TRUE, nullptr, &count);
    std::vector<CK_SLOT_ID> slots(count);
    if (rv == CKR_OK && count > 0) rv = calls_->C_GetSlotList(CK_TRUE, slots.data(), &count);
    if (rv != CKR_OK) return Refused("be found", rv);
    slots.resize(count);
    std::vector<CK_SLOT_ID> fit;
    bool last_try = false;
    for (const CK_SLOT_ID slot : slots) {
      CK_TOKEN_INFO info{};
      if (calls_->C_GetTokenInfo(slot, &info) != CKR_OK) continue;
      std::string_view name(reinterpret_cast<const char*>(info.label), sizeof info.label);
      while (name.ends_with(' ')) name.remove_suffix(1);
      if (name != label) continue;
      fit.push_back(slot);
      last_try = (info.flags & CKF_USER_PIN_FINAL_TRY) != 0;
    }
    // A service that is started again and again would lock it.
    if (fit.size() == 1 && last_try)
      return Fail("28000", "the token that holds the root key locks itself at the next wrong PIN, so none is tried",
                  "log in to it once with its vendor's tool, and correct vault.root.pkcs11.pin_file", "vault.token");
    if (fit.size() == 1) return fit[0];
    return Fail(sqlstate::kIo, fmt::format("{} tokens are called \"{}\"", fit.empty() ? "no" : "several", label),
                fit.empty() ? "plug it in, initialise it with its vendor's tool, or correct vault.root.pkcs11.token"
                            : "give each a label of its own",
                "vault.token");
  }

  void* library_ = nullptr;
  CK_FUNCTION_LIST_PTR calls_ = nullptr;
  bool initialized_ = false;
  CK_SLOT_ID slot_ = 0;
  CK_SESSION_HANDLE session_ = CK_INVALID_HANDLE;
};

class TokenRoot final : public RootKey {
 public:
  TokenRoot(std::unique_ptr<Token> token, CK_OBJECT_HANDLE key, const KeyId& id)
      : token_(std::move(token)), key_(key), id_(id) {}
  const KeyId& id() const override { return id_; }

  Result<std::string> Wrap(std::string_view plain, std::string_view associated) override {
    std::string out(1, kVersion);
    out.append(reinterpret_cast<const char*>(id_.data()), id_.size());
    std::array<uint8_t, kIv> random;
    RandomBytes(random);
    const std::string iv(random.begin(), random.end());
    ECLUSE_TRY(const std::string sealed,
               token_->Crypt(Token::Do::encrypt, key_, iv, out + std::string(associated), plain));
    return out + iv + sealed;
  }

  Result<Secret> Unwrap(std::string_view wrapped, std::string_view associated) override {
    const auto altered = [] {
      return Fail(sqlstate::kIo, "a key does not open under the token's root key",
                  "it was altered, or another root wrapped it: restore <data_dir>/keys from a copy made with the gate "
                  "stopped",
                  "vault.token");
    };
    if (wrapped.size() < kHead + kIv + kTag || wrapped[0] != kVersion ||
        std::memcmp(wrapped.data() + 1, id_.data(), id_.size()) != 0)
      return altered();
    ECLUSE_TRY(std::string plain,
               token_->Crypt(Token::Do::decrypt, key_, wrapped.substr(kHead, kIv),
                             std::string(wrapped.substr(0, kHead)).append(associated), wrapped.substr(kHead + kIv)));
    Secret key{std::string_view(plain)};
    OPENSSL_cleanse(plain.data(), plain.size());
    if (key.size() != kXaesKey) return altered();
    return key;
  }

 private:
  std::unique_ptr<Token> token_;
  const CK_OBJECT_HANDLE key_;
  const KeyId id_;
};

std::unexpected<Error> Refuse(std::string what, std::string hint) {
  return Fail(sqlstate::kIo, std::move(what), std::move(hint), "vault.token");
}

struct Held {
  KeyId id;
  CK_OBJECT_HANDLE key = CK_INVALID_HANDLE;
};

// All of our label, each made by the token and never outside.
Result<std::vector<Held>> HeldBy(Token& token) {
  ECLUSE_TRY(const auto there, token.Roots());
  std::vector<Held> held;
  for (const CK_OBJECT_HANDLE key : there) {
    ECLUSE_OK(token.CheckKept(key));
    ECLUSE_TRY(const KeyId id, token.IdOf(key));
    held.push_back({id, key});
  }
  return held;
}

// Makes one and opens it. That it can be used is seen now, and not when a gate is to start.
Result<std::unique_ptr<RootKey>> Add(FileSystem& files, const RootSource& source, size_t most) {
  KeyId id;
  RandomBytes(id);
  {
    Token token;
    ECLUSE_OK(token.Open(files, source, true));
    ECLUSE_TRY(const auto held, HeldBy(token));
    if (held.size() >= most) {
      return most == 1 ? Refuse(fmt::format("the token \"{}\" holds a root key already, and one is never replaced",
                                            source.token),
                                "keep it: what it wraps cannot be opened without it. To begin anew, take another token")
                       : Refuse(fmt::format("the token \"{}\" holds {} root keys already", source.token, held.size()),
                                "two people destroy those that no copy needs any more (ecluse keys destroy); `ecluse "
                                "keys list` names them");
    }
    ECLUSE_OK(token.CheckKnowsGcm());
    ECLUSE_OK(token.Make(id));
  }
  ECLUSE_TRY(auto root, OpenTokenRoot(files, source, id));
  const Secret probe(kXaesKey);
  ECLUSE_TRY(const std::string wrapped, root->Wrap(probe.text(), "ecluse keys init"));
  ECLUSE_TRY(const Secret again, root->Unwrap(wrapped, "ecluse keys init"));
  if (again.text() != probe.text()) return Refused("open what it wrapped", CKR_OK);
  return root;
}

}  // namespace

Status MakeTokenRoot(FileSystem& files, const RootSource& source) {
  if (auto made = Add(files, source, 1); !made) return std::unexpected(std::move(made).error());
  return {};
}

Result<std::unique_ptr<RootKey>> AddTokenRoot(FileSystem& files, const RootSource& source) {
  return Add(files, source, limits::kTokenRoots);
}

Result<std::unique_ptr<RootKey>> OpenTokenRoot(FileSystem& files, const RootSource& source,
                                               const std::optional<KeyId>& under) {
  auto token = std::make_unique<Token>();
  ECLUSE_OK(token->Open(files, source, false));
  ECLUSE_TRY(const auto held, HeldBy(*token));
  if (held.empty()) {
    return Refuse(fmt::format("the token \"{}\" holds no root key", source.token),
                  "run `ecluse keys init` to make one, or correct vault.root.pkcs11.token");
  }
  auto own = under ? std::ranges::find(held, *under, &Held::id) : held.end();
  // Of a single one whoever reads what it should have wrapped says that it is another.
  if (own == held.end() && held.size() == 1) own = held.begin();
  if (own == held.end()) {
    return Refuse(under ? fmt::format("the token \"{}\" does not hold the root key {}, which the gate's keys were "
                                      "wrapped under",
                                      source.token, HexEncode(*under))
                        : fmt::format("the token \"{}\" holds {} root keys, and no ring of keys says which is the "
                                      "gate's",
                                      source.token, held.size()),
                  "put <data_dir>/keys back, or correct vault.root.pkcs11.token");
  }
  return std::make_unique<TokenRoot>(std::move(token), own->key, own->id);
}

Result<std::vector<KeyId>> HeldByToken(FileSystem& files, const RootSource& source) {
  Token token;
  ECLUSE_OK(token.Open(files, source, false));
  ECLUSE_TRY(const auto held, HeldBy(token));
  std::vector<KeyId> ids;
  for (const Held& one : held) ids.push_back(one.id);
  return ids;
}

Status DestroyTokenRoot(FileSystem& files, const RootSource& source, const KeyId& id,
                        const std::function<Status()>& first) {
  Token token;
  ECLUSE_OK(token.Open(files, source, true));
  ECLUSE_TRY(const auto held, HeldBy(token));
  const auto own = std::ranges::find(held, id, &Held::id);
  if (own == held.end())
    return Fail(sqlstate::kInvalidParameter,
                fmt::format("the token \"{}\" holds no root key {}", source.token, HexEncode(id)),
                "`ecluse keys list` names those there are", "vault.token");
  ECLUSE_OK(first());
  return token.Destroy(own->key);
}

}  // namespace ecluse
