// Statements that are not queries: transactions, settings, prepared statements, cursors, EXPLAIN.
#include <algorithm>
#include <array>
#include <charconv>

#include "base/bytes.h"
#include "plan/analyzer.h"

namespace ecluse {
namespace {

// Settings a session may change: none of them changes what a statement means, who is asked about, or what is counted.
constexpr std::array<std::string_view, 18> kSettable{"application_name",
                                                     "datestyle",
                                                     "timezone",
                                                     "intervalstyle",
                                                     "statement_timeout",
                                                     "lock_timeout",
                                                     "idle_in_transaction_session_timeout",
                                                     "client_min_messages",
                                                     "extra_float_digits",
                                                     "bytea_output",
                                                     "client_encoding",
                                                     "standard_conforming_strings",
                                                     "default_transaction_isolation",
                                                     "default_transaction_read_only",
                                                     "default_transaction_deferrable",
                                                     "transaction_isolation",
                                                     "transaction_read_only",
                                                     "transaction_deferrable"};
constexpr std::array<std::string_view, 12> kShowable{
    "server_version", "server_version_num",    "server_encoding",       "integer_datetimes", "max_index_keys",
    "is_superuser",   "session_authorization", "max_identifier_length", "lc_collate",        "lc_ctype",
    "block_size",     "in_hot_standby"};
constexpr std::array<std::string_view, 3> kOwnSettable{"ecluse.purpose", "ecluse.reference", "ecluse.role"};
constexpr std::array<std::string_view, 4> kBooleans{"t", "f", "true", "false"};
constexpr std::array<std::string_view, 3> kOwnShowable{"ecluse.budget", "ecluse.purposes", "ecluse.session"};

bool In(std::span<const std::string_view> names, std::string_view name) {
  return std::ranges::find(names, name) != names.end();
}

// As PostgreSQL shows the elements of a list.
std::string QuoteWhereNeeded(const std::string& name) {
  const auto plain = [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_'; };
  const bool digit = !name.empty() && name[0] >= '0' && name[0] <= '9';
  return name.empty() || digit || !std::ranges::all_of(name, plain) ? QuoteIdentifier(name) : name;
}

constexpr int kCursorBinary = 0x1, kCursorScroll = 0x2, kCursorHold = 0x20;  // PostgreSQL's DECLARE CURSOR options

}  // namespace

Oid TypeOid(std::string_view name) {
  static const std::map<std::string_view, Oid> oids{
      {"bool", 16},      {"bytea", 17},  {"name", 19},   {"int8", 20},        {"int2", 21},          {"int4", 23},
      {"text", 25},      {"oid", 26},    {"json", 114},  {"float4", 700},     {"float8", 701},       {"bpchar", 1042},
      {"varchar", 1043}, {"date", 1082}, {"time", 1083}, {"timestamp", 1114}, {"timestamptz", 1184}, {"interval", 1186},
      {"numeric", 1700}, {"uuid", 2950}, {"jsonb", 3802}};
  const auto it = oids.find(name);
  return it == oids.end() ? 0 : it->second;
}

namespace {

// Milliseconds of a time setting as PostgreSQL reads it (manual 20.1.1); nullopt for what it would refuse.
std::optional<int64_t> Milliseconds(std::string_view text) {
  int64_t number = 0;
  const auto [rest, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || number < 0 || number > INT32_MAX) return std::nullopt;
  std::string_view unit(rest, static_cast<size_t>(text.data() + text.size() - rest));
  while (unit.starts_with(' ')) unit.remove_prefix(1);
  if (unit.empty() || unit == "ms") return number;
  if (unit == "s") return number * 1'000;
  if (unit == "min") return number * 60'000;
  if (unit == "h") return number * 3'600'000;
  return std::nullopt;
}

}  // namespace

Result<std::shared_ptr<Plan>> Analyzer::Utility(const pgq::Node& node) {
  switch (node.node_case()) {
    case pgq::Node::kTransactionStmt:
      return Transaction(node.transaction_stmt());
    case pgq::Node::kVariableSetStmt:
      return Set(node.variable_set_stmt());
    case pgq::Node::kVariableShowStmt:
      return Show(node.variable_show_stmt());
    case pgq::Node::kPrepareStmt:
      return Prepare(node.prepare_stmt());
    case pgq::Node::kExecuteStmt:
      return Execute(node.execute_stmt());
    case pgq::Node::kDeclareCursorStmt:
      return Declare(node.declare_cursor_stmt());
    case pgq::Node::kFetchStmt:
      return Fetch(node.fetch_stmt());
    case pgq::Node::kCopyStmt:
      return Copy(node.copy_stmt());
    case pgq::Node::kExplainStmt:
      return Explain(node.explain_stmt());
    case pgq::Node::kDeallocateStmt:
      plan_->kind = Plan::Kind::deallocate;
      plan_->name = node.deallocate_stmt().name();
      plan_->command_tag = plan_->name.empty() ? "DEALLOCATE ALL" : "DEALLOCATE";
      return plan_;
    case pgq::Node::kClosePortalStmt:
      plan_->kind = Plan::Kind::close;
      plan_->name = node.close_portal_stmt().portalname();
      plan_->command_tag = plan_->name.empty() ? "CLOSE CURSOR ALL" : "CLOSE CURSOR";
      return plan_;
    case pgq::Node::kDiscardStmt: {
      static constexpr const char* kNames[] = {"", "ALL", "PLANS", "SEQUENCES", "TEMP"};
      plan_->kind = Plan::Kind::discard;
      plan_->name = kNames[node.discard_stmt().target()];
      plan_->command_tag = "DISCARD " + plan_->name;
      return plan_;
    }
    default: {
      const auto* field = node.GetDescriptor()->FindFieldByNumber(static_cast<int>(node.node_case()));
      std::string what = field == nullptr ? "this statement" : field->name();
      if (what.ends_with("_stmt")) what.resize(what.size() - 5);
      std::ranges::replace(what, '_', ' ');
      return Forbid(
          -1, "plan.statement", "statements of kind \"" + what + "\" do not pass the gate",
          "SELECT, INSERT, UPDATE, DELETE, COPY, cursors, prepared statements and transactions do. Changes of "
          "the schema are made with the owner's own connection.");
    }
  }
}

Result<std::shared_ptr<Plan>> Analyzer::Transaction(const pgq::TransactionStmt& statement) {
  switch (statement.kind()) {
    case pgq::TRANS_STMT_BEGIN:
    case pgq::TRANS_STMT_START:
      plan_->kind = Plan::Kind::begin;
      break;
    case pgq::TRANS_STMT_COMMIT:
      plan_->kind = Plan::Kind::commit;
      break;
    case pgq::TRANS_STMT_ROLLBACK:
      plan_->kind = Plan::Kind::rollback;
      break;
    case pgq::TRANS_STMT_SAVEPOINT:
    case pgq::TRANS_STMT_RELEASE:
    case pgq::TRANS_STMT_ROLLBACK_TO:
      plan_->kind = Plan::Kind::savepoint;
      plan_->name = statement.savepoint_name();
      break;
    default:
      return Forbid(-1, "plan.two-phase", "two-phase commit does not pass the gate", "Use COMMIT.");
  }
  return plan_;
}

Result<std::shared_ptr<Plan>> Analyzer::Set(const pgq::VariableSetStmt& statement) {
  const std::string name = AsciiLower(statement.name());
  plan_->kind = Plan::Kind::set;
  plan_->command_tag = "SET";
  plan_->setting.name = name;
  plan_->setting.local = statement.is_local();
  if (statement.kind() == pgq::VAR_RESET_ALL) {
    plan_->kind = Plan::Kind::reset_all;
    plan_->command_tag = "RESET";
    return plan_;
  }
  if (statement.kind() == pgq::VAR_RESET) plan_->command_tag = "RESET";
  if (statement.kind() == pgq::VAR_SET_MULTI) {
    if (name == "transaction") return plan_;
    if (name == "session characteristics") {
      for (const pgq::Node& argument : statement.args()) {
        const auto value = ConstantOf(argument.def_elem().arg());
        if (!value) return Refuse(-1, "plan.setting", "a setting takes constants", {});
        plan_->setting.characteristics.emplace_back("default_" + argument.def_elem().defname(), value->constant);
      }
      return plan_;
    }
    return Forbid(-1, "plan.setting", "SET " + statement.name() + " does not pass the gate", {});
  }
  const bool own = In(kOwnSettable, name) || name == "search_path";
  if (statement.kind() == pgq::VAR_SET_CURRENT || (!own && !In(kSettable, name))) {
    return Forbid(
        -1, "plan.setting", "setting \"" + name + "\" cannot be changed here",
        "The gate's own are ecluse.purpose, ecluse.reference and ecluse.role; of PostgreSQL's, those that cannot "
        "change the meaning of a statement.");
  }
  plan_->gate_answers = own;
  if (statement.kind() == pgq::VAR_SET_VALUE) {
    std::string value;
    for (const pgq::Node& argument : statement.args()) {
      const auto constant = ConstantOf(argument);
      if (!constant || constant->kind != ValueSource::Kind::constant) {
        return Refuse(-1, "plan.setting", "a setting takes constants", {});
      }
      // Elements of a list keep their quoting apart, for the gate's own search_path.
      value += (value.empty() ? "" : ", ") +
               (name == "search_path" ? QuoteWhereNeeded(constant->constant) : constant->constant);
    }
    plan_->setting.value = std::move(value);
  }
  ECLUSE_OK(SettingValue());
  return plan_;
}

// Values that would change how statements are read, or free them of a limit.
Status Analyzer::SettingValue() {
  const std::string& name = plan_->setting.name;
  const auto is = [&](std::initializer_list<std::string_view> allowed) {
    return !plan_->setting.value || std::ranges::find(allowed, AsciiLower(*plan_->setting.value)) != allowed.end();
  };
  if (name == "client_encoding" && !is({"utf8", "utf-8", "unicode", "sql_ascii"})) {
    return Refuse(-1, "plan.setting", "client_encoding can only be UTF8 here", "Set client_encoding to UTF8.");
  }
  if (name == "statement_timeout" && plan_->setting.value) {
    const auto asked = Milliseconds(*plan_->setting.value);
    const auto most = std::chrono::duration_cast<std::chrono::milliseconds>(schema_.policy->statement_timeout).count();
    if (!asked || *asked == 0 || *asked > most) {
      return Forbid(-1, "plan.setting",
                    "statement_timeout can be at most " + std::to_string(most) + " ms here, and not 0",
                    "The policy's gate.statement_timeout is the longest a statement may run.");
    }
  }
  if (name == "client_min_messages" && !is({"notice", "warning", "error"})) {
    return Forbid(-1, "plan.setting", "client_min_messages can be notice, warning or error here",
                  "What lies below notice is PostgreSQL's own output about tables and plans.");
  }
  if (name == "standard_conforming_strings" && !is({"on", "true", "1", "t"})) {
    return Refuse(-1, "plan.setting", "standard_conforming_strings can only be on here", {});
  }
  return {};
}

Result<std::shared_ptr<Plan>> Analyzer::SetConfig(const pgq::FuncCall& call, const std::string& alias) {
  std::vector<std::string> values;
  for (const pgq::Node& argument : call.args()) {
    const auto source = ConstantOf(argument);
    if (source && source->kind == ValueSource::Kind::constant) values.push_back(source->constant);
  }
  const bool local = values.size() == 3 && AsciiLower(values[2]).starts_with('t');
  if (values.size() != 3 || call.args_size() != 3 || !In(kSettable, AsciiLower(values[0])) ||
      !In(kBooleans, AsciiLower(values[2]))) {
    return Forbid(call.location(), "plan.setting",
                  "set_config takes constants here, and one of the settings of PostgreSQL's that SET may change",
                  "The gate's own settings, and search_path, are set by SET.");
  }
  plan_->kind = Plan::Kind::set;
  plan_->command_tag = "SELECT";
  plan_->setting = {AsciiLower(values[0]), values[1], local, {}};
  ECLUSE_OK(SettingValue());
  plan_->sql = "SELECT pg_catalog.set_config(" + QuoteLiteral(plan_->setting.name) + ", " + QuoteLiteral(values[1]) +
               (local ? ", true)" : ", false)") + " AS " + QuoteIdentifier(alias);
  return plan_;
}

Result<std::shared_ptr<Plan>> Analyzer::Show(const pgq::VariableShowStmt& statement) {
  const std::string name = AsciiLower(statement.name());
  plan_->kind = Plan::Kind::show;
  plan_->command_tag = "SHOW";
  plan_->setting.name = name;
  plan_->gate_answers = In(kOwnSettable, name) || In(kOwnShowable, name) || name == "search_path";
  if (!plan_->gate_answers && !In(kSettable, name) && !In(kShowable, name)) {
    return Forbid(-1, "plan.setting", "setting \"" + name + "\" cannot be read here",
                  "SHOW ecluse.budget, ecluse.purposes and ecluse.session tell about this session.");
  }
  return plan_;
}

Result<std::shared_ptr<const Plan>> Analyzer::Inner(size_t begin, std::span<const Oid> declared) {
  if (begin >= clauses_.tokens().size())
    return Refuse(-1, "plan.statement", "there is no statement inside this one", {});
  const size_t at = clauses_.tokens()[begin].begin;
  auto plan = inner_(text_.substr(at, clauses_.tokens().back().end - at), declared);
  if (!plan && plan.error().position > 0) plan.error().position += CharacterOf(static_cast<int>(at)) - 1;
  return plan;
}

Result<std::shared_ptr<Plan>> Analyzer::Prepare(const pgq::PrepareStmt& statement) {
  std::vector<Oid> types;
  for (const pgq::Node& node : statement.argtypes()) {
    ECLUSE_OK(Type(node.type_name()));
    const Oid oid = node.type_name().array_bounds_size() > 0 ? 0 : TypeOid(NameParts(node.type_name().names()).back());
    types.push_back(oid);
  }
  ECLUSE_TRY(plan_->inner, Inner(clauses_.FindWord(0, clauses_.tokens().size(), 0, "as") + 1, types));
  plan_->kind = Plan::Kind::prepare;
  plan_->name = statement.name();
  plan_->command_tag = "PREPARE";
  return plan_;
}

Result<std::shared_ptr<Plan>> Analyzer::Execute(const pgq::ExecuteStmt& statement) {
  plan_->kind = Plan::Kind::execute;
  plan_->name = statement.name();
  for (const pgq::Node& node : statement.params()) {
    auto value = ConstantOf(node);
    for (const pgq::Node* part = &node; value && part->has_type_cast(); part = &part->type_cast().arg()) {
      if (part->type_cast().type_name().typmods_size() > 0) value.reset();  // it may cut the value
    }
    if (!value && node.has_a_const() && node.a_const().isnull()) {
      value = ValueSource{};
      value->null = true;
    }
    if (!value)
      return Refuse(-1, "plan.execute", "EXECUTE takes constants, cast to no shorter type",
                    "Use the extended protocol for parameters.");
    plan_->arguments.push_back(std::move(*value));
  }
  return plan_;
}

Result<std::shared_ptr<Plan>> Analyzer::Declare(const pgq::DeclareCursorStmt& statement) {
  if ((statement.options() & kCursorScroll) != 0) {
    return Refuse(-1, "plan.cursor", "cursors go forward only", "Leave SCROLL out.");
  }
  const size_t cursor = clauses_.FindWord(0, clauses_.tokens().size(), 0, "cursor");
  const size_t begin = clauses_.FindWord(cursor, clauses_.tokens().size(), 0, "for") + 1;
  ECLUSE_TRY(plan_->inner, Inner(begin, plan_->parameter_types));
  // Cursors are counted by person: what a group hides can only be told once all of it is there.
  if (plan_->inner->statistic) plan_->inner = plan_->inner->fallback;
  if (plan_->inner->kind != Plan::Kind::rows) return Refuse(-1, "plan.cursor", "a cursor takes a SELECT", {});
  if (plan_->inner->whole) {
    return Refuse(
        -1, "plan.cut",
        "a cursor would show some of the rows that LIMIT, DISTINCT ON or the order of an aggregate had picked "
        "among those of other people, and so tell of people who are not counted",
        "Send the query itself: its rows come together.");
  }
  if (!plan_->inner->crossings.empty()) {
    return Refuse(-1, "plan.compartment", "a cursor does not join tables of different compartments",
                  "Send the query itself.");
  }
  if (plan_->inner->skip)
    return Refuse(-1, "plan.cursor", "a cursor takes no OFFSET over guarded rows", "MOVE forward instead.");
  // It is run to its end by COMMIT, before any row of it is charged: an error, or none, would tell of all of them.
  if ((statement.options() & kCursorHold) != 0 && plan_->inner->guarded) {
    return Refuse(-1, "plan.cursor", "a cursor WITH HOLD takes no guarded rows",
                  "Leave WITH HOLD out, and fetch before COMMIT.");
  }
  plan_->kind = Plan::Kind::declare;
  plan_->name = statement.portalname();
  plan_->parameters = plan_->inner->parameters;
  plan_->parameter_types = plan_->inner->parameter_types;
  plan_->command_tag = "DECLARE CURSOR";
  plan_->sql = "DECLARE " + QuoteIdentifier(plan_->name) +
               ((statement.options() & kCursorBinary) != 0 ? " BINARY" : "") + " NO SCROLL CURSOR" +
               ((statement.options() & kCursorHold) != 0 ? " WITH HOLD" : "") + " FOR " + plan_->inner->sql;
  return plan_;
}

Result<std::shared_ptr<Plan>> Analyzer::Fetch(const pgq::FetchStmt& statement) {
  constexpr int64_t kAll = INT64_MAX;
  if (statement.direction() != pgq::FETCH_FORWARD || statement.how_many() <= 0) {
    return Refuse(-1, "plan.cursor", "cursors go forward only", "FETCH, FETCH n, FETCH ALL, MOVE n.");
  }
  plan_->kind = Plan::Kind::fetch;
  plan_->name = statement.portalname();
  plan_->count = statement.how_many() == kAll ? -1 : statement.how_many();
  plan_->swallow = statement.ismove();
  plan_->command_tag = statement.ismove() ? "MOVE" : "FETCH";
  plan_->sql = "FETCH " + (plan_->count < 0 ? std::string("ALL") : "FORWARD " + std::to_string(plan_->count)) +
               " FROM " + QuoteIdentifier(plan_->name);
  return plan_;
}

Result<std::shared_ptr<Plan>> Analyzer::Explain(const pgq::ExplainStmt& statement) {
  size_t begin = 1;
  while (begin < clauses_.tokens().size()) {
    if (clauses_.Symbol(begin, "(") && begin == 1 && !clauses_.Word(2, "select") && !clauses_.Word(2, "with")) {
      begin = clauses_.Partner(begin) + 1;
    } else if (clauses_.Word(begin, "analyze") || clauses_.Word(begin, "verbose")) {
      ++begin;
    } else {
      break;
    }
  }
  ECLUSE_TRY(std::shared_ptr<const Plan> inner, Inner(begin, plan_->parameter_types));
  if (inner->kind != Plan::Kind::rows && inner->kind != Plan::Kind::write) {
    return Refuse(-1, "plan.explain", "EXPLAIN takes a query", {});
  }
  if (!inner->guarded && inner->sql.contains(QuoteIdentifier(schema_.login))) {
    return Refuse(-1, "plan.explain", "EXPLAIN of a query over catalogs is not available", "Run the query itself.");
  }
  if (!inner->guarded) {
    plan_->kind = Plan::Kind::rows;
    plan_->sql = std::string(text_.substr(0, clauses_.tokens()[begin].begin)) + inner->sql;
    plan_->parameters = inner->parameters;
    plan_->read_only_catalog = inner->read_only_catalog;
    return plan_;
  }
  for (const pgq::Node& option : statement.options()) {
    if (option.def_elem().defname() == "analyze") {
      return Refuse(-1, "plan.explain", "EXPLAIN ANALYZE over guarded tables would tell of rows without showing them",
                    "Use EXPLAIN, which shows how the statement is counted, or run the statement.");
    }
  }
  plan_->kind = Plan::Kind::explain;
  plan_->command_tag = "EXPLAIN";
  plan_->inner = inner;
  for (const TableRef& table : inner->tables) {
    std::string line = "Guarded table " + table.table.Text() + " (people of space " + table.space + ")";
    plan_->lines.push_back(std::move(line));
    for (const auto& [column, mask] : table.fields) plan_->lines.push_back("  " + column + ": " + mask.Text());
  }
  plan_->lines.push_back(inner->statistic
                             ? "Counted as statistics where at least " + std::to_string(inner->min_subjects) +
                                   " people stand behind each row, else by person"
                             : "Each row is charged for every person it tells about");
  plan_->lines.push_back(
      "Lookups: " + std::to_string(inner->arms + inner->lists.fixed) +
      (inner->lists.array_parameters.empty() ? "" : " and one for each element of its array parameters"));
  if (!inner->asked.empty())
    plan_->lines.push_back("People it names by value are charged whether or not they are found");
  if (inner->skip) plan_->lines.push_back("Rows skipped by OFFSET are charged like delivered ones");
  return plan_;
}

}  // namespace ecluse
