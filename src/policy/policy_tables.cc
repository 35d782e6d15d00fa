// Purposes, tables, open tables, functions: what a policy says about the register itself.
#include <algorithm>
#include <charconv>

#include "base/limits.h"
#include "policy/policy_reader.h"

namespace ecluse {
namespace {

constexpr std::string_view kDefaultPurpose = "consultation";

void ReadSubject(PolicyReader& reader, PolicyTable& table, const YamlNode& node, const std::string& what) {
  if (node.kind == YamlNode::Kind::map) {
    PolicyFields fields(reader, node, what + ".subject", {"via", "key"});
    const YamlNode* via = fields.Need("via", "via: taj.involvement");
    const YamlNode* key = fields.Need("key", "key: case_id");
    if (via != nullptr) table.via = reader.Table(*via, what + ".subject.via");
    if (key != nullptr) table.via_key = reader.Text(*key, what + ".subject.key").value_or("");
    return;
  }
  if (node.kind == YamlNode::Kind::list) {
    for (const YamlNode* word : reader.Words(node, what + ".subject")) {
      if (std::ranges::find(table.subject_columns, word->text) != table.subject_columns.end()) {
        reader.Problem(word->mark, what + ".subject names `" + word->text + "` twice; each column once");
      } else {
        table.subject_columns.push_back(word->text);
      }
    }
    if (node.items.empty()) reader.Problem(node.mark, what + ".subject is empty; name at least one column");
    return;
  }
  if (auto text = reader.Text(node, what + ".subject")) table.subject_columns.push_back(*text);
}

// The index that `text` names, added to `sealing`; false where it names none.
bool ReadSearch(std::string_view text, Sealing* sealing) {
  if (text == "equality") return sealing->equality = true;
  if (text == "phonetic") return sealing->phonetic = true;
  if (text.starts_with("range(") && text.ends_with(")")) {
    text = text.substr(6, text.size() - 7);
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), sealing->range);
    if (error == std::errc() && end == text.data() + text.size()) return sealing->range >= 1;
    const auto time = ParseDuration(text);
    sealing->range = time ? time->count() : 0;
    return sealing->range_of_time = time.has_value();
  }
  if (!text.starts_with("prefix(") || !text.ends_with(")")) return false;
  text = text.substr(7, text.size() - 8);
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), sealing->prefix);
  return error == std::errc() && end == text.data() + text.size() && sealing->prefix >= 1 &&
         sealing->prefix <= limits::kPrefixCharacters;
}

std::optional<Sealing> ReadSealing(PolicyReader& reader, const YamlNode& key, const YamlNode& node,
                                   const std::string& what) {
  Sealing sealing;
  if (key.text.size() > limits::kSealedColumnName) {
    reader.Problem(key.mark, what + " is sealed; the name of a sealed column has at most " +
                                 std::to_string(limits::kSealedColumnName) +
                                 " bytes, because its indexes are named after it");
  }
  PolicyFields fields(reader, node, what + ".sealed", {"search", "accept_leakage"});
  if (!fields.ok()) return sealing;
  bool accepted = false;
  if (const YamlNode* value = fields.Get("accept_leakage"))
    accepted = reader.Bool(*value, what + ".sealed.accept_leakage").value_or(false);
  const YamlNode* search = fields.Get("search");
  if (search == nullptr) return sealing;
  for (const YamlNode* word : reader.Words(*search, what + ".sealed.search")) {
    if (!ReadSearch(word->text, &sealing)) {
      reader.Problem(word->mark,
                     what + ".sealed.search names `" + word->text +
                         "`; allowed: equality, phonetic, prefix(n) with n from 1 to " +
                         std::to_string(limits::kPrefixCharacters) +
                         ", and range(step) with a number, or for dates and times a duration, as range(1d)");
    } else if (word->text != "equality" && !accepted) {
      reader.Problem(word->mark, what + ".sealed.search names `" + word->text +
                                     "`, which shows whoever holds the database more than equal values "
                                     "(docs/threat_model.md); say accept_leakage: true beside it");
    }
  }
  return sealing;
}

void ReadColumn(PolicyReader& reader, PolicyTable& table, const YamlNode& key, const YamlNode& node,
                const std::string& what) {
  if (key.text.size() > limits::kIdentifier || key.text.starts_with("__")) {
    reader.Problem(key.mark,
                   what + " has a column `" + key.text +
                       "`; names are at most 63 bytes and do not begin with __, which the gate keeps for itself");
    return;
  }
  PolicyFields fields(reader, node, what + "." + key.text, {"class", "sealed"});
  std::optional<Sealing> sealed;
  if (const YamlNode* value = fields.Get("sealed")) sealed = ReadSealing(reader, key, *value, what + "." + key.text);
  const YamlNode* value = fields.Need("class", "class: identity");
  if (value == nullptr) return;
  auto name = reader.Text(*value, what + "." + key.text + ".class");
  if (!name) return;
  if (!IsName(*name, true)) {
    reader.Problem(value->mark, "a class named `" + *name + "`; lower-case letters, digits, _ and - are allowed");
    return;
  }
  table.columns.push_back({key.text, *name, sealed, key.mark});
}

void ReadRetention(PolicyReader& reader, PolicyTable& table, const YamlNode& node, const std::string& what) {
  PolicyFields fields(reader, node, what + ".retention", {"column", "keep"});
  const YamlNode* column = fields.Need("column", "column: recorded_at");
  const YamlNode* keep = fields.Need("keep", "keep: 20y");
  if (column == nullptr || keep == nullptr) return;
  auto name = reader.Text(*column, what + ".retention.column");
  auto time = reader.Duration(*keep, what + ".retention.keep", std::chrono::seconds(1), limits::kDurationMax);
  if (!name || !time) return;
  table.retention = {*name, *time};
}

bool HasColumn(const PolicyTable& table, const std::string& name) {
  return std::ranges::any_of(table.columns, [&](const PolicyColumn& column) { return column.name == name; });
}

void CheckNames(PolicyReader& reader, const PolicyTable& table, Mark subject_mark) {
  const std::string what = "tables." + table.name.Text();
  for (const std::string& subject : table.subject_columns) {
    if (HasColumn(table, subject)) continue;
    reader.Problem(subject_mark, what + ".subject is `" + subject + "`, which is not among its columns; add it, as " +
                                     subject + ": {class: key}");
  }
  for (const PolicyColumn& column : table.columns) {
    if (!column.sealed) continue;
    for (const PolicyColumn& other : table.columns) {
      if (!other.sealed || !column.name.starts_with(other.name + "_") || other.name == column.name) continue;
      const std::string_view behind = std::string_view(column.name).substr(other.name.size() + 1);
      if (behind.empty() || std::string_view("psr").find(behind[0]) == std::string_view::npos ||
          behind.find_first_not_of("0123456789", 1) != std::string_view::npos) {
        continue;
      }
      reader.Problem(column.mark, what + " seals " + column.name + " and " + other.name +
                                      ", whose indexes would have the same name; rename one of the columns");
    }
    const bool subject = std::ranges::find(table.subject_columns, column.name) != table.subject_columns.end();
    if (subject || column.name == table.via_key) {
      reader.Problem(column.mark, what + " seals " + column.name +
                                      ", which says whom a row is about; seal the columns that tell of them");
    }
    if (table.via) {
      reader.Problem(column.mark, what + " seals " + column.name + " in a table whose rows go by " + table.via->Text() +
                                      ": a value is sealed for one person, whose id stands in its own row");
    }
    if (table.retention && table.retention->first == column.name) {
      reader.Problem(column.mark, what + " seals " + column.name + ", by which its rows are kept; name another column");
    }
  }
}

// `per_person`, or {keys: per_person, nulls: [columns in clear]}; behind the columns.
void ReadErasure(PolicyReader& reader, PolicyTable& table, const YamlNode& node, const std::string& table_name) {
  const std::string what = table_name + ".erasure";
  const YamlNode* keys = &node;
  const YamlNode* nulls = nullptr;
  if (node.kind == YamlNode::Kind::map) {
    PolicyFields fields(reader, node, what, {"keys", "nulls"});
    keys = fields.Need("keys", "erasure: {keys: per_person, nulls: [given_name]}");
    nulls = fields.Get("nulls");
  }
  if (keys == nullptr) return;
  const auto text = reader.Text(*keys, what);
  if (text && *text != "per_person")
    reader.Problem(keys->mark, what + " is `" + *text + "`; per_person is allowed, or nothing");
  table.own_keys = true;
  if (table.via)
    reader.Problem(node.mark, what + " seals values under their person's key, and rows of " + table.name.Text() +
                                  " may tell of several; it belongs in tables with a subject column of their own");
  if (std::ranges::none_of(table.columns, [](const PolicyColumn& column) { return column.sealed.has_value(); }))
    reader.Problem(node.mark, what +
                                  " seals values under their person's key, and no column is sealed; give one "
                                  "`sealed: {}`, or leave `erasure` out");
  if (nulls == nullptr) return;
  if (nulls->kind != YamlNode::Kind::list)
    return reader.Problem(nulls->mark, what + ".nulls is not a list; a list of columns is allowed, as [given_name]");
  for (const YamlNode& item : nulls->items) {
    const auto given = reader.Text(item, what + ".nulls");
    if (!given) continue;
    const std::string& name = *given;
    const PolicyColumn* column = table.Find(name);
    const bool subject = std::ranges::find(table.subject_columns, name) != table.subject_columns.end();
    if (column == nullptr || column->sealed || subject)
      reader.Problem(item.mark, what + ".nulls names " + name +
                                    (column == nullptr ? ", which is not in `columns`"
                                     : subject         ? ", which says whom a row is about"
                                                       : ", which is sealed, and goes anyway") +
                                    "; columns in clear are allowed, which `ecluse erase` sets to NULL");
    else
      table.erased_clear.push_back(name);
  }
}

// Behind everything else of the table: its subject column is sealed by that.
void ReadCompartment(PolicyReader& reader, PolicyTable& table, const YamlNode& node, const std::string& table_name) {
  const std::string what = table_name + ".compartment";
  const auto name = reader.Text(node, what);
  if (!name) return;
  if (!IsName(*name, false) || name->size() > limits::kCompartmentName || *name == kMainCompartment)
    return reader.Problem(node.mark, what + " is `" + *name + "`; at most " + std::to_string(limits::kCompartmentName) +
                                         " lower-case letters, digits and - are allowed, and `" +
                                         std::string(kMainCompartment) + "` is that of tables that name none");
  if (table.via || table.subject_columns.size() != 1)
    return reader.Problem(node.mark,
                          what + " hides whom a row is about, and " + table.name.Text() +
                              (table.via ? " finds its people by another table" : " names them by several columns") +
                              "; a table in a compartment has one subject column of its own");
  const std::string& subject = table.subject_columns.front();
  const auto column = std::ranges::find(table.columns, subject, &PolicyColumn::name);
  if (column == table.columns.end() || column->sealed) return;  // reported before
  if (table.retention && table.retention->first == subject)
    return reader.Problem(node.mark, what + " hides " + subject + ", by which its rows are kept; name another column");
  table.compartment = *name;
  column->sealed = Sealing{.equality = true, .link = true};
}

void ReadTable(PolicyReader& reader, const YamlNode& key, const YamlNode& node) {
  auto name = reader.Table(key, "a key of tables");
  if (!name) return;
  const std::string what = "tables." + name->Text();
  PolicyTable table;
  table.name = *name;
  table.mark = key.mark;
  PolicyFields fields(reader, node, what,
                      {"subject", "space", "columns", "accepts_existence", "retention", "compartment", "erasure"});
  if (!fields.ok()) return;
  if (const YamlNode* value =
          fields.Need("subject", "subject: person_id; a table about nobody belongs in open_tables")) {
    ReadSubject(reader, table, *value, what);
  }
  const YamlNode* compartment = fields.Get("compartment");
  const YamlNode* erasure = fields.Get("erasure");
  if (const YamlNode* value = fields.Get("space")) {
    auto space = reader.Text(*value, what + ".space");
    if (space && !IsName(*space, true)) {
      reader.Problem(value->mark, what + ".space is `" + *space + "`; lower-case letters, digits, _ and - are allowed");
    } else if (space) {
      table.space = *space;
    }
  } else if (table.via) {
    table.space.clear();  // that of the table it goes by
  }
  if (const YamlNode* value = fields.Get("accepts_existence")) {
    table.accepts_existence = reader.Bool(*value, what + ".accepts_existence").value_or(false);
  }
  if (const YamlNode* value = fields.Get("retention")) ReadRetention(reader, table, *value, what);
  const YamlNode* columns = fields.Need("columns", "columns: {person_id: {class: key}}");
  if (columns == nullptr) return;
  if (columns->kind != YamlNode::Kind::map) {
    reader.Problem(columns->mark, what + ".columns is not a map; a map is allowed, as {person_id: {class: key}}");
    return;
  }
  for (size_t i = 0; i < columns->keys.size(); ++i)
    ReadColumn(reader, table, columns->keys[i], columns->items[i], what);
  if (erasure != nullptr) ReadErasure(reader, table, *erasure, what);
  if (const YamlNode* subject = fields.Get("subject")) CheckNames(reader, table, subject->mark);
  if (compartment != nullptr) ReadCompartment(reader, table, *compartment, what);
  reader.policy.tables.emplace(*name, std::move(table));
}

// A table whose subjects are those of another: the other has to be there, with subjects of its own.
void CheckVia(PolicyReader& reader, PolicyTable& table) {
  if (!table.via) return;
  const std::string what = "tables." + table.name.Text() + ".subject";
  auto found = reader.policy.tables.find(*table.via);
  if (found == reader.policy.tables.end()) {
    std::vector<std::string> known;
    for (const auto& [name, other] : reader.policy.tables) known.push_back(name.Text());
    reader.Problem(table.mark, what + ".via is `" + table.via->Text() + "`" + DidYouMean(table.via->Text(), known) +
                                   ", which is not among tables; name a guarded table");
    return;
  }
  const PolicyTable& other = found->second;
  if (other.subject_columns.empty()) {
    reader.Problem(table.mark, what + ".via is `" + table.via->Text() +
                                   "`, which has no subject column of its own; name "
                                   "the table that holds the person's id");
  }
  for (const PolicyTable* side : {static_cast<const PolicyTable*>(&table), &other}) {
    if (table.via_key.empty() || HasColumn(*side, table.via_key)) continue;
    reader.Problem(table.mark, what + ".key is `" + table.via_key + "`, which is not a column of " + side->name.Text() +
                                   "; both tables need it in `columns`");
  }
  if (other.linked()) {
    reader.Problem(table.mark, what + ".via is `" + other.name.Text() + "`, which is in the compartment " +
                                   other.compartment + "; name a table whose people are not hidden");
  }
  if (const PolicyColumn* key = other.Find(table.via_key); key != nullptr && key->sealed && !key->sealed->link) {
    reader.Problem(key->mark, "tables." + other.name.Text() + " seals " + table.via_key + ", by which the rows of " +
                                  table.name.Text() + " find their people; seal the columns that tell of them");
  }
  if (other.retention && (!table.retention || table.retention->second > other.retention->second)) {
    reader.Warn(table.mark, "tables." + table.name.Text() + " keeps rows for longer than " + other.name.Text() +
                                ", by which they find their people: rows whose people have gone are shown to nobody, "
                                "and `ecluse retain` leaves them; give it no longer a retention");
  }
  if (table.space.empty()) table.space = other.space;
  if (table.space != other.space) {
    reader.Problem(table.mark, "tables." + table.name.Text() + ".space is `" + table.space +
                                   "` but its people come from " + other.name.Text() + ", whose space is `" +
                                   other.space + "`; leave `space` out");
  }
}

}  // namespace

const PolicyColumn* PolicyTable::Find(std::string_view column) const {
  auto found = std::ranges::find(columns, column, &PolicyColumn::name);
  return found == columns.end() ? nullptr : &*found;
}

bool IsName(std::string_view text, bool underscore) {
  if (text.empty() || text.size() > 40 || text[0] < 'a' || text[0] > 'z') return false;
  return std::ranges::all_of(text, [&](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || (underscore && c == '_');
  });
}

void ReadPurposes(PolicyReader& reader, const YamlNode* node) {
  if (node == nullptr) {
    reader.policy.purposes[std::string(kDefaultPurpose)] = {};
    return;
  }
  if (node->kind != YamlNode::Kind::map || node->keys.empty()) {
    reader.Problem(node->mark, "purposes names none; a map is allowed, as judicial-inquiry: {reference: required}");
    return;
  }
  for (size_t i = 0; i < node->keys.size(); ++i) {
    const YamlNode& key = node->keys[i];
    const YamlNode& item = node->items[i];
    if (!IsName(key.text, true)) {
      reader.Problem(key.mark, "a purpose named `" + key.text + "`; lower-case letters, digits, _ and - are allowed");
      continue;
    }
    Purpose purpose;
    if (!item.Empty()) {
      PolicyFields fields(reader, item, "purposes." + key.text, {"reference"});
      if (const YamlNode* value = fields.Get("reference")) {
        auto choice = reader.Choice(*value, "purposes." + key.text + ".reference", {"none", "optional", "required"});
        if (choice) purpose.reference = static_cast<Purpose::Reference>(*choice);
      }
    }
    reader.policy.purposes[key.text] = purpose;
  }
}

void ReadTables(PolicyReader& reader, const YamlNode& node) {
  if (node.kind != YamlNode::Kind::map || node.keys.empty()) {
    reader.Problem(node.mark, "tables names none; a map is allowed, as taj.person: {subject: person_id, columns: {…}}");
    return;
  }
  if (node.keys.size() > limits::kGuardedTables) {
    reader.Problem(node.mark, "more than " + std::to_string(limits::kGuardedTables) + " tables; split the register");
    return;
  }
  for (size_t i = 0; i < node.keys.size(); ++i) ReadTable(reader, node.keys[i], node.items[i]);
  for (auto& [name, table] : reader.policy.tables) {
    CheckVia(reader, table);
  }
}

void ReadOpenTables(PolicyReader& reader, const YamlNode& node) {
  for (const YamlNode* word : reader.Words(node, "open_tables")) {
    auto table = reader.Table(*word, "an entry of open_tables");
    if (!table) continue;
    if (reader.policy.tables.contains(*table)) {
      reader.Problem(word->mark,
                     table->Text() + " is in tables and in open_tables; a table is guarded or open, not both");
    } else if (!reader.policy.open_tables.insert(*table).second) {
      reader.Problem(word->mark, table->Text() + " is in open_tables twice; each table once");
    }
  }
}

void ReadFunctions(PolicyReader& reader, const YamlNode& node) {
  for (const YamlNode* word : reader.Words(node, "functions")) {
    auto name = reader.Table(*word, "an entry of functions");
    if (!name) continue;
    reader.policy.functions.insert(name->Text());
    reader.Warn(word->mark, "functions allows " + name->Text() +
                                " over guarded rows; it must compute from its arguments "
                                "alone and say nothing of them in errors: the gate cannot check that");
  }
}

}  // namespace ecluse
