// Roles and limits: who sees what, how much of it, when.
#include <algorithm>
#include <cctype>

#include "base/bytes.h"
#include "base/limits.h"
#include "policy/policy_reader.h"

namespace ecluse {
namespace {

using namespace std::chrono_literals;

const PolicyTable* FindTable(PolicyReader& reader, const YamlNode& key, const std::string& what) {
  auto name = reader.Table(key, "a key of " + what);
  if (!name) return nullptr;
  auto found = reader.policy.tables.find(*name);
  if (found != reader.policy.tables.end()) return &found->second;
  std::vector<std::string> known;
  for (const auto& [table, unused] : reader.policy.tables) known.push_back(table.Text());
  reader.Problem(key.mark, what + " names `" + key.text + "`" + DidYouMean(key.text, known) +
                               (reader.policy.open_tables.contains(*name)
                                    ? ", which is open: every role reads it whole; leave it out"
                                    : ", which is not among tables; name a guarded table"));
  return nullptr;
}

bool IsSubject(const PolicyTable& table, std::string_view column) {
  return std::ranges::find(table.subject_columns, column) != table.subject_columns.end();
}

void ReadMasks(PolicyReader& reader, Role& role, const PolicyTable& table, const YamlNode& node,
               const std::string& what) {
  auto& masks = role.read[table.name];
  for (const PolicyColumn& column : table.columns) masks[column.name] = Mask{};
  if (node.kind != YamlNode::Kind::map) {
    reader.Problem(node.mark,
                   what + " is not a map; class or column to mask is allowed, as {identity: clear, birth_date: year}");
    return;
  }
  std::vector<std::string> known;
  for (const PolicyColumn& column : table.columns) {
    known.push_back(column.name);
    known.push_back(column.column_class);
  }
  // Classes first, so that a column's own mask wins wherever it stands.
  for (bool classes : {true, false}) {
    for (size_t i = 0; i < node.keys.size(); ++i) {
      const YamlNode& key = node.keys[i];
      const bool is_column = table.Find(key.text) != nullptr;
      const bool is_class =
          std::ranges::find(table.columns, key.text, &PolicyColumn::column_class) != table.columns.end();
      if (!is_column && !is_class) {
        if (classes) {
          reader.Problem(key.mark, what + " names `" + key.text + "`" + DidYouMean(key.text, known) +
                                       ", which is neither a "
                                       "class nor a column of " +
                                       table.name.Text() + "; name one of them");
        }
        continue;
      }
      if (classes ? !is_class : !is_column) continue;
      auto mask = ParseMask(node.items[i].text);
      if (node.items[i].kind != YamlNode::Kind::scalar || !mask) {
        reader.Problem(node.items[i].mark,
                       what + "." + key.text + " is `" + node.items[i].text +
                           "`; allowed masks: clear, hidden, redacted, initial, last4, year, month, "
                           "range(n) with n from 2, pseudonym");
        continue;
      }
      for (const PolicyColumn& column : table.columns) {
        // A name that is both means the column and the class.
        if ((classes ? column.column_class : column.name) == key.text) masks[column.name] = *mask;
      }
    }
  }
}

// Subjects must come out in one way for each space, or a role could join its pseudonyms to the ids behind them.
struct SpaceMask {
  Mask::Kind kind;
  std::string where;
};

void CheckSubjects(PolicyReader& reader, const Role& role, const PolicyTable& table, const YamlNode& key,
                   const std::string& what, std::map<std::string, SpaceMask>& spaces) {
  const auto& masks = role.read.at(table.name);
  for (const std::string& subject : table.subject_columns) {
    auto found = masks.find(subject);
    if (found == masks.end()) continue;
    const Mask::Kind kind = found->second.kind;
    const std::string column = table.name.Text() + "." + subject;
    if (kind != Mask::Kind::clear && kind != Mask::Kind::pseudonym) {
      reader.Problem(key.mark, what + " leaves the subject column " + subject + " " + found->second.Text() +
                                   "; a subject column is read clear or pseudonym");
      continue;
    }
    if (kind == Mask::Kind::pseudonym && table.subject_columns.size() > 1) {
      reader.Problem(key.mark, what + " reads " + subject +
                                   " under a pseudonym, but the subject has several columns; "
                                   "a pseudonym needs a subject of one column");
      continue;
    }
    auto [space, first] = spaces.try_emplace(table.space, SpaceMask{kind, column});
    if (!first && space->second.kind != kind) {
      reader.Problem(key.mark, what + " reads " + column + " " + found->second.Text() + " and " + space->second.where +
                                   " " + Mask{space->second.kind, 0}.Text() + ", both of space `" + table.space +
                                   "`; a role sees one space under one mask");
    }
  }
}

void ReadRead(PolicyReader& reader, Role& role, const YamlNode& node, const std::string& what) {
  if (node.kind != YamlNode::Kind::map) {
    reader.Problem(node.mark, what + " is not a map; table to masks is allowed, as taj.person: {identity: clear}");
    return;
  }
  std::map<std::string, SpaceMask> spaces;
  for (size_t i = 0; i < node.keys.size(); ++i) {
    const PolicyTable* table = FindTable(reader, node.keys[i], what);
    if (table == nullptr) continue;
    const std::string where = what + "." + table->name.Text();
    ReadMasks(reader, role, *table, node.items[i], where);
    CheckSubjects(reader, role, *table, node.keys[i], where, spaces);
  }
}

const PolicyTable* FindReadTable(PolicyReader& reader, const Role& role, const YamlNode& key, const std::string& what) {
  const PolicyTable* table = FindTable(reader, key, what);
  if (table == nullptr || role.read.contains(table->name)) return table;
  reader.Problem(key.mark, what + " names " + key.text + ", which the role does not read; add it to `read`");
  return nullptr;
}

void ReadRows(PolicyReader& reader, Role& role, const YamlNode& node, const std::string& what) {
  if (node.kind != YamlNode::Kind::map) {
    reader.Problem(node.mark,
                   what + " is not a map; table to condition is allowed, as taj.case: \"status <> 'closed'\"");
    return;
  }
  for (size_t i = 0; i < node.keys.size(); ++i) {
    const PolicyTable* table = FindReadTable(reader, role, node.keys[i], what);
    auto condition = reader.Text(node.items[i], what + "." + node.keys[i].text);
    if (table != nullptr && condition) role.rows[table->name] = *condition;
  }
}

std::set<std::string> ReadWrittenColumns(PolicyReader& reader, const Role& role, const PolicyTable& table,
                                         const YamlNode& node, const std::string& what, bool update) {
  std::set<std::string> columns;
  for (const YamlNode* word : reader.Words(node, what)) {
    if (table.Find(word->text) == nullptr) {
      std::vector<std::string> known;
      for (const PolicyColumn& column : table.columns) known.push_back(column.name);
      reader.Problem(word->mark, what + " names `" + word->text + "`" + DidYouMean(word->text, known) +
                                     ", which is not a column of " + table.name.Text() + "; name one of them");
      continue;
    }
    const Mask mask = role.read.at(table.name).at(word->text);
    if (mask.kind != Mask::Kind::clear && mask.kind != Mask::Kind::hidden) {
      reader.Problem(word->mark,
                     what + " names " + word->text + ", which the role reads " + mask.Text() +
                         ": saving what was read would write the mask over the truth; a written column is read "
                         "clear or not at all");
    } else if (update && (IsSubject(table, word->text) || word->text == table.via_key)) {
      reader.Problem(word->mark,
                     what + " names " + word->text + ", which says whom the row is about; it is never updated");
    } else {
      columns.insert(word->text);
    }
  }
  return columns;
}

void ReadWrite(PolicyReader& reader, Role& role, const YamlNode& node, const std::string& what) {
  if (node.kind != YamlNode::Kind::map) {
    reader.Problem(node.mark,
                   what + " is not a map; allowed: fpr.notice: {insert: [kind], update: [kind], delete: true}");
    return;
  }
  for (size_t i = 0; i < node.keys.size(); ++i) {
    const PolicyTable* table = FindReadTable(reader, role, node.keys[i], what);
    if (table == nullptr) continue;
    const std::string where = what + "." + table->name.Text();
    PolicyFields fields(reader, node.items[i], where, {"insert", "update", "delete"});
    WriteRight right;
    if (const YamlNode* value = fields.Get("insert")) {
      if (table->via) {
        reader.Problem(value->mark, where + ".insert: a new row of it is about nobody until " + table->via->Text() +
                                        " says so; insert is allowed in tables with a subject column");
      }
      right.insert_columns = ReadWrittenColumns(reader, role, *table, *value, where + ".insert", false);
    }
    if (const YamlNode* value = fields.Get("update")) {
      right.update_columns = ReadWrittenColumns(reader, role, *table, *value, where + ".update", true);
    }
    if (const YamlNode* value = fields.Get("delete")) {
      right.may_delete = reader.Bool(*value, where + ".delete").value_or(false);
    }
    if (!right.insert_columns.empty() || !right.update_columns.empty() || right.may_delete) {
      role.write[table->name] = std::move(right);
    }
  }
}

std::map<TableName, std::set<std::string>> ReadStatisticColumns(PolicyReader& reader, const Role& role,
                                                                const YamlNode& node, const std::string& what) {
  std::map<TableName, std::set<std::string>> tables;
  if (node.kind != YamlNode::Kind::map) {
    reader.Problem(node.mark, what + " is not a map; table to columns is allowed, as taj.involvement: [outcome]");
    return tables;
  }
  for (size_t i = 0; i < node.keys.size(); ++i) {
    const PolicyTable* table = FindReadTable(reader, role, node.keys[i], what);
    if (table == nullptr) continue;
    for (const YamlNode* word : reader.Words(node.items[i], what + "." + table->name.Text())) {
      const PolicyColumn* column = table->Find(word->text);
      if (column == nullptr) {
        reader.Problem(word->mark, what + " names `" + word->text + "`, which is not a column of " +
                                       table->name.Text() + "; name one of them");
      } else if (IsSubject(*table, word->text)) {
        reader.Problem(word->mark,
                       what + " names " + word->text + ", the subject, which isolates everybody; name another column");
      } else if (role.read.at(table->name).at(word->text).kind == Mask::Kind::hidden ||
                 role.read.at(table->name).at(word->text).kind == Mask::Kind::pseudonym) {
        reader.Problem(word->mark, what + " names " + word->text +
                                       ", of which the role sees nothing to count by; name columns that it reads, "
                                       "clear or masked");
      } else {
        tables[table->name].insert(word->text);
      }
    }
  }
  return tables;
}

void ReadStatistics(PolicyReader& reader, Role& role, const YamlNode& node, const std::string& what) {
  PolicyFields fields(reader, node, what, {"min_subjects", "by", "of", "rows", "per"});
  if (!fields.ok()) return;
  Statistics statistics;
  if (const YamlNode* value = fields.Get("min_subjects")) {
    statistics.min_subjects = reader.Integer(*value, what + ".min_subjects", 2, limits::kBudgetMax).value_or(11);
    if (statistics.min_subjects < 5) {
      reader.Warn(value->mark, what + ".min_subjects is " + std::to_string(statistics.min_subjects) +
                                   ", so few that a reader who knows some of them finds the rest; 11 is usual");
    }
  }
  if (const YamlNode* value = fields.Get("by"))
    statistics.by = ReadStatisticColumns(reader, role, *value, what + ".by");
  if (const YamlNode* value = fields.Get("of"))
    statistics.of = ReadStatisticColumns(reader, role, *value, what + ".of");
  if (const YamlNode* value = fields.Get("rows")) {
    statistics.rows = reader.Integer(*value, what + ".rows", 0, limits::kBudgetMax).value_or(0);
  }
  if (const YamlNode* value = fields.Get("per")) {
    statistics.per = reader.Duration(*value, what + ".per", 1s, limits::kBudgetWindowMax).value_or(24h);
  }
  role.statistics = std::move(statistics);
}

void ReadSession(PolicyReader& reader, Role& role, const YamlNode& node, const std::string& what) {
  PolicyFields fields(reader, node, what, {"idle", "lifetime"});
  if (const YamlNode* value = fields.Get("idle")) {
    if (auto time = reader.Duration(*value, what + ".idle", 1s, 24h * 30)) role.idle = *time;
  }
  if (const YamlNode* value = fields.Get("lifetime")) {
    if (auto time = reader.Duration(*value, what + ".lifetime", 1s, 24h * 30)) role.lifetime = *time;
  }
}

void ReadBudgets(PolicyReader& reader, Role& role, const YamlNode* node, const std::string& what) {
  if (node == nullptr) {
    role.budgets = {
        {Window::Counts::subjects, 60, 1h}, {Window::Counts::subjects, 200, 24h}, {Window::Counts::lookups, 600, 1h}};
  } else {
    role.budgets = ReadWindows(reader, *node, what);
    if (std::ranges::find(role.budgets, Window::Counts::subjects, &Window::counts) == role.budgets.end()) {
      reader.Problem(node->mark, what + " has no budget of subjects; every role needs one, as {subjects: 60, per: 1h}");
    }
  }
  if (std::ranges::find(role.budgets, Window::Counts::failures, &Window::counts) == role.budgets.end()) {
    role.budgets.push_back({Window::Counts::failures, 20, 1h});
  }
}

void ReadRolePurposes(PolicyReader& reader, Role& role, const YamlNode* node, const std::string& what) {
  if (node == nullptr) {
    for (const auto& [name, unused] : reader.policy.purposes) role.purposes.insert(name);
    return;
  }
  std::vector<std::string> known;
  for (const auto& [name, unused] : reader.policy.purposes) known.push_back(name);
  for (const YamlNode* word : reader.Words(*node, what)) {
    if (reader.policy.purposes.contains(word->text)) {
      role.purposes.insert(word->text);
    } else {
      reader.Problem(word->mark, what + " names `" + word->text + "`" + DidYouMean(word->text, known) +
                                     ", which is not among purposes; name one of them");
    }
  }
}

// `schema.table.column`: sealed columns of tables that the role reads.
void ReadSearch(PolicyReader& reader, Role& role, const YamlNode& node, const std::string& what) {
  for (const YamlNode* word : reader.Words(node, what)) {
    const size_t dot = word->text.rfind('.');
    const auto problem = [&](const std::string& why) {
      reader.Problem(word->mark, what + " names `" + word->text + "`, " + why);
    };
    if (dot == std::string::npos || word->text.find('.') == dot) {
      problem("which is no column; name one as schema.table.column");
      continue;
    }
    const TableName name{word->text.substr(0, word->text.find('.')),
                         word->text.substr(word->text.find('.') + 1, dot - word->text.find('.') - 1)};
    const auto table = reader.policy.tables.find(name);
    const PolicyColumn* column =
        table == reader.policy.tables.end() ? nullptr : table->second.Find(word->text.substr(dot + 1));
    if (column == nullptr || !role.read.contains(name)) {
      problem("which is not a column of a table that the role reads; name one of `read`");
    } else if (!column->sealed || column->sealed->link || *column->sealed == Sealing{}) {
      problem("which is not sealed with a search of its own; leave it out");
    } else if (role.read.at(name).at(column->name).kind == Mask::Kind::clear) {
      problem("which the role reads clear, and may search; leave it out");
    } else {
      role.search[name].insert(column->name);
      reader.Warn(word->mark, what + " lets the role search " + word->text + ", which it reads " +
                                  role.read.at(name).at(column->name).Text() +
                                  ": it can find out by trying what the mask hides");
    }
  }
}

// The word stands in the SQL text, quoted or not.
bool Names(std::string_view sql, std::string_view word) {
  const auto part = [](char c) { return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_'; };
  for (size_t at = sql.find(word); at != std::string_view::npos; at = sql.find(word, at + 1)) {
    const size_t end = at + word.size();
    if ((at == 0 || !part(sql[at - 1])) && (end == sql.size() || !part(sql[end]))) return true;
  }
  return false;
}

void CheckSealed(PolicyReader& reader, const Role& role, Mark mark, const std::string& what) {
  for (const auto& [name, masks] : role.read) {
    const PolicyTable& table = reader.policy.tables.at(name);
    for (const PolicyColumn& column : table.columns) {
      if (!column.sealed) continue;
      if (auto rows = role.rows.find(name); rows != role.rows.end() && (Names(rows->second, column.name) ||
                                                                        Names(AsciiLower(rows->second), column.name))) {
        reader.Problem(mark, what + ".rows." + name.Text() + " reads " + column.name +
                                 ", which is sealed: the database cannot compare it; write the condition without it");
      }
      if (masks.at(column.name).kind == Mask::Kind::pseudonym && !column.sealed->link) {
        reader.Problem(mark, what + ".read." + name.Text() + " reads " + column.name +
                                 " under a pseudonym, and it is sealed; read it clear, masked or hidden");
      }
    }
  }
  if (!role.statistics) return;
  for (const auto* columns : {&role.statistics->by, &role.statistics->of}) {
    for (const auto& [name, named] : *columns) {
      for (const std::string& column : named) {
        if (!reader.policy.tables.at(name).Find(column)->sealed) continue;
        reader.Problem(mark, what + ".statistics names " + name.Text() + "." + column +
                                 ", which is sealed: the database cannot count by it; leave it out");
      }
    }
  }
}

void ReadRole(PolicyReader& reader, const YamlNode& key, const YamlNode& node) {
  if (!IsName(key.text, true)) {
    reader.Problem(key.mark,
                   "a role named `" + key.text + "`; at most 40 lower-case letters, digits, _ and - are allowed");
    return;
  }
  const std::string what = "roles." + key.text;
  Role role;
  role.name = key.text;
  role.mark = key.mark;
  PolicyFields fields(
      reader, node, what,
      {"purposes", "read", "rows", "search", "write", "budgets", "statistics", "session", "hours", "export"});
  if (!fields.ok()) return;
  if (reader.policy.LoginOf(role.name).size() > limits::kIdentifier) {
    reader.Problem(key.mark, "the login " + reader.policy.LoginOf(role.name) +
                                 " has more than 63 bytes; shorten the "
                                 "register's or the role's name");
  }
  ReadRolePurposes(reader, role, fields.Get("purposes"), what + ".purposes");
  if (const YamlNode* value = fields.Get("read")) ReadRead(reader, role, *value, what + ".read");
  if (const YamlNode* value = fields.Get("rows")) ReadRows(reader, role, *value, what + ".rows");
  if (const YamlNode* value = fields.Get("write")) ReadWrite(reader, role, *value, what + ".write");
  if (const YamlNode* value = fields.Get("search")) ReadSearch(reader, role, *value, what + ".search");
  ReadBudgets(reader, role, fields.Get("budgets"), what + ".budgets");
  if (const YamlNode* value = fields.Get("statistics")) ReadStatistics(reader, role, *value, what + ".statistics");
  CheckSealed(reader, role, key.mark, what);
  if (const YamlNode* value = fields.Get("session")) ReadSession(reader, role, *value, what + ".session");
  role.hours = {"UTC", {Hours::Span{}}};
  if (const YamlNode* value = fields.Get("hours")) {
    std::string why;
    auto hours = ParseHours(value->text, why);
    if (hours) role.hours = std::move(*hours);
    if (!hours) {
      reader.Problem(value->mark, what + ".hours: " + why +
                                      "; allowed: days, hours and a time zone, as \"Mon-Fri "
                                      "08:00-18:00, Sat 09:00-12:00 Europe/Paris\"");
    }
  }
  if (const YamlNode* value = fields.Get("export"))
    role.may_export = reader.Bool(*value, what + ".export").value_or(false);
  reader.policy.roles.emplace(key.text, std::move(role));
}

}  // namespace

std::vector<Window> ReadWindows(PolicyReader& reader, const YamlNode& node, std::string_view what) {
  std::vector<Window> windows;
  if (node.kind != YamlNode::Kind::list) {
    reader.Problem(node.mark, std::string(what) + " is not a list; a list is allowed, as [{subjects: 60, per: 1h}]");
    return windows;
  }
  for (const YamlNode& item : node.items) {
    const std::string where = "an entry of " + std::string(what);
    PolicyFields fields(reader, item, where, {"subjects", "lookups", "failures", "per"});
    const YamlNode* per = fields.Need("per", "per: 1h");
    if (per == nullptr) continue;
    Window window;
    int counted = 0;
    bool good = true;
    constexpr std::pair<const char*, Window::Counts> kKinds[] = {{"subjects", Window::Counts::subjects},
                                                                 {"lookups", Window::Counts::lookups},
                                                                 {"failures", Window::Counts::failures}};
    for (const auto& [name, counts] : kKinds) {
      const YamlNode* value = fields.Get(name);
      if (value == nullptr) continue;
      ++counted;
      auto limit = reader.Integer(*value, where + ": " + name, 1, limits::kBudgetMax);
      good = good && limit.has_value();
      window.counts = counts;
      window.limit = limit.value_or(0);
    }
    if (counted != 1) {
      reader.Problem(item.mark, where + " counts " + std::to_string(counted) +
                                    " things; each counts one of subjects, lookups, "
                                    "failures");
    }
    auto time = reader.Duration(*per, where + ": per", 1s, limits::kBudgetWindowMax);
    if (time) window.per = *time;
    if (good && time && counted == 1) windows.push_back(window);
  }
  return windows;
}

void ReadRoles(PolicyReader& reader, const YamlNode& node) {
  if (node.kind != YamlNode::Kind::map || node.keys.empty()) {
    reader.Problem(node.mark,
                   "roles names none; a map is allowed, as officer: {read: {taj.person: {identity: clear}}}");
    return;
  }
  if (node.keys.size() > limits::kRolesMax) {
    reader.Problem(node.mark, "more than " + std::to_string(limits::kRolesMax) + " roles; fewer are allowed");
    return;
  }
  for (size_t i = 0; i < node.keys.size(); ++i) ReadRole(reader, node.keys[i], node.items[i]);
}

void ReadLimits(PolicyReader& reader, const YamlNode* node) {
  Policy& policy = reader.policy;
  policy.per_address = {{Window::Counts::subjects, 120, 1h}};
  policy.per_organisation = {{Window::Counts::subjects, 5'000, 24h}};
  policy.per_register = {{Window::Counts::subjects, 50'000, 24h}};
  if (node == nullptr) return;
  PolicyFields fields(reader, *node, "limits", {"per_address", "per_organisation", "per_register"});
  if (const YamlNode* value = fields.Get("per_address"))
    policy.per_address = ReadWindows(reader, *value, "limits.per_address");
  if (const YamlNode* value = fields.Get("per_organisation")) {
    policy.per_organisation = ReadWindows(reader, *value, "limits.per_organisation");
  }
  if (const YamlNode* value = fields.Get("per_register")) {
    policy.per_register = ReadWindows(reader, *value, "limits.per_register");
  }
}

}  // namespace ecluse
