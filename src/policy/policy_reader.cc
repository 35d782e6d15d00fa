#include "policy/policy_reader.h"

#include <algorithm>
#include <charconv>

#include "base/limits.h"

namespace ecluse {
namespace {

std::string Shown(const YamlNode& node) {
  switch (node.kind) {
    case YamlNode::Kind::null:
      return "nothing";
    case YamlNode::Kind::list:
      return "a list";
    case YamlNode::Kind::map:
      return "a map";
    case YamlNode::Kind::scalar:
      break;
  }
  return "`" + node.text + "`";
}

std::string Join(const std::vector<std::string>& words) {
  std::string out;
  for (const std::string& word : words) out += (out.empty() ? "" : ", ") + word;
  return out;
}

// Letters to insert, remove or exchange.
size_t Distance(std::string_view a, std::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      size_t above = row[j];
      row[j] = std::min({row[j] + 1, row[j - 1] + 1, diagonal + (a[i - 1] == b[j - 1] ? 0 : 1)});
      diagonal = above;
    }
  }
  return row[b.size()];
}

}  // namespace

std::string Nearest(std::string_view word, const std::vector<std::string>& known) {
  constexpr size_t kLongestCompared = 100;
  if (word.size() > kLongestCompared) return {};
  std::string best;
  size_t least = word.size() / 3 + 2;
  for (const std::string& candidate : known) {
    if (candidate.size() > kLongestCompared) continue;
    size_t distance = Distance(word, candidate);
    if (distance < least) {
      least = distance;
      best = candidate;
    }
  }
  return best;
}

std::string DidYouMean(std::string_view word, const std::vector<std::string>& known) {
  std::string nearest = Nearest(word, known);
  return nearest.empty() ? "" : " (did you mean `" + nearest + "`?)";
}

void PolicyReader::NotInThisVersion(const YamlNode& node, std::string_view what) {
  Problem(node.mark,
          "this version does not have " + std::string(what) +
              " and refuses the policy rather than leave it undone; remove it, or wait for the version that has it");
}

std::string PolicyReader::Path(const std::string& written) const {
  std::filesystem::path path(written);
  if (path.is_relative()) path = folder / path;
  return path.lexically_normal().string();
}

std::optional<std::string> PolicyReader::Text(const YamlNode& node, std::string_view what) {
  if (node.kind != YamlNode::Kind::scalar || node.text.empty()) {
    Problem(node.mark, std::string(what) + " is " + Shown(node) + "; a text is allowed");
    return std::nullopt;
  }
  return node.text;
}

std::optional<bool> PolicyReader::Bool(const YamlNode& node, std::string_view what) {
  auto choice = Choice(node, what, {"false", "true"});
  if (!choice) return std::nullopt;
  return *choice == 1;
}

std::optional<int64_t> PolicyReader::Integer(const YamlNode& node, std::string_view what, int64_t least, int64_t most) {
  int64_t value = 0;
  bool good = node.kind == YamlNode::Kind::scalar && !node.text.empty();
  if (good) {
    auto [end, error] = std::from_chars(node.text.data(), node.text.data() + node.text.size(), value);
    good = error == std::errc() && end == node.text.data() + node.text.size() && value >= least && value <= most;
  }
  if (good) return value;
  Problem(node.mark, std::string(what) + " is " + Shown(node) + "; a whole number from " + std::to_string(least) +
                         " to " + std::to_string(most) + " is allowed");
  return std::nullopt;
}

std::optional<std::chrono::seconds> PolicyReader::Duration(const YamlNode& node, std::string_view what,
                                                           std::chrono::seconds least, std::chrono::seconds most) {
  if (node.kind == YamlNode::Kind::scalar) {
    auto duration = ParseDuration(node.text);
    if (duration && *duration >= least && *duration <= most) return duration;
  }
  Problem(node.mark, std::string(what) + " is " + Shown(node) + "; a duration from " + DurationText(least) + " to " +
                         DurationText(most) + " is allowed, as 30s, 15m, 24h, 7d or 3y");
  return std::nullopt;
}

std::optional<TableName> PolicyReader::Table(const YamlNode& node, std::string_view what) {
  auto bad = [&](std::string_view allowed) {
    Problem(node.mark, std::string(what) + " is " + Shown(node) + "; " + std::string(allowed));
    return std::nullopt;
  };
  if (node.kind != YamlNode::Kind::scalar) return bad("schema.table is allowed");
  const size_t dot = node.text.find('.');
  if (dot == std::string::npos || node.text.find('.', dot + 1) != std::string::npos) {
    return bad("a table is written schema.table, with one dot");
  }
  TableName table{node.text.substr(0, dot), node.text.substr(dot + 1)};
  for (const std::string& part : {table.schema, table.name}) {
    if (part.empty() || part.size() > limits::kIdentifier) return bad("schema and table are 1 to 63 bytes each");
    // The gate quotes names, but people and logs read them: nothing that could be taken for something else.
    if (part.find_first_of("\"'\\ \t\r\n;`") != std::string::npos) return bad("names hold no spaces or quotes");
  }
  if (table.schema.starts_with("pg_") || table.schema == "information_schema" || table.schema.starts_with("ecluse_")) {
    return bad("schemas pg_*, information_schema and ecluse_* belong to PostgreSQL and to the gate");
  }
  return table;
}

std::optional<size_t> PolicyReader::Choice(const YamlNode& node, std::string_view what,
                                           std::initializer_list<std::string_view> choices) {
  std::vector<std::string> known;
  for (std::string_view choice : choices) {
    if (node.kind == YamlNode::Kind::scalar && node.text == choice) return known.size();
    known.emplace_back(choice);
  }
  Problem(node.mark,
          std::string(what) + " is " + Shown(node) + DidYouMean(node.text, known) + "; allowed: " + Join(known));
  return std::nullopt;
}

std::vector<const YamlNode*> PolicyReader::Words(const YamlNode& node, std::string_view what) {
  std::vector<const YamlNode*> words;
  if (node.kind != YamlNode::Kind::list) {
    Problem(node.mark, std::string(what) + " is " + Shown(node) + "; a list is allowed, as [a, b]");
    return words;
  }
  for (const YamlNode& item : node.items) {
    if (Text(item, std::string("an entry of ") + std::string(what))) words.push_back(&item);
  }
  return words;
}

PolicyFields::PolicyFields(PolicyReader& reader, const YamlNode& node, std::string_view what,
                           std::initializer_list<std::string_view> allowed)
    : reader_(reader), node_(node), what_(what) {
  std::vector<std::string> known(allowed.begin(), allowed.end());
  if (node.kind != YamlNode::Kind::map) {
    reader.Problem(node.mark, what_ + " is " + Shown(node) + "; a map is allowed, with " + Join(known));
    return;
  }
  map_ = &node;
  for (const YamlNode& key : node.keys) {
    if (std::ranges::find(known, key.text) != known.end()) continue;
    reader.Problem(key.mark, "unknown key `" + key.text + "` in " + what_ + DidYouMean(key.text, known) +
                                 "; allowed: " + Join(known));
  }
}

const YamlNode* PolicyFields::Need(std::string_view key, std::string_view example) {
  if (map_ == nullptr) return nullptr;
  const YamlNode* value = map_->Find(key);
  if (value == nullptr) {
    reader_.Problem(node_.mark,
                    what_ + " has no `" + std::string(key) + "`; it must be there, as " + std::string(example));
  }
  return value;
}

}  // namespace ecluse
