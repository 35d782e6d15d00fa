#include "policy/policy.h"

#include <openssl/sha.h>

#include <algorithm>
#include <fstream>

#include "base/bytes.h"
#include "base/limits.h"
#include "policy/policy_reader.h"

namespace ecluse {
namespace {

std::string Sha256Hex(std::string_view text) {
  uint8_t hash[SHA256_DIGEST_LENGTH];
  SHA256(reinterpret_cast<const unsigned char*>(text.data()), text.size(), hash);
  return HexEncode(hash);
}

void ReadNames(PolicyReader& reader, PolicyFields& fields) {
  if (const YamlNode* value = fields.Need("version", "version: 1")) reader.Integer(*value, "version", 1, 1);
  const YamlNode* value = fields.Need("register", "register: interior");
  if (value == nullptr) return;
  auto name = reader.Text(*value, "register");
  if (!name) return;
  if (!IsName(*name, false)) {
    reader.Problem(value->mark, "register is `" + *name +
                                    "`; at most 40 lower-case letters, digits and - are allowed, a "
                                    "letter first (no _, which ends the register's name in logins)");
    return;
  }
  reader.policy.register_name = *name;
}

void ReadAll(PolicyReader& reader, const YamlNode& root) {
  PolicyFields fields(reader, root, "the policy",
                      {"version", "register", "gate", "purposes", "tables", "open_tables", "roles", "limits",
                       "identity", "ledger", "vault", "functions"});
  if (!fields.ok()) return;
  ReadNames(reader, fields);
  if (const YamlNode* value = fields.Need("gate", "gate: {data_dir: …, sql: …, database: …}")) ReadGate(reader, *value);
  ReadPurposes(reader, fields.Get("purposes"));
  const YamlNode* open = fields.Get("open_tables");
  if (const YamlNode* value = fields.Need("tables", "tables: {taj.person: {subject: person_id, columns: {…}}}")) {
    ReadTables(reader, *value);
  }
  if (open != nullptr) ReadOpenTables(reader, *open);
  if (const YamlNode* value = fields.Get("functions")) ReadFunctions(reader, *value);
  if (const YamlNode* value = fields.Need("roles", "roles: {officer: {read: {…}}}")) ReadRoles(reader, *value);
  ReadLimits(reader, fields.Get("limits"));
  ReadIdentity(reader, fields.Get("identity"));
  ReadLedger(reader, fields.Get("ledger"));
  ReadVault(reader, fields.Get("vault"));
}

}  // namespace

std::string Policy::LoginOf(const std::string& role) const { return "ecluse_" + register_name + "_" + role; }

std::vector<std::string> Policy::Compartments() const {
  std::set<std::string> names{std::string(kMainCompartment)};
  for (const auto& [name, table] : tables) names.insert(table.compartment);
  return {names.begin(), names.end()};
}

std::string Policy::GateLogin() const { return LoginOf("_gate"); }

std::chrono::seconds Policy::LongestWindow() const {
  std::chrono::seconds longest{0};
  const auto add = [&](const std::vector<Window>& windows) {
    for (const Window& window : windows) longest = std::max(longest, window.per);
  };
  add(per_address);
  add(per_organisation);
  add(per_register);
  for (const auto& [name, role] : roles) {
    add(role.budgets);
    if (role.statistics) longest = std::max(longest, role.statistics->per);
  }
  return longest;
}

std::vector<std::string> Policy::Logins() const {
  std::vector<std::string> logins = {GateLogin()};
  for (const auto& [name, role] : roles) logins.push_back(LoginOf(name));
  return logins;
}

std::expected<std::shared_ptr<const Policy>, std::vector<PolicyProblem>> ParsePolicy(
    std::string_view text, const std::string& path, std::vector<PolicyProblem>* warnings) {
  PolicyReader reader;
  std::error_code ignored;
  const std::filesystem::path absolute = std::filesystem::absolute(path, ignored);
  reader.folder = absolute.parent_path();
  reader.policy.file = path;
  if (auto root = ParseYaml(text, reader.problems)) {
    ReadAll(reader, *root);
    reader.policy.digest = Sha256Hex(CanonicalYaml(*root));
  }
  std::ranges::sort(reader.problems, [](const PolicyProblem& a, const PolicyProblem& b) {
    return std::tie(a.mark.line, a.mark.column, a.message) < std::tie(b.mark.line, b.mark.column, b.message);
  });
  if (std::ranges::any_of(reader.problems, [](const PolicyProblem& problem) { return !problem.warning; })) {
    return std::unexpected(std::move(reader.problems));
  }
  if (warnings != nullptr) *warnings = std::move(reader.problems);
  return std::make_shared<const Policy>(std::move(reader.policy));
}

std::expected<std::shared_ptr<const Policy>, std::vector<PolicyProblem>> LoadPolicy(
    const std::string& path, std::vector<PolicyProblem>* warnings) {
  auto refuse = [](std::string message) {
    return std::unexpected(std::vector<PolicyProblem>{{{1, 1}, std::move(message), false}});
  };
  std::error_code error;
  if (!std::filesystem::is_regular_file(path, error)) {
    return refuse("there is no such file; name the policy with --config");
  }
  std::ifstream file(path, std::ios::binary);
  if (!file) return refuse("the file cannot be opened; let the gate's user read it");
  std::string text(limits::kPolicyBytes + 1, '\0');
  file.read(text.data(), static_cast<std::streamsize>(text.size()));
  if (file.bad()) return refuse("the file cannot be read; check the disk");
  text.resize(static_cast<size_t>(file.gcount()));
  if (text.size() > limits::kPolicyBytes) {
    return refuse("the file is larger than " + std::to_string(limits::kPolicyBytes) + " bytes; a policy is smaller");
  }
  return ParsePolicy(text, path, warnings);
}

std::string ProblemText(const std::string& file, const PolicyProblem& problem) {
  return file + ":" + std::to_string(problem.mark.line) + ":" + std::to_string(problem.mark.column) + ": " +
         (problem.warning ? "warning: " : "") + problem.message;
}

}  // namespace ecluse
