// The part of a policy that is about the ledger: checkpoints, witnesses, retention.
#include <boost/url/parse.hpp>
#include <boost/url/url_view.hpp>

#include "base/limits.h"
#include "policy/policy_reader.h"

namespace ecluse {
namespace {

using namespace std::chrono_literals;

// "http://witness.example:7380" or "https://witness.example/some/prefix".
bool ReadUrl(const std::string& text, PolicyWitness* out) {
  const auto parsed = boost::urls::parse_uri(text);
  if (!parsed) return false;
  const boost::urls::url_view url = *parsed;
  const bool http = url.scheme_id() == boost::urls::scheme::http, https = url.scheme_id() == boost::urls::scheme::https;
  if ((!http && !https) || url.has_userinfo() || url.has_query() || url.has_fragment()) return false;
  if (url.encoded_host_address().empty() || (url.has_port() && url.port_number() == 0)) return false;
  out->url = text;
  out->tls = https;
  const boost::urls::string_view host = url.encoded_host_address(), path = url.encoded_path();
  out->host = std::string(host.data(), host.size());
  out->port = url.has_port() ? url.port_number() : https ? 443 : 80;
  out->target = std::string(path.data(), path.size());
  while (out->target.ends_with('/')) out->target.pop_back();
  out->target += "/add-checkpoint";
  return true;
}

std::optional<PolicyWitness> ReadWitness(PolicyReader& reader, const YamlNode& node) {
  PolicyFields fields(reader, node, "a witness", {"name", "key", "url"});
  const YamlNode* name = fields.Need("name", "name: witness.example/interior");
  const YamlNode* key =
      fields.Need("key", "key: witness.example/interior+1b2c3d4e+BA…, as the witness's file vkey has");
  const YamlNode* url = fields.Need("url", "url: https://witness.example");
  if (name == nullptr || key == nullptr || url == nullptr) return std::nullopt;
  const auto name_text = reader.Text(*name, "a witness's name"), key_text = reader.Text(*key, "a witness's key"),
             url_text = reader.Text(*url, "a witness's url");
  if (!name_text || !key_text || !url_text) return std::nullopt;
  PolicyWitness witness;
  auto parsed = ParseVerifierKey(*key_text);
  if (!parsed || parsed->type != SignatureType::cosignature) {
    reader.Problem(key->mark,
                   "that is no verifier key of a witness; the line in its file vkey is allowed, of type cosignature/v1 "
                   "(c2sp.org/tlog-cosignature)");
    return std::nullopt;
  }
  witness.key = std::move(*parsed);
  if (witness.key.name != *name_text) {
    reader.Problem(name->mark, "the witness is called " + *name_text + " and its key is of " + witness.key.name +
                                   "; the name in the key is allowed");
    return std::nullopt;
  }
  if (!ReadUrl(*url_text, &witness)) {
    reader.Problem(url->mark, "a witness's url is " + *url_text +
                                  "; http:// or https:// with a host is allowed, "
                                  "without user, query and fragment, as https://witness.example");
    return std::nullopt;
  }
  return witness;
}

void ReadWitnesses(PolicyReader& reader, const YamlNode& node) {
  std::vector<PolicyWitness>& witnesses = reader.policy.witnesses;
  if (node.kind != YamlNode::Kind::list || node.items.size() > limits::kWitnesses) {
    reader.Problem(node.mark, "ledger.witnesses is a list of at most " + std::to_string(limits::kWitnesses) +
                                  " witnesses, as [{name: …, key: …, url: …}]");
    return;
  }
  for (const YamlNode& item : node.items) {
    auto witness = ReadWitness(reader, item);
    if (!witness) continue;
    for (const PolicyWitness& other : witnesses) {
      if (other.key.name == witness->key.name || other.key.key == witness->key.key)
        reader.Problem(item.mark, "the witness " + witness->key.name + " is named twice; each counts once");
    }
    witnesses.push_back(std::move(*witness));
  }
}

}  // namespace

void ReadLedger(PolicyReader& reader, const YamlNode* node) {
  if (node == nullptr) return;
  PolicyFields fields(
      reader, *node, "ledger",
      {"checkpoint_every", "witnesses", "required_witnesses", "witness_grace", "retention", "literals_retention"});
  if (const YamlNode* value = fields.Get("literals_retention")) {
    if (auto time = reader.Duration(*value, "ledger.literals_retention", 1s, limits::kDurationMax))
      reader.policy.literals_retention = *time;
  }
  if (const YamlNode* value = fields.Get("retention")) {
    if (auto time = reader.Duration(*value, "ledger.retention", 1s, limits::kDurationMax)) {
      reader.policy.ledger_retention = *time;
    }
  }
  if (const YamlNode* value = fields.Get("checkpoint_every")) {
    if (auto time = reader.Duration(*value, "ledger.checkpoint_every", 1s, limits::kCheckpointEveryMax)) {
      reader.policy.checkpoint_every = *time;
    }
  }
  size_t named = 0;
  if (const YamlNode* value = fields.Get("witnesses")) {
    ReadWitnesses(reader, *value);
    named = value->items.size();
  }
  if (const YamlNode* value = fields.Get("required_witnesses")) {
    // One may always be out of order.
    const int64_t most = named == 0 ? 0 : static_cast<int64_t>(named) - 1;
    if (auto count = reader.Integer(*value, "ledger.required_witnesses (fewer than there are witnesses)", 0, most))
      reader.policy.required_witnesses = static_cast<size_t>(*count);
  }
  if (const YamlNode* value = fields.Get("witness_grace")) {
    if (auto time = reader.Duration(*value, "ledger.witness_grace", limits::kWitnessGraceLeast, limits::kDurationMax))
      reader.policy.witness_grace = *time;
  }
  const Policy& policy = reader.policy;
  if (policy.required_witnesses > 0 && policy.witness_grace < limits::kWitnessSlack * policy.checkpoint_every) {
    reader.Problem(node->mark,
                   "ledger.witness_grace is less than " + std::to_string(limits::kWitnessSlack) +
                       " times ledger.checkpoint_every, so that nothing could be cosigned in time; a longer "
                       "grace or a shorter interval is allowed");
  }
}

}  // namespace ecluse
