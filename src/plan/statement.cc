// A whole statement: which kind it is, and for rows the plan that carries their people.
#include <algorithm>

#include "base/limits.h"
#include "plan/analyzer.h"
#include "plan/tree.h"

namespace ecluse {

bool HasOnly(const google::protobuf::Message& message, std::initializer_list<std::string_view> names) {
  std::vector<const google::protobuf::FieldDescriptor*> fields;
  message.GetReflection()->ListFields(message, &fields);
  return std::ranges::all_of(fields,
                             [&](const auto* field) { return std::ranges::find(names, field->name()) != names.end(); });
}

namespace {

// The call of `SELECT set_config(…)`, where there is nothing else.
const pgq::FuncCall* LoneSetConfig(const pgq::SelectStmt& select) {
  if (!HasOnly(select, {"target_list", "limit_option", "op"}) || select.op() != pgq::SETOP_NONE ||
      select.target_list_size() != 1) {
    return nullptr;
  }
  const pgq::ResTarget& target = select.target_list(0).res_target();
  if (target.indirection_size() > 0 || !target.val().has_func_call()) return nullptr;
  const pgq::FuncCall& call = target.val().func_call();
  const std::vector<std::string> name = NameParts(call.funcname());
  const bool named = name.back() == "set_config" && (name.size() == 1 || (name.size() == 2 && name[0] == "pg_catalog"));
  return named && HasOnly(call, {"funcname", "args", "funcformat", "location"}) ? &call : nullptr;
}

}  // namespace

Analyzer::Analyzer(const PlanContext& context, std::string_view text, const std::vector<Token>& tokens,
                   std::span<const Oid> declared, bool statistic, PlanInner inner)
    : context_(context),
      schema_(*context.schema),
      text_(text),
      clauses_(text, tokens),
      inner_(std::move(inner)),
      plan_(std::make_shared<Plan>()),
      statistic_(statistic) {
  plan_->parameter_types.assign(declared.begin(), declared.end());
  constexpr Oid kUnknownType = 705;  // says as little as 0, and PostgreSQL takes it so
  std::ranges::replace(plan_->parameter_types, kUnknownType, Oid{0});
  plan_->client_parameters = static_cast<int>(declared.size());
  for (const Token& token : tokens) {
    if (token.kind != Token::Kind::parameter) continue;
    const int number = std::atoi(std::string(ecluse::TextOf(text, token).substr(1, 6)).c_str());
    plan_->client_parameters = std::max(plan_->client_parameters, number);
  }
}

Result<std::shared_ptr<Plan>> Analyzer::Statement(const pgq::Node& node) {
  auto plan = [&]() -> Result<std::shared_ptr<Plan>> {
    switch (node.node_case()) {
      case pgq::Node::kSelectStmt:
        return Rows(node.select_stmt());
      case pgq::Node::kInsertStmt:
        return Insert(node.insert_stmt());
      case pgq::Node::kUpdateStmt:
        return Update(node.update_stmt());
      case pgq::Node::kDeleteStmt:
        return Delete(node.delete_stmt());
      default:
        return Utility(node);
    }
  }();
  if (!plan) return plan;
  Plan& made = **plan;
  const bool whole =
      node.has_select_stmt() || node.has_insert_stmt() || node.has_update_stmt() || node.has_delete_stmt();
  if (whole && (made.kind == Plan::Kind::rows || made.kind == Plan::Kind::write)) ECLUSE_OK(AllSeen(node));
  ECLUSE_OK(FinishSealed());
  made.guarded |= !made.tables.empty() || (made.inner && made.inner->guarded);
  made.read_only_catalog = system_ && !unsystem_;
  if (catalog_only_ && made.guarded) {
    return Forbid(catalog_only_->location, "plan.catalog-only",
                  catalog_only_->what + " is available in queries over catalogs alone", "Leave it out here.");
  }
  if (sequence_ && made.guarded) {
    return Forbid(*sequence_, "plan.sequence", "a sequence would count the guarded rows that PostgreSQL looks at",
                  "Use nextval in VALUES of an INSERT, or in a statement of its own.");
  }
  if (system_ && made.guarded) {
    return Refuse(-1, "plan.mixed", "catalogs and guarded tables cannot be read in one statement",
                  "Send two statements.");
  }
  return plan;
}

// A clause that nothing above walked would hide whatever it reads.
Status Analyzer::AllSeen(const google::protobuf::Message& message) const {
  const std::string& kind = message.GetDescriptor()->name();
  if (kind == "LockingClause") return {};  // the names in it are aliases
  if ((kind == "RangeVar" || kind == "FuncCall") && !seen_.contains(&message)) {
    return Refuse(-1, "plan.expression", "a part of this statement is not understood", "Write it in simpler parts.");
  }
  return EachChild(message, [&](const auto&, const auto& child) { return AllSeen(child); });
}

Result<std::shared_ptr<Plan>> Analyzer::Rows(const pgq::SelectStmt& select) {
  if (const pgq::FuncCall* call = LoneSetConfig(select)) {
    const std::string& alias = select.target_list(0).res_target().name();
    return SetConfig(*call, alias.empty() ? "set_config" : alias);
  }
  plan_->kind = Plan::Kind::rows;
  statement_ = &select;
  Output output;
  ECLUSE_TRY(const bool exists, TopLevelExists(select, &output));
  if (!exists) {
    ECLUSE_TRY(output, Query(select, nullptr, Carry::hidden, true));
  }
  if (output.guarded() && select.has_limit_offset()) ECLUSE_OK(TopLevelOffset(select));
  ECLUSE_OK(FinishRows(output));
  plan_->whole = output.over_cut || output.ordered || (output.single && select.op() != pgq::SETOP_NONE);
  return plan_;
}

Status Analyzer::ApplyLeaves(const std::vector<Leaf*>& leaves) {
  for (const Leaf* leaf : leaves) {
    std::string sql;
    for (size_t i = 0; i < leaf->items.size(); ++i) {
      sql += ", " + leaf->items[i] + " AS \"__ecluse_s" + std::to_string(i + 1) + '"';
    }
    spliced_ += sql.size();
    if (spliced_ > limits::kSplicedBytes) return CheckWidth(0, limits::kHiddenColumns + 1);
    if (!sql.empty()) splices_.Insert(leaf->insert_at, std::move(sql));
  }
  return {};
}

Status Analyzer::CheckWidth(size_t columns, size_t hidden) const {
  if (columns <= limits::kResultColumns && hidden <= limits::kHiddenColumns) return {};
  return Refuse(-1, "plan.too-complex",
                columns > limits::kResultColumns
                    ? "the statement has too many columns"
                    : "too many references to guarded tables come together in this statement",
                "Use each WITH query less often, or send smaller statements.");
}

Status Analyzer::FinishRows(const Output& output) {
  ECLUSE_OK(ApplyLeaves(output.leaves));
  if (!output.guarded()) return {};
  plan_->guarded = true;
  plan_->lists.fixed += listed_values_;
  plan_->visible_columns = static_cast<int>(output.columns.size());
  plan_->statistic = statistic_ && statistic_form_;
  std::map<int, int> arms;
  for (const Output::Hidden& hidden : output.hidden) {
    const int arm = arms.emplace(hidden.arm, static_cast<int>(arms.size())).first->second;
    plan_->hidden.push_back({HiddenColumn::Kind::subjects, hidden.table_ref, arm});
  }
  plan_->arms = std::max(1, static_cast<int>(arms.size()));
  plan_->hidden.insert(plan_->hidden.end(), extra_.begin(), extra_.end());
  if (schema_.role->statistics) plan_->min_subjects = schema_.role->statistics->min_subjects;
  ECLUSE_OK(FollowSealed(output));
  for (size_t i = 0; i < output.columns.size(); ++i) {
    if (!output.columns[i].pseudonym) continue;
    plan_->pseudonym.resize(output.columns.size(), -1);
    if (!output.columns[i].origin) {
      return Refuse(-1, "plan.pseudonym", "this pseudonym cannot be followed to its column",
                    "Select the column itself.");
    }
    plan_->pseudonym[i] = output.columns[i].origin->table_ref;
  }
  return {};
}

Status Analyzer::TopLevelOffset(const pgq::SelectStmt& select) {
  const auto offset = ConstantOf(select.limit_offset());
  if (!offset || (offset->kind == ValueSource::Kind::constant && offset->constant == "0")) return {};
  const auto refuse = [&] {
    return Refuse(-1, "plan.offset", "this OFFSET cannot be rewritten",
                  "Write LIMIT n OFFSET m at the end of the statement.");
  };
  if (offset->kind == ValueSource::Kind::constant &&
      (offset->constant.empty() ||
       !std::ranges::all_of(offset->constant, [](char c) { return c >= '0' && c <= '9'; }))) {
    return Refuse(-1, "plan.offset", "OFFSET takes a whole number from 0 on, or a parameter",
                  "Write OFFSET 20, without quotes or signs.");
  }
  // OFFSET and LIMIT of the statement itself stand outside all parentheses.
  size_t word = Clauses::npos, limit = Clauses::npos;
  for (size_t i = 0; i < clauses_.tokens().size(); ++i) {
    if (clauses_.tokens()[i].depth != 0) continue;
    if (clauses_.Word(i, "offset")) word = i;
    if (clauses_.Word(i, "limit") || clauses_.Word(i, "fetch")) limit = i;
  }
  if (word == Clauses::npos) return refuse();
  const auto value_end = [&](size_t i) {
    size_t end = i + 2;  // the word and one value, with a cast or in parentheses
    if (clauses_.Symbol(i + 1, "(")) end = clauses_.Partner(i + 1) + 1;
    if (clauses_.Symbol(end, "::")) end += clauses_.Symbol(end + 2, ".") ? 4 : 2;
    return end;
  };
  size_t end = value_end(word);
  if (clauses_.Word(end, "row") || clauses_.Word(end, "rows")) ++end;
  const std::string skip = offset->kind == ValueSource::Kind::constant
                               ? offset->constant
                               : "COALESCE($" + std::to_string(offset->parameter) + "::pg_catalog.int8, 0)";
  splices_.Replace(clauses_.tokens()[word].begin, clauses_.tokens()[end - 1].end, "");
  const bool limited =
      select.has_limit_count() && !(select.limit_count().has_a_const() && select.limit_count().a_const().isnull());
  if (limited) {
    if (limit == Clauses::npos) return refuse();
    if (clauses_.Word(limit, "fetch")) return refuse();
    const size_t limit_end = value_end(limit);
    // Around the client's words, not over them: what is in between stays theirs to the verifier.
    splices_.Insert(clauses_.tokens()[limit + 1].begin, "(");
    splices_.Insert(clauses_.tokens()[limit_end - 1].end, ")::pg_catalog.int8 + " + skip);
  }
  plan_->skip = Skip{*offset};
  plan_->skip->value.type = 20;  // int8
  if (offset->kind == ValueSource::Kind::parameter) {
    const auto number = static_cast<size_t>(offset->parameter);
    if (plan_->parameter_types.size() < number) plan_->parameter_types.resize(number, 0);
    if (plan_->parameter_types[number - 1] == 0) plan_->parameter_types[number - 1] = 20;  // int8
  }
  return {};
}

// `SELECT EXISTS (SELECT …)` answers with one witness, so that "yes" is charged for somebody and "no" is an empty arm.
Result<bool> Analyzer::TopLevelExists(const pgq::SelectStmt& select, Output* output) {
  if (select.op() != pgq::SETOP_NONE || select.target_list_size() != 1 || select.from_clause_size() > 0 ||
      select.has_where_clause() || select.has_with_clause() || select.group_clause_size() > 0 ||
      select.has_having_clause() || select.distinct_clause_size() > 0 || select.sort_clause_size() > 0 ||
      select.has_limit_count() || select.has_limit_offset() || select.values_lists_size() > 0) {
    return false;
  }
  const pgq::ResTarget& target = select.target_list(0).res_target();
  if (!target.val().has_sub_link() || target.val().sub_link().sub_link_type() != pgq::EXISTS_SUBLINK ||
      !target.val().sub_link().subselect().has_select_stmt()) {
    return false;
  }
  // Only guarded ones: a first analysis of its own tells.
  const pgq::SelectStmt& inner = target.val().sub_link().subselect().select_stmt();
  const pgq::SelectStmt* statement = std::exchange(statement_, nullptr);
  ECLUSE_TRY(Output witness, Query(inner, nullptr, Carry::hidden, false));
  statement_ = statement;
  const SelectClauses* clauses = clauses_.OfTarget(static_cast<size_t>(target.location()));
  if (witness.hidden.empty() || clauses == nullptr) {
    Column column;
    column.name = target.name().empty() ? "exists" : target.name();
    output->columns.push_back(std::move(column));
    return true;
  }
  if (witness.over_cut) return CutAgain("EXISTS");
  ECLUSE_OK(KeepsOrdered(inner, witness.ordered));
  if (inner.has_limit_count() || inner.has_limit_offset()) {
    return Refuse(target.location(), "plan.exists", "LIMIT inside EXISTS changes nothing and is not understood here",
                  "Leave it out.");
  }
  ECLUSE_OK(ApplyLeaves(witness.leaves));
  size_t open = clauses->list_begin;
  while (open < clauses->list_end && !clauses_.Symbol(open, "(")) ++open;
  const size_t close = clauses_.Partner(open);
  if (!clauses_.Word(clauses->list_begin, "exists") || open != clauses->list_begin + 1 || close == Clauses::npos) {
    return Refuse(target.location(), "plan.exists", "this EXISTS cannot be rewritten",
                  "Write SELECT EXISTS (SELECT …).");
  }
  // Any of a witness's people may be missing, by an outer join or in another arm; the mark tells that there is one.
  std::string sql = "\"__ecluse_w\".\"__ecluse_c1\" IS NOT NULL AS " +
                    QuoteIdentifier(target.name().empty() ? "exists" : target.name());
  std::string marked = "SELECT 1 AS \"__ecluse_c1\"";
  for (size_t i = 0; i < witness.hidden.size(); ++i) {
    const std::string column = "\"__ecluse_s" + std::to_string(i + 1) + '"';
    sql += ", \"__ecluse_w\"." + column + " AS " + column;
    marked += ", \"__ecluse_v\"." + column + " AS " + column;
  }
  sql += " FROM (SELECT 1 AS \"__ecluse_c1\") AS \"__ecluse_one\" LEFT JOIN LATERAL (" + marked + " FROM (";
  splices_.Replace(clauses_.tokens()[clauses->list_begin].begin, clauses_.tokens()[open].end, std::move(sql));
  // The name after AS is written above.
  splices_.Replace(clauses_.tokens()[close].begin, clauses_.tokens()[clauses->list_end - 1].end,
                   ") AS \"__ecluse_v\" LIMIT 1) AS \"__ecluse_w\" ON true");
  output->hidden = witness.hidden;
  Column column;
  column.name = "exists";
  output->columns.push_back(std::move(column));
  return true;
}

}  // namespace ecluse
