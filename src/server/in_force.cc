#include "server/in_force.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <tuple>

#include "base/log.h"
#include "policy/applied.h"

namespace ecluse {

Result<std::shared_ptr<const Policy>> ReadPolicy(const std::string& config) {
  std::vector<PolicyProblem> warnings;
  auto policy = LoadPolicy(config, &warnings);
  for (const PolicyProblem& warning : warnings) Log().warn("{}", ProblemText(config, warning));
  if (policy && !(*policy)->sql)
    return Fail(sqlstate::kInvalidParameter, "the policy opens no door", "Give it `gate.sql.listen`.",
                "server.no-door");
  if (policy) return *policy;
  std::string text = "the policy is not valid";
  for (const PolicyProblem& problem : policy.error()) text += "\n" + ProblemText(config, problem);
  return Fail(sqlstate::kInvalidParameter, std::move(text), "`ecluse check` says the same; correct the file.",
              "server.policy");
}

namespace {

Result<std::shared_ptr<UpstreamLogin>> LoginOf(const Policy& policy, KeyRing& keys, const std::string& name) {
  ECLUSE_TRY(LoginCredentials credentials, LoadLogin(policy.data_dir, keys, name));
  auto login = std::make_shared<UpstreamLogin>();
  login->user = credentials.login;
  login->password = std::move(credentials.password);
  return login;
}

}  // namespace

Result<std::shared_ptr<const Snapshot>> Compile(std::shared_ptr<const Policy> policy, KeyRing& keys) {
  ECLUSE_TRY(RoleSchemas schemas, OpenRoleSchemas(policy, keys));
  auto snapshot = std::make_shared<Snapshot>();
  for (const auto& [name, schema] : schemas) {
    ECLUSE_TRY(auto login, LoginOf(*policy, keys, schema->login));
    std::set<std::string> type_schemas;
    for (const std::string& type : schema->types) type_schemas.insert(type.substr(0, type.find('.')));
    login->schemas.assign(type_schemas.begin(), type_schemas.end());
    snapshot->logins[name] = std::move(login);
    snapshot->generation = std::max(snapshot->generation, schema->generation);
  }
  ECLUSE_TRY(snapshot->gate_login, LoginOf(*policy, keys, policy->GateLogin()));
  snapshot->schemas = std::move(schemas);
  snapshot->policy = std::move(policy);
  return snapshot;
}

Result<StartupOptions> GreetingOf(const Policy& policy, Authenticator* authenticator) {
  StartupOptions greeting;
  greeting.authenticator = authenticator;
  greeting.allow_cleartext = policy.allow_cleartext;
  if (!policy.sql->certificate.empty()) {
    ECLUSE_TRY(greeting.tls, TlsContext::Server(policy.sql->certificate, policy.sql->key));
  }
  return greeting;
}

Status CheckFixed(const Policy& now, const Policy& next) {
  auto door = [](const Policy& of) { return std::tie(of.sql->address, of.sql->port); };
  auto database = [](const Policy& of) {
    return std::tie(of.database.host, of.database.port, of.database.name, of.database.tls, of.database.ca);
  };
  std::vector<std::string_view> changed;
  if (now.register_name != next.register_name) changed.emplace_back("register");
  if (now.data_dir != next.data_dir) changed.emplace_back("gate.data_dir");
  if (door(now) != door(next)) changed.emplace_back("gate.sql.listen");
  if (database(now) != database(next)) changed.emplace_back("gate.database");
  if (now.root != next.root) changed.emplace_back("vault.root");
  if (now.erasure_horizon != next.erasure_horizon) changed.emplace_back("vault.erasure_horizon");
  if (now.literals_retention != next.literals_retention) changed.emplace_back("ledger.literals_retention");
  if (now.accounts_file != next.accounts_file) changed.emplace_back("identity.accounts");
  if (changed.empty()) return {};
  return Fail(sqlstate::kInvalidParameter,
              fmt::format("{} changed, which a running gate cannot take", fmt::join(changed, ", ")),
              "Restart the gate (systemctl restart ecluse), or set it back and reload.", "server.restart-needed");
}

}  // namespace ecluse
