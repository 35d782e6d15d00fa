// Reading one policy tree: typed values with positions, and every problem gathered instead of thrown at the first.
// Internal to policy/.
#pragma once

#include <chrono>
#include <filesystem>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "policy/policy.h"
#include "policy/yaml_tree.h"

namespace ecluse {

// What one load gathers. `policy` is complete only where no problem was added.
struct PolicyReader {
  Policy policy;
  std::vector<PolicyProblem> problems;
  std::filesystem::path folder;  // what relative paths are relative to; absolute

  // Message: "what is wrong; what is allowed".
  void Problem(Mark mark, std::string message) { problems.push_back({mark, std::move(message), false}); }
  void Warn(Mark mark, std::string message) { problems.push_back({mark, std::move(message), true}); }
  // A key that a later version brings. Refused, because ignoring it would leave the operator believing in it.
  void NotInThisVersion(const YamlNode& node, std::string_view what);

  std::string Path(const std::string& written) const;  // made absolute

  // Each adds a problem and returns nothing where the node is not such a value. `what` names it: "gate.data_dir".
  std::optional<std::string> Text(const YamlNode& node, std::string_view what);
  std::optional<bool> Bool(const YamlNode& node, std::string_view what);
  std::optional<int64_t> Integer(const YamlNode& node, std::string_view what, int64_t least, int64_t most);
  std::optional<std::chrono::seconds> Duration(const YamlNode& node, std::string_view what, std::chrono::seconds least,
                                               std::chrono::seconds most);
  std::optional<TableName> Table(const YamlNode& node, std::string_view what);
  // Index of the scalar among `choices`.
  std::optional<size_t> Choice(const YamlNode& node, std::string_view what,
                               std::initializer_list<std::string_view> choices);
  // A list of texts; each keeps its mark.
  std::vector<const YamlNode*> Words(const YamlNode& node, std::string_view what);
};

// The keys of one map. Construction adds a problem for a node that is no map and for every key that is not allowed.
class PolicyFields {
 public:
  PolicyFields(PolicyReader& reader, const YamlNode& node, std::string_view what,
               std::initializer_list<std::string_view> allowed);
  bool ok() const { return map_ != nullptr; }
  // The value; nullptr where the key is absent.
  const YamlNode* Get(std::string_view key) const { return map_ == nullptr ? nullptr : map_->Find(key); }
  // The same, with a problem where it is absent.
  const YamlNode* Need(std::string_view key, std::string_view example);

 private:
  PolicyReader& reader_;
  const YamlNode& node_;
  const YamlNode* map_ = nullptr;
  std::string what_;
};

// The word of `known` that differs from `word` by the fewest letters, where that is few enough to be a slip; else
// empty.
std::string Nearest(std::string_view word, const std::vector<std::string>& known);
// ` (did you mean `x`?)`, or nothing.
std::string DidYouMean(std::string_view word, const std::vector<std::string>& known);

// "1s", "15m", "24h", "7d", "3y" (of 365 days). Nothing for any other text and for what does not fit.
std::optional<std::chrono::seconds> ParseDuration(std::string_view text);
std::string DurationText(std::chrono::seconds duration);  // the shortest such text
std::optional<Mask> ParseMask(std::string_view text);
// "Mon-Fri 08:00-18:00, Sat 09:00-12:00 Europe/Paris". `why` says what is wrong where nothing is returned.
std::optional<Hours> ParseHours(std::string_view text, std::string& why);

// The parts of a policy, in the order they need one another. Each reads its top-level keys.
void ReadGate(PolicyReader& reader, const YamlNode& node);
void ReadPurposes(PolicyReader& reader, const YamlNode* node);
void ReadTables(PolicyReader& reader, const YamlNode& node);
void ReadOpenTables(PolicyReader& reader, const YamlNode& node);
void ReadRoles(PolicyReader& reader, const YamlNode& node);
void ReadLimits(PolicyReader& reader, const YamlNode* node);
void ReadIdentity(PolicyReader& reader, const YamlNode* node);
void ReadLedger(PolicyReader& reader, const YamlNode* node);
void ReadVault(PolicyReader& reader, const YamlNode* node);
void ReadFunctions(PolicyReader& reader, const YamlNode& node);
// A list of windows: {subjects: 60, per: 1h}.
std::vector<Window> ReadWindows(PolicyReader& reader, const YamlNode& node, std::string_view what);
// Names of registers, roles, purposes, classes and spaces: lower-case letters, digits, - and, with `underscore`, _.
bool IsName(std::string_view text, bool underscore);

}  // namespace ecluse
