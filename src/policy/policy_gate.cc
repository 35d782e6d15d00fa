// The parts of a policy that say where things are: doors, database, files.
#include <arpa/inet.h>

#include <charconv>

#include "base/limits.h"
#include "policy/policy_reader.h"

namespace ecluse {
namespace {

bool IsLoopback(const std::string& host) {
  in_addr v4{};
  in6_addr v6{};
  if (host == "localhost") return true;
  if (inet_pton(AF_INET, host.c_str(), &v4) == 1) return (ntohl(v4.s_addr) >> 24) == 127;
  return inet_pton(AF_INET6, host.c_str(), &v6) == 1 && IN6_IS_ADDR_LOOPBACK(&v6);
}

bool IsAddress(const std::string& host) {
  unsigned char bytes[16];
  return host == "localhost" || inet_pton(AF_INET, host.c_str(), bytes) == 1 ||
         inet_pton(AF_INET6, host.c_str(), bytes) == 1;
}

// "127.0.0.1:6432", "[::1]:6432"
std::optional<Listen> ParseListen(const std::string& text) {
  const size_t colon = text.rfind(':');
  if (colon == std::string::npos) return std::nullopt;
  std::string host = text.substr(0, colon), port = text.substr(colon + 1);
  if (host.starts_with("[") && host.ends_with("]")) {
    host = host.substr(1, host.size() - 2);
  } else if (host.find(':') != std::string::npos) {
    return std::nullopt;
  }
  Listen listen;
  auto [end, error] = std::from_chars(port.data(), port.data() + port.size(), listen.port);
  if (error != std::errc() || end != port.data() + port.size() || !IsAddress(host)) return std::nullopt;
  listen.address = host;
  return listen;
}

void ReadSqlDoor(PolicyReader& reader, const YamlNode& node) {
  PolicyFields fields(reader, node, "gate.sql", {"listen", "tls"});
  const YamlNode* listen = fields.Need("listen", "listen: 127.0.0.1:6432");
  if (listen == nullptr) return;
  auto door = ParseListen(listen->text);
  if (listen->kind != YamlNode::Kind::scalar || !door) {
    reader.Problem(listen->mark,
                   "gate.sql.listen is `" + listen->text +
                       "`; an IP address or localhost, a colon and a port from 0 to 65535 are allowed, as "
                       "127.0.0.1:6432 or [::1]:6432");
    return;
  }
  if (const YamlNode* tls = fields.Get("tls")) {
    PolicyFields files(reader, *tls, "gate.sql.tls", {"certificate", "key"});
    if (const YamlNode* file = files.Need("certificate", "certificate: gate.crt")) {
      if (auto text = reader.Text(*file, "gate.sql.tls.certificate")) door->certificate = reader.Path(*text);
    }
    if (const YamlNode* file = files.Need("key", "key: gate.key")) {
      if (auto text = reader.Text(*file, "gate.sql.tls.key")) door->key = reader.Path(*text);
    }
  } else if (!reader.policy.allow_cleartext) {
    reader.Problem(node.mark,
                   "gate.sql has no `tls`; passwords and people would cross the network in clear: give tls "
                   "{certificate, key}, or on loopback only say gate.allow_cleartext: true");
  }
  if (reader.policy.allow_cleartext && !IsLoopback(door->address)) {
    reader.Problem(listen->mark, "gate.allow_cleartext is true and gate.sql listens on " + door->address +
                                     "; without TLS only loopback is allowed (127.0.0.1, ::1, localhost)");
  }
  reader.policy.sql = std::move(*door);
}

void ReadDatabaseTls(PolicyReader& reader, const PolicyFields& fields, const YamlNode& node) {
  DatabaseTarget& database = reader.policy.database;
  const bool socket = database.host.starts_with("/");
  if (socket) database.tls = DatabaseTarget::Tls::disable;
  const YamlNode* tls = fields.Get("tls");
  const YamlNode& at = tls != nullptr ? *tls : node;
  if (tls != nullptr) {
    auto choice = reader.Choice(*tls, "gate.database.tls", {"disable", "require", "verify-ca", "verify-full"});
    if (!choice) return;
    database.tls = static_cast<DatabaseTarget::Tls>(*choice);
    if (socket && database.tls != DatabaseTarget::Tls::disable) {
      reader.Problem(tls->mark, "gate.database.tls over a Unix socket, which has none; leave `tls` out");
      return;
    }
  }
  if (const YamlNode* ca = fields.Get("ca")) {
    if (auto text = reader.Text(*ca, "gate.database.ca")) database.ca = reader.Path(*text);
  }
  const bool verifies =
      database.tls == DatabaseTarget::Tls::verify_ca || database.tls == DatabaseTarget::Tls::verify_full;
  if (verifies && database.ca.empty()) {
    reader.Problem(at.mark,
                   "gate.database verifies the server and has no `ca`; name the file with the certificate "
                   "authority's certificate, as ca: ca.crt");
  }
  if (!socket && database.tls == DatabaseTarget::Tls::disable && !IsLoopback(database.host)) {
    reader.Problem(at.mark,
                   "gate.database.tls is disable and the host is not this machine; allowed over the network: "
                   "verify-full, verify-ca, require");
  }
  if (database.tls == DatabaseTarget::Tls::require && !IsLoopback(database.host)) {
    reader.Warn(at.mark,
                "gate.database.tls is require, which encrypts but does not know whom it talks to; verify-full is "
                "the mode that does");
  }
}

void ReadDatabase(PolicyReader& reader, const YamlNode& node) {
  PolicyFields fields(reader, node, "gate.database", {"host", "port", "name", "tls", "ca"});
  DatabaseTarget& database = reader.policy.database;
  if (const YamlNode* host = fields.Need("host", "host: db.internal, or the folder of a Unix socket")) {
    if (auto text = reader.Text(*host, "gate.database.host")) database.host = *text;
    if (host->text.starts_with("./")) database.host = reader.Path(host->text);
  }
  if (const YamlNode* port = fields.Get("port")) {
    if (auto value = reader.Integer(*port, "gate.database.port", 1, 65'535))
      database.port = static_cast<uint16_t>(*value);
  }
  if (const YamlNode* name = fields.Need("name", "name: interior")) {
    if (auto text = reader.Text(*name, "gate.database.name")) database.name = *text;
  }
  if (fields.ok() && !database.host.empty()) ReadDatabaseTls(reader, fields, node);
}

}  // namespace

void ReadGate(PolicyReader& reader, const YamlNode& node) {
  PolicyFields fields(reader, node, "gate",
                      {"data_dir", "sql", "http", "database", "allow_cleartext", "statement_timeout"});
  if (!fields.ok()) return;
  if (const YamlNode* value = fields.Get("allow_cleartext")) {
    reader.policy.allow_cleartext = reader.Bool(*value, "gate.allow_cleartext").value_or(false);
  }
  if (const YamlNode* value = fields.Need("data_dir", "data_dir: /var/lib/ecluse")) {
    if (auto text = reader.Text(*value, "gate.data_dir")) reader.policy.data_dir = reader.Path(*text);
  }
  if (const YamlNode* value = fields.Get("http")) reader.NotInThisVersion(*value, "the REST door (gate.http)");
  if (const YamlNode* value =
          fields.Need("sql", "sql: {listen: 127.0.0.1:6432, tls: {certificate: gate.crt, key: gate.key}}")) {
    ReadSqlDoor(reader, *value);
  }
  if (const YamlNode* value = fields.Need("database", "database: {host: db.internal, name: interior, ca: ca.crt}")) {
    ReadDatabase(reader, *value);
  }
  if (const YamlNode* value = fields.Get("statement_timeout")) {
    using namespace std::chrono_literals;
    if (auto time = reader.Duration(*value, "gate.statement_timeout", 1s, 24h)) reader.policy.statement_timeout = *time;
  }
}

void ReadIdentity(PolicyReader& reader, const YamlNode* node) {
  reader.policy.accounts_file = reader.Path("accounts.yaml");
  if (node == nullptr) return;
  PolicyFields fields(reader, *node, "identity", {"accounts", "tokens"});
  if (const YamlNode* value = fields.Get("accounts")) {
    if (auto text = reader.Text(*value, "identity.accounts")) reader.policy.accounts_file = reader.Path(*text);
  }
  if (const YamlNode* value = fields.Get("tokens")) reader.NotInThisVersion(*value, "tokens (identity.tokens)");
}

void ReadVault(PolicyReader& reader, const YamlNode* node) {
  RootSource& source = reader.policy.root;
  source.file = reader.Path("root.key");
  std::vector<std::pair<std::string, Mark>> outside = {{source.file, node != nullptr ? node->mark : Mark{1, 1}}};
  const auto path = [&](PolicyFields& fields, const char* key, const std::string& name, std::string* to) {
    const YamlNode* value = fields.Get(key);
    if (value == nullptr) return;
    if (auto text = reader.Text(*value, name)) outside.emplace_back(*to = reader.Path(*text), value->mark);
  };
  if (node != nullptr) {
    PolicyFields fields(reader, *node, "vault", {"root", "generations", "erasure_horizon"});
    if (const YamlNode* time = fields.Get("erasure_horizon")) {
      if (auto read = reader.Duration(*time, "vault.erasure_horizon", limits::kErasureHorizonLeast,
                                      limits::kErasureHorizonMost))
        reader.policy.erasure_horizon = *read;
    }
    if (const YamlNode* root = fields.Get("root")) {
      PolicyFields roots(reader, *root, "vault.root", {"file", "passphrase_file", "pkcs11"});
      const YamlNode* file = roots.Get("file");
      const YamlNode* token = roots.Get("pkcs11");
      if (roots.ok() && (file == nullptr) == (token == nullptr)) {
        reader.Problem(root->mark,
                       "vault.root names one key; {file: /etc/ecluse/root.key} or {pkcs11: {module: …, token: …}} is "
                       "allowed");
      }
      outside.clear();
      if (file != nullptr) {
        path(roots, "file", "vault.root.file", &source.file);
        path(roots, "passphrase_file", "vault.root.passphrase_file", &source.passphrase_file);
      } else if (token != nullptr) {
        source.file.clear();
        if (const YamlNode* stray = roots.Get("passphrase_file"))
          reader.Problem(stray->mark, "passphrase_file belongs to a key in a file; a token's PIN is named in pin_file");
        PolicyFields tokens(reader, *token, "vault.root.pkcs11", {"module", "token", "pin_file"});
        if (const YamlNode* module = tokens.Need("module", "module: /usr/lib/softhsm/libsofthsm2.so")) {
          if (auto text = reader.Text(*module, "vault.root.pkcs11.module")) source.module = reader.Path(*text);
        }
        if (const YamlNode* label = tokens.Need("token", "token: ecluse")) {
          if (auto text = reader.Text(*label, "vault.root.pkcs11.token")) source.token = *text;
        }
        path(tokens, "pin_file", "vault.root.pkcs11.pin_file", &source.pin_file);
        source.generations = reader.Path("root.generations");
      }
    }
    path(fields, "generations", "vault.generations", &source.generations);
  }
  if (reader.policy.data_dir.empty()) return;
  for (const auto& [name, mark] : outside) {
    const std::filesystem::path inside = std::filesystem::path(name).lexically_relative(reader.policy.data_dir);
    if (inside.empty() || *inside.begin() == "..") continue;
    reader.Problem(mark,
                   "the root key, what opens it, or the file of root generations lies inside gate.data_dir, so whoever "
                   "copies one has both; put it outside");
  }
}

}  // namespace ecluse
