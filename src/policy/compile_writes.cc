#include <algorithm>
#include <array>
#include <cctype>

#include "base/bytes.h"
#include "policy/compile_parts.h"
#include "policy/sealed_columns.h"

namespace ecluse {
namespace {

// What one role sees and writes of one table.
struct Written {
  Compiler& compiler;
  const Role& role;
  const PolicyTable& table;
  const CatalogTable& real;
  const WriteRight& right;

  bool Writes(const std::string& column) const {
    return right.insert_columns.contains(column) || right.update_columns.contains(column);
  }
  std::string What() const { return "roles." + role.name + ".write." + table.name.Text(); }
  // An error that tells whether a row exists: refused unless the table's own policy accepts it.
  void Existence(const std::string& message) const {
    if (table.accepts_existence) {
      compiler.Warn(role.mark, What() + ": " + message + "; the table accepts that (accepts_existence)");
    } else {
      compiler.Problem(role.mark, What() + ": " + message +
                                      "; let the role see them, take the right away, or say "
                                      "accepts_existence: true on the table");
    }
  }
};

// Sees all rows of a table, and these columns of them in clear.
bool SeesAll(const Compiler& compiler, const Role& role, const TableName& table,
             const std::vector<std::string>& columns) {
  if (compiler.policy->open_tables.contains(table)) return true;
  auto masks = role.read.find(table);
  if (masks == role.read.end() || role.rows.contains(table)) return false;
  return std::ranges::all_of(columns, [&](const std::string& column) {
    auto mask = masks->second.find(column);
    return mask != masks->second.end() && mask->second.kind == Mask::Kind::clear;
  });
}

bool AnyOf(const std::vector<std::string>& columns, const std::set<std::string>& set) {
  return std::ranges::any_of(columns, [&](const std::string& column) { return set.contains(column); });
}

std::string List(const std::vector<std::string>& columns) {
  std::string out;
  for (const std::string& column : columns) out += (out.empty() ? "" : ", ") + column;
  return out.empty() ? "an expression" : out;
}

void CheckKeys(const Written& written) {
  for (const CatalogKey& key : written.real.keys) {
    const bool touched =
        key.columns.empty() || !key.plain ||
        std::ranges::any_of(key.reads, [&](const std::string& column) { return written.Writes(column); });
    const bool writes = !written.right.insert_columns.empty() || !written.right.update_columns.empty();
    if (!touched || !writes) continue;
    if (key.plain && SeesAll(written.compiler, written.role, written.table.name, key.reads)) continue;
    written.Existence("the unique key " + key.name + " (" + List(key.reads) +
                      ") covers rows or columns the role cannot see, and refusing a duplicate would tell of them");
  }
}

void CheckForeignKeys(const Written& written) {
  for (const CatalogForeignKey& key : written.real.foreign_keys) {
    const bool touched =
        std::ranges::any_of(key.from_columns, [&](const std::string& column) { return written.Writes(column); });
    if (!touched || SeesAll(written.compiler, written.role, key.to, key.to_columns)) continue;
    written.Existence("the foreign key " + key.name + " points to rows or columns of " + key.to.Text() +
                      " the role cannot see, and would tell whether they exist");
  }
  for (const CatalogForeignKey& key : written.real.referencing) {
    const bool touched = written.right.may_delete || AnyOf(key.to_columns, written.right.update_columns);
    if (touched && key.changes_rows) {
      written.compiler.Problem(written.role.mark,
                               written.What() + ": the foreign key " + key.name + " of " + key.from.Text() +
                                   " changes or deletes rows there (CASCADE, SET NULL, SET DEFAULT), of people nobody "
                                   "would be charged for; take the right away, or make the key refuse");
    }
    if (!touched || SeesAll(written.compiler, written.role, key.from, key.from_columns)) continue;
    written.Existence("the foreign key " + key.name + " points here from rows or columns of " + key.from.Text() +
                      " the role cannot see, and would tell whether they exist");
  }
}

void CheckChecks(const Written& written) {
  const auto& masks = written.role.read.at(written.table.name);
  for (const CatalogCheck& check : written.real.checks) {
    if (!AnyOf(check.columns, written.right.update_columns)) continue;
    for (const std::string& column : check.columns) {
      auto mask = masks.find(column);
      const bool clear = mask != masks.end() && mask->second.kind == Mask::Kind::clear;
      if (clear || check.columns.size() == 1) continue;
      written.compiler.Problem(
          written.role.mark,
          written.What() + ": the " + check.name + " puts an updated column together with " + column +
              ", which the role does not read clear: trying values would find it out; take the right "
              "away, or let the role read " +
              column);
      break;
    }
  }
}

// Words and signs of a plpgsql text in lower case, quoted names as they are; comments and strings left out.
std::vector<std::string> WordsOf(std::string_view source) {
  std::vector<std::string> words;
  auto part = [](char c) { return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_'; };
  for (size_t at = 0; at < source.size();) {
    const std::string_view rest = source.substr(at);
    size_t end = 1;
    if (rest.starts_with("--")) {
      at += std::min(rest.find('\n'), rest.size());
    } else if (rest.starts_with("/*")) {
      const size_t close = rest.find("*/", 2);
      at += close == std::string_view::npos ? rest.size() : close + 2;
    } else if (rest[0] == '\'' || rest[0] == '"') {
      end = std::min(rest.find(rest[0], 1), rest.size() - 1);
      if (rest[0] == '"') words.emplace_back(rest.substr(1, end - 1));
      at += end + 1;
    } else if (part(rest[0])) {
      while (end < rest.size() && part(rest[end])) ++end;
      words.push_back(AsciiLower(rest.substr(0, end)));
      at += end;
    } else {
      if (rest.starts_with(":=")) end = 2;
      if (std::isspace(static_cast<unsigned char>(rest[0])) == 0) words.emplace_back(rest.substr(0, end));
      at += end;
    }
  }
  return words;
}

// Whether a trigger's function reaches beyond the row it was called for, or brings a column of it that the role does
// not read clear together with another that it reads, or that the role may read afterwards: an error, or what it
// stores, would then tell of the hidden one. A hidden column that is read and set by itself (put into lower case, say)
// tells of nothing that trying other values could find out.
bool ReachesOut(const CatalogTrigger& trigger, const std::map<std::string, Mask>& masks) {
  // What is quoted in ways that are not looked into here may hold anything.
  if (trigger.language != "plpgsql" || trigger.source.find_first_of("$\\") != std::string::npos) return true;
  constexpr std::array<std::string_view, 12> kReaching{"select", "insert", "update", "delete", "perform", "execute",
                                                       "raise",  "merge",  "notify", "call",   "copy",    "query"};
  constexpr std::array<std::string_view, 5> kBeginning{";", "begin", "then", "else", "loop"};
  const std::vector<std::string> words = WordsOf(trigger.source);
  auto at = [&](size_t i) { return i < words.size() ? std::string_view(words[i]) : std::string_view(); };
  auto is = [&](const std::string& column, Mask::Kind kind) {
    auto mask = masks.find(column);
    return (mask == masks.end() ? Mask::Kind::hidden : mask->second.kind) == kind;
  };
  bool hidden = false;
  std::set<std::string> told;
  for (size_t i = 0; i < words.size(); ++i) {
    if (std::ranges::find(kReaching, at(i)) != kReaching.end()) return true;
    if (at(i) != "new" && at(i) != "old") continue;
    if (at(i + 1) != "." || at(i + 2) == "*") {
      if (i > 0 && at(i - 1) == "return") continue;
      return true;  // the whole row
    }
    const bool begins = i == 0 || std::ranges::find(kBeginning, at(i - 1)) != kBeginning.end();
    const bool assigned = begins && (at(i + 3) == ":=" || at(i + 3) == "=");
    const std::string column(at(i + 2));
    hidden = hidden || (!assigned && !is(column, Mask::Kind::clear));
    if (!assigned || !is(column, Mask::Kind::hidden)) told.insert(column);
  }
  return hidden && told.size() > 1;
}

void CheckTriggers(const Written& written) {
  const auto& masks = written.role.read.at(written.table.name);
  for (const CatalogTrigger& trigger : written.real.triggers) {
    const bool fires = (trigger.on_insert && !written.right.insert_columns.empty()) ||
                       (trigger.on_update && !written.right.update_columns.empty()) ||
                       (trigger.on_delete && written.right.may_delete);
    if (!fires || written.compiler.policy->functions.contains(trigger.function)) continue;
    if (trigger.function.starts_with(std::string(kSealedSchema) + "."))
      continue;  // marks what `ecluse seal` has to seal
    if (!trigger.definer && !ReachesOut(trigger, masks)) continue;
    written.compiler.Problem(
        written.role.mark,
        written.What() + ": the trigger " + trigger.name + " runs " + trigger.function +
            (trigger.definer
                 ? ", which has its owner's rights and may tell of what the role cannot see"
                 : ", which does more than set columns from those that the role reads clear and would fail, or tell, "
                   "under the role's login") +
            "; take the right away, or, when you have read it, list " + trigger.function + " under `functions`");
  }
}

void CheckColumns(const Written& written) {
  for (const CatalogColumn& column : written.real.columns) {
    if (!written.Writes(column.name) || (!column.generated && !column.identity_always)) continue;
    written.compiler.Problem(written.role.mark,
                             written.What() + " names " + column.name +
                                 ", which PostgreSQL computes itself (GENERATED ALWAYS); leave it out");
  }
  for (const std::string& rule : written.real.rules) {
    written.compiler.Problem(written.role.mark,
                             written.What() + ": the rule " + rule +
                                 " does something else, or more, than the statement says, and nobody "
                                 "would be charged for it; take the right away, or drop the rule");
  }
  if (written.real.kind == 'f') {
    written.compiler.Warn(written.role.mark,
                          written.What() + ": it is a foreign table, whose server decides what a write does");
  }
}

}  // namespace

void CheckOpenTables(Compiler& compiler) {
  for (const TableName& name : compiler.policy->open_tables) {
    if (!compiler.catalog.tables.contains(name)) {
      compiler.Problem(
          {1, 1}, "open_tables names " + name.Text() + ", which is not in the database; create it, or leave it out");
    }
    auto reads = compiler.catalog.reading.find(name);
    if (reads != compiler.catalog.reading.end() && !compiler.policy->open_tables.contains(reads->second)) {
      compiler.Problem({1, 1}, "open_tables names the view " + name.Text() + ", which reads " + reads->second.Text() +
                                   "; an open view reads open tables only");
    }
  }
}

void CheckPseudonyms(Compiler& compiler, const Role& role) {
  for (const auto& [name, masks] : role.read) {
    auto real = compiler.catalog.tables.find(name);
    if (real == compiler.catalog.tables.end()) continue;
    for (const CatalogForeignKey& key : real->second.foreign_keys) {
      auto target = role.read.find(key.to);
      if (target == role.read.end()) continue;
      for (size_t i = 0; i < key.from_columns.size() && i < key.to_columns.size(); ++i) {
        auto here = masks.find(key.from_columns[i]);
        auto there = target->second.find(key.to_columns[i]);
        if (here == masks.end() || there == target->second.end()) continue;
        if (there->second.kind != Mask::Kind::pseudonym || here->second.kind == Mask::Kind::pseudonym ||
            here->second.kind == Mask::Kind::hidden || here->second.kind == Mask::Kind::redacted) {
          continue;
        }
        compiler.Problem(role.mark, "roles." + role.name + ".read." + name.Text() + " shows " + key.from_columns[i] +
                                        " " + here->second.Text() + ", which holds the ids of " + key.to.Text() +
                                        " that the role sees under a pseudonym; read it pseudonym or hidden");
      }
    }
  }
}

void CheckWrites(Compiler& compiler, const Role& role) {
  for (const auto& [name, right] : role.write) {
    auto real = compiler.catalog.tables.find(name);
    if (real == compiler.catalog.tables.end()) continue;
    const Written written{compiler, role, compiler.policy->tables.at(name), real->second, right};
    CheckColumns(written);
    CheckKeys(written);
    CheckForeignKeys(written);
    CheckChecks(written);
    CheckTriggers(written);
  }
}

}  // namespace ecluse
