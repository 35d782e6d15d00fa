// A YAML text as a plain tree with positions: what the policy loader reads, and nothing that can surprise it.
//
// YAML is larger than a policy needs. Anchors, aliases, tags, several documents, repeated keys and keys that are not
// plain words are refused here, so that what a reader sees in the file is what the gate does.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "policy/policy.h"

namespace ecluse {

struct YamlNode {
  enum class Kind { null, scalar, list, map };
  Kind kind = Kind::null;
  Mark mark;
  std::string text;             // of a scalar
  std::vector<YamlNode> keys;   // of a map: scalars, each once
  std::vector<YamlNode> items;  // of a list; of a map, the value of the key of the same index

  const YamlNode* Find(std::string_view key) const;  // of a map; nullptr where it is absent
  bool Empty() const { return kind == Kind::null; }
};

// Parses any bytes. Never throws. Returns nothing where `problems` received a reason that leaves no tree to read;
// smaller problems (a repeated key) are added and the tree is returned, so that more can be found in one go.
std::optional<YamlNode> ParseYaml(std::string_view text, std::vector<PolicyProblem>& problems);

// The tree's content in one spelling: keys sorted, lengths before texts. Layout, comments, quoting and the order of
// keys do not count; the order of lists does.
std::string CanonicalYaml(const YamlNode& node);

}  // namespace ecluse
