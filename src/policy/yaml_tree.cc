#include "policy/yaml_tree.h"

#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/parser.h>

#include <algorithm>
#include <set>
#include <sstream>

#include "base/check.h"
#include "base/limits.h"

namespace ecluse {
namespace {

Mark Position(const YAML::Mark& mark) { return {mark.line + 1, mark.column + 1}; }

// Ends parsing; the problem has been added.
struct Stop {};

// A map or list whose end has not come yet.
struct Level {
  YamlNode node;
  YamlNode key;  // of a map, while its value is awaited
  bool has_key = false;
  std::set<std::string> names;
};

class TreeBuilder final : public YAML::EventHandler {
 public:
  explicit TreeBuilder(std::vector<PolicyProblem>& problems) : problems_(problems) {}

  YamlNode Take() {
    CHECK(open_.empty());
    return std::move(root_);
  }

  void OnDocumentStart(const YAML::Mark&) override {}
  void OnDocumentEnd() override {}
  void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    Refuse(mark, "", anchor);
    Add(Make(YamlNode::Kind::null, mark));
  }
  void OnAlias(const YAML::Mark& mark, YAML::anchor_t) override {
    Fatal(mark, "an alias (*name); write the value out: anchors and aliases are not allowed");
  }
  void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                const std::string& value) override {
    Refuse(mark, tag, anchor);
    YamlNode node = Make(YamlNode::Kind::scalar, mark);
    node.text = value;
    Add(std::move(node));
  }
  void OnSequenceStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                       YAML::EmitterStyle::value) override {
    Refuse(mark, tag, anchor);
    Open(Make(YamlNode::Kind::list, mark));
  }
  void OnSequenceEnd() override { Close(); }
  void OnMapStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                  YAML::EmitterStyle::value) override {
    Refuse(mark, tag, anchor);
    Open(Make(YamlNode::Kind::map, mark));
  }
  void OnMapEnd() override { Close(); }

 private:
  static YamlNode Make(YamlNode::Kind kind, const YAML::Mark& mark) {
    YamlNode node;
    node.kind = kind;
    node.mark = Position(mark);
    return node;
  }

  [[noreturn]] void Fatal(const YAML::Mark& mark, std::string message) {
    problems_.push_back({Position(mark), std::move(message), false});
    throw Stop{};
  }

  void Refuse(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor) {
    if (anchor != 0) Fatal(mark, "an anchor (&name); write the value out: anchors and aliases are not allowed");
    if (!tag.empty() && tag != "?" && tag != "!") Fatal(mark, "a tag (!…); values need none: tags are not allowed");
  }

  void Open(YamlNode node) {
    if (open_.size() >= limits::kPolicyDepth) {
      problems_.push_back(
          {node.mark,
           "nested deeper than any policy is; at most " + std::to_string(limits::kPolicyDepth) + " levels are read",
           false});
      throw Stop{};
    }
    open_.push_back({std::move(node), {}, false, {}});
  }

  void Close() {
    CHECK(!open_.empty());
    YamlNode node = std::move(open_.back().node);
    open_.pop_back();
    Add(std::move(node));
  }

  void Add(YamlNode node) {
    if (open_.empty()) {
      root_ = std::move(node);
      return;
    }
    Level& level = open_.back();
    if (level.node.kind == YamlNode::Kind::list) {
      level.node.items.push_back(std::move(node));
    } else if (!level.has_key) {
      level.key = std::move(node);
      level.has_key = true;
    } else {
      AddPair(level, std::move(node));
    }
  }

  void AddPair(Level& level, YamlNode value) {
    level.has_key = false;
    if (level.key.kind != YamlNode::Kind::scalar) {
      problems_.push_back({level.key.mark, "a key that is not a word; keys are plain words", false});
    } else if (!level.names.insert(level.key.text).second) {
      problems_.push_back({level.key.mark, "`" + level.key.text + "` stands here twice; each key once", false});
    } else {
      level.node.keys.push_back(std::move(level.key));
      level.node.items.push_back(std::move(value));
    }
  }

  std::vector<PolicyProblem>& problems_;
  std::vector<Level> open_;
  YamlNode root_;
};

// yaml-cpp takes broken UTF-8 and control characters as they come; a policy with them is not what somebody typed.
std::optional<PolicyProblem> BadBytes(std::string_view text) {
  Mark mark{1, 1};
  for (size_t i = 0; i < text.size();) {
    const auto c = static_cast<unsigned char>(text[i]);
    size_t length = c < 0x80                ? 1
                    : c >= 0xC2 && c < 0xE0 ? 2
                    : c >= 0xE0 && c < 0xF0 ? 3
                    : c >= 0xF0 && c < 0xF5 ? 4
                                            : 0;
    bool good = length != 0 && i + length <= text.size();
    for (size_t k = 1; good && k < length; ++k) good = (static_cast<unsigned char>(text[i + k]) & 0xC0) == 0x80;
    if (good && length == 3) {
      const auto next = static_cast<unsigned char>(text[i + 1]);
      good = !(c == 0xE0 && next < 0xA0) && !(c == 0xED && next >= 0xA0);
    }
    if (good && length == 4) {
      const auto next = static_cast<unsigned char>(text[i + 1]);
      good = !(c == 0xF0 && next < 0x90) && !(c == 0xF4 && next >= 0x90);
    }
    if (!good) return PolicyProblem{mark, "bytes that are not UTF-8; save the file as UTF-8", false};
    if ((c < 0x20 && c != '\n' && c != '\r' && c != '\t') || c == 0x7F) {
      return PolicyProblem{mark, "a control character; only text, tabs and line ends are allowed", false};
    }
    if (c == '\n') {
      ++mark.line;
      mark.column = 1;
    } else {
      ++mark.column;
    }
    i += length;
  }
  return std::nullopt;
}

void AppendText(std::string& out, std::string_view text) {
  out += std::to_string(text.size());
  out += ':';
  out += text;
}

void AppendCanonical(std::string& out, const YamlNode& node) {
  switch (node.kind) {
    case YamlNode::Kind::null:
      out += 'n';
      return;
    case YamlNode::Kind::scalar:
      out += 's';
      AppendText(out, node.text);
      return;
    case YamlNode::Kind::list:
      out += 'l' + std::to_string(node.items.size()) + ':';
      for (const YamlNode& item : node.items) AppendCanonical(out, item);
      return;
    case YamlNode::Kind::map: {
      std::vector<size_t> order(node.keys.size());
      for (size_t i = 0; i < order.size(); ++i) order[i] = i;
      std::ranges::sort(order, {}, [&](size_t i) -> const std::string& { return node.keys[i].text; });
      out += 'm' + std::to_string(order.size()) + ':';
      for (size_t i : order) {
        AppendText(out, node.keys[i].text);
        AppendCanonical(out, node.items[i]);
      }
      return;
    }
  }
}

}  // namespace

const YamlNode* YamlNode::Find(std::string_view key) const {
  for (size_t i = 0; i < keys.size(); ++i) {
    if (keys[i].text == key) return &items[i];
  }
  return nullptr;
}

std::optional<YamlNode> ParseYaml(std::string_view text, std::vector<PolicyProblem>& problems) {
  if (auto bad = BadBytes(text)) {
    problems.push_back(std::move(*bad));
    return std::nullopt;
  }
  try {
    std::istringstream stream{std::string(text)};
    YAML::Parser parser(stream);
    TreeBuilder builder(problems);
    if (!parser.HandleNextDocument(builder)) {
      problems.push_back(
          {{1, 1}, "the file is empty; a policy needs version, register, gate, tables and roles", false});
      return std::nullopt;
    }
    YamlNode root = builder.Take();
    TreeBuilder rest(problems);
    if (parser.HandleNextDocument(rest)) {
      problems.push_back({{1, 1}, "several documents (---) in one file; a policy is one document", false});
      return std::nullopt;
    }
    return root;
  } catch (const Stop&) {
    return std::nullopt;
  } catch (const YAML::Exception& error) {
    Mark mark = error.mark.is_null() ? Mark{1, 1} : Position(error.mark);
    problems.push_back(
        {mark, "not YAML: " + error.msg + "; quote texts that hold : # { } [ ] , or start with * & ! | > %", false});
  } catch (const std::exception& error) {
    problems.push_back({{1, 1}, std::string("the YAML could not be read: ") + error.what() + "; simplify it", false});
  }
  return std::nullopt;
}

std::string CanonicalYaml(const YamlNode& node) {
  std::string out;
  AppendCanonical(out, node);
  return out;
}

}  // namespace ecluse
