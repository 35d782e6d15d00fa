#include "cli/demo_folder.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <memory>
#include <regex>
#include <utility>

#include "base/bytes.h"
#include "base/file.h"
#include "base/limits.h"
#include "base/random.h"
#include "identity/accounts.h"
#include "vault/keys.h"

namespace ecluse::demo {

namespace {

namespace fs = std::filesystem;

std::unexpected<Error> Trouble(const std::string& what, const std::string& detail = {}) {
  return Fail(sqlstate::kIo, what, "Name another folder with --dir, or remove this one to begin afresh.", "demo.folder",
              detail);
}

std::string NewPassword() {
  std::array<uint8_t, 12> bytes;
  RandomBytes(bytes);
  return Base64UrlEncode(bytes);
}

Result<std::string> ReadText(const std::string& path) { return ReadWholeFile(RealFiles(), path, limits::kPolicyBytes); }

template <auto Free>
struct Freed {
  template <typename T>
  void operator()(T* object) const {
    Free(object);
  }
};

std::string Pem(const std::function<int(BIO*)>& write) {
  std::unique_ptr<BIO, Freed<BIO_free_all>> memory(BIO_new(BIO_s_mem()));
  if (!memory || write(memory.get()) != 1) return {};
  char* text = nullptr;
  long size = BIO_get_mem_data(memory.get(), &text);
  return {text, static_cast<size_t>(size)};
}

bool AddExtension(X509* certificate, int kind, const char* value) {
  std::unique_ptr<X509_EXTENSION, Freed<X509_EXTENSION_free>> extension(
      X509V3_EXT_conf_nid(nullptr, nullptr, kind, value));
  return extension && X509_add_ext(certificate, extension.get(), -1) == 1;
}

bool FillCertificate(X509* certificate, EVP_PKEY* key) {
  constexpr long kTenYears = 10L * 365 * 86'400;
  uint64_t serial = RandomU64() >> 1;
  X509_NAME* name = X509_get_subject_name(certificate);
  return X509_set_version(certificate, X509_VERSION_3) == 1 &&
         ASN1_INTEGER_set_uint64(X509_get_serialNumber(certificate), serial) == 1 &&
         X509_gmtime_adj(X509_getm_notBefore(certificate), -86'400) != nullptr &&
         X509_gmtime_adj(X509_getm_notAfter(certificate), kTenYears) != nullptr &&
         X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, reinterpret_cast<const unsigned char*>("localhost"), -1,
                                    -1, 0) == 1 &&
         X509_set_issuer_name(certificate, name) == 1 && X509_set_pubkey(certificate, key) == 1 &&
         AddExtension(certificate, NID_basic_constraints, "critical,CA:TRUE") &&
         AddExtension(certificate, NID_subject_alt_name, "DNS:localhost,IP:127.0.0.1") &&
         X509_sign(certificate, key, EVP_sha256()) > 0;
}

}  // namespace

Result<DemoFolder> DemoFolder::Open(const std::string& path) {
  std::error_code failed;
  fs::create_directories(path, failed);
  if (failed) return Trouble(fmt::format("the folder {} cannot be made", path), failed.message());
  DemoFolder folder;
  folder.path_ = fs::canonical(path, failed).string();
  folder.lock_ = ::open(folder.File("lock").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (folder.lock_ < 0) return Trouble(fmt::format("nothing can be written in {}", path), std::strerror(errno));
  if (flock(folder.lock_, LOCK_EX | LOCK_NB) != 0) {
    return Fail(sqlstate::kIo, fmt::format("another `ecluse demo` is running in {}", path),
                "Stop it with Ctrl-C, or name another folder with --dir.", "demo.folder");
  }
  ECLUSE_OK(folder.ReadOrMakePasswords());
  if (!fs::exists(folder.File("root.key"))) ECLUSE_OK(KeyRing::Init(folder.File("root.key")));
  if (!fs::exists(folder.File("gate.crt"))) ECLUSE_OK(folder.MakeCertificate());
  return folder;
}

DemoFolder::DemoFolder(DemoFolder&& other) noexcept
    : path_(std::move(other.path_)), passwords_(std::move(other.passwords_)), lock_(std::exchange(other.lock_, -1)) {}

DemoFolder::~DemoFolder() {
  if (lock_ >= 0) close(lock_);
}

Status DemoFolder::ReadOrMakePasswords() {
  std::string file = File("passwords");
  if (fs::exists(file)) {
    ECLUSE_TRY(std::string text, ReadText(file));
    std::istringstream in(text);
    for (std::string whose, password; in >> whose >> password;) passwords_[whose] = password;
  }
  bool complete = true;
  auto need = [&](const std::string& whose) {
    if (passwords_.contains(whose)) return;
    passwords_[whose] = NewPassword();
    complete = false;
  };
  need("postgres");
  need("owner");
  for (const DemoAccount& account : kAccounts) need(account.name);
  if (complete) return {};
  std::string text;
  for (const auto& [whose, password] : passwords_) text += fmt::format("{} {}\n", whose, password);
  return ReplaceFile(RealFiles(), file, text);
}

Status DemoFolder::MakeCertificate() const {
  std::unique_ptr<EVP_PKEY, Freed<EVP_PKEY_free>> key(EVP_EC_gen("P-256"));
  std::unique_ptr<X509, Freed<X509_free>> certificate(X509_new());
  if (!key || !certificate || !FillCertificate(certificate.get(), key.get())) {
    return Trouble("a certificate for localhost could not be made");
  }
  std::string key_text =
      Pem([&](BIO* out) { return PEM_write_bio_PrivateKey(out, key.get(), nullptr, nullptr, 0, nullptr, nullptr); });
  std::string certificate_text = Pem([&](BIO* out) { return PEM_write_bio_X509(out, certificate.get()); });
  if (key_text.empty() || certificate_text.empty()) return Trouble("a certificate for localhost could not be written");
  ECLUSE_OK(ReplaceFile(RealFiles(), File("gate.key"), key_text));
  // The certificate comes last: where it is, the key is whole.
  return ReplaceFile(RealFiles(), File("gate.crt"), certificate_text);
}

namespace {

const std::regex kListen(R"((\n  sql:[^\n]*listen:\s*"?127\.0\.0\.1:)(\d+))");
const std::regex kDatabase(R"re((\n  database:\s*\{host:\s*")([^"\n]*)(",\s*port:\s*)(\d+))re");

}  // namespace

DemoPlaces DemoFolder::LastPlaces() const {
  DemoPlaces places;
  auto text = ReadText(File("ecluse.yaml"));
  if (!text) return places;
  std::smatch found;
  if (std::regex_search(*text, found, kListen))
    places.sql_port = static_cast<uint16_t>(std::atoi(found[2].str().c_str()));
  if (std::regex_search(*text, found, kDatabase)) {
    places.socket_folder = found[2];
    places.database_port = static_cast<uint16_t>(std::atoi(found[4].str().c_str()));
  }
  return places;
}

Status DemoFolder::WritePolicy(const DemoPlaces& places) const {
  std::string file = File("ecluse.yaml");
  if (!fs::exists(file)) return ReplaceFile(RealFiles(), file, DemoPolicy(places));
  ECLUSE_TRY(std::string text, ReadText(file));
  if (!std::regex_search(text, kListen) || !std::regex_search(text, kDatabase)) {
    return Fail(
        sqlstate::kIo, fmt::format("{} no longer says where the demonstration's doors are", file),
        "Write gate.sql and gate.database each on one line as `ecluse demo` does, or remove the file to get it anew.",
        "demo.folder");
  }
  std::string changed = std::regex_replace(text, kListen, fmt::format("$01{}", places.sql_port));
  changed =
      std::regex_replace(changed, kDatabase, fmt::format("$01{}$03{}", places.socket_folder, places.database_port));
  if (changed == text) return {};
  return ReplaceFile(RealFiles(), file, changed);
}

Status DemoFolder::WriteAccounts() const {
  return ChangeAccounts(File("accounts.yaml"), [this](AccountMap& accounts) -> Status {
    for (const DemoAccount& wanted : kAccounts) {
      Account& account = accounts[wanted.name];
      if (account.name == wanted.name && account.verifier.Matches(Password(wanted.name))) continue;
      std::array<char, 16> salt;
      RandomBytes({reinterpret_cast<uint8_t*>(salt.data()), salt.size()});
      account.name = wanted.name;
      account.organisation = wanted.organisation;
      account.roles = {wanted.role};
      account.verifier =
          ScramVerifier::Make(Password(wanted.name), {salt.data(), salt.size()}, limits::kScramIterations);
    }
    return {};
  });
}

}  // namespace ecluse::demo
