// Who is named: subject equalities that tie table references to each other, and constants that ask for people.
#include <algorithm>

#include "plan/analyzer.h"
#include "plan/tree.h"
#include "policy/sealed_columns.h"

namespace ecluse {
namespace {

bool IsEquality(const pgq::A_Expr& expr) { return !expr.name().empty() && NameParts(expr.name()).back() == "="; }

constexpr Oid kInt8 = 20, kInt2 = 21, kInt4 = 23, kText = 25, kVarchar = 1043, kNumeric = 1700, kUuid = 2950,
              kBool = 16;

bool Integer(Oid type) { return type == kInt2 || type == kInt4 || type == kInt8; }
bool Text(Oid type) { return type == kText || type == kVarchar; }

// A value of the one is the same value, written the same, in the other.
bool SameKind(Oid a, Oid b) { return a == b || (Integer(a) && Integer(b)) || (Text(a) && Text(b)); }

// Of PostgreSQL's arrays of these types (pg_type.dat).
Oid ElementOf(Oid array) {
  static const std::map<Oid, Oid> elements{{1005, kInt2},    {1007, kInt4},    {1016, kInt8}, {1009, kText},
                                           {1015, kVarchar}, {1231, kNumeric}, {2951, kUuid}};
  const auto it = elements.find(array);
  return it == elements.end() ? 0 : it->second;
}

// The constant's text is what `type` reads: 1.5 as an integer, or 1e3 as text, is something else.
bool Keeps(const pgq::A_Const& constant, Oid type) {
  switch (constant.val_case()) {
    case pgq::A_Const::kSval:
      return true;
    case pgq::A_Const::kIval:
      return Integer(type) || Text(type) || type == kNumeric;
    case pgq::A_Const::kFval:
      return type == kNumeric ||
             (Integer(type) && constant.fval().fval().find_first_not_of("0123456789") == std::string::npos);
    case pgq::A_Const::kBoolval:
      return type == kBool;
    default:
      return false;
  }
}

}  // namespace

bool Analyzer::IsSubject(const Origin& origin) const {
  const GuardedView& view = *views_[static_cast<size_t>(origin.table_ref)];
  return std::ranges::find(view.subject, origin.column) != view.subject.end();
}

bool Analyzer::SameSubject(const Origin& a, const Origin& b) const {
  const GuardedView& left = *views_[static_cast<size_t>(a.table_ref)];
  const GuardedView& right = *views_[static_cast<size_t>(b.table_ref)];
  return IsSubject(a) && IsSubject(b) && left.space == right.space &&
         left.columns[static_cast<size_t>(a.column)].type == right.columns[static_cast<size_t>(b.column)].type;
}

std::optional<Analyzer::Found> Analyzer::ColumnOf(const pgq::Node& node, const Scope& scope) {
  if (!node.has_column_ref()) return std::nullopt;
  auto found = Resolve(node.column_ref(), scope);
  if (!found) return std::nullopt;
  return *found;
}

std::optional<ValueSource> Analyzer::ConstantOf(const pgq::Node& node) const {
  if (node.has_type_cast()) {
    auto inner = ConstantOf(node.type_cast().arg());
    if (inner && node.type_cast().type_name().array_bounds_size() > 0) inner->array = true;
    return inner;
  }
  ValueSource value;
  if (node.has_param_ref()) {
    value.kind = ValueSource::Kind::parameter;
    value.parameter = node.param_ref().number();
    return value;
  }
  if (!node.has_a_const() || node.a_const().isnull()) return std::nullopt;
  const pgq::A_Const& constant = node.a_const();
  switch (constant.val_case()) {
    case pgq::A_Const::kIval:
      value.constant = std::to_string(constant.ival().ival());
      value.number = true;
      return value;
    case pgq::A_Const::kFval:
      value.constant = constant.fval().fval();
      value.number = true;
      return value;
    case pgq::A_Const::kSval:
      value.constant = constant.sval().sval();
      return value;
    case pgq::A_Const::kBoolval:
      value.constant = constant.boolval().boolval() ? "t" : "f";
      return value;
    default:
      return std::nullopt;
  }
}

std::optional<ValueSource> Analyzer::ValueOf(const pgq::Node& node) const {
  if (!node.has_type_cast()) return ConstantOf(node);
  return Recast(ValueOf(node.type_cast().arg()), node.type_cast().arg(), node.type_cast().type_name());
}

std::optional<ValueSource> Analyzer::Recast(std::optional<ValueSource> value, const pgq::Node& written,
                                            const pgq::TypeName& name) const {
  const auto parts = NameParts(name.names());
  const Oid type = parts.empty() || (parts.size() > 1 && parts.front() != "pg_catalog") ? 0 : TypeOid(parts.back());
  if (!value || type == 0 || name.typmods_size() > 0 || (value->type != 0 && !SameKind(value->type, type))) {
    return std::nullopt;
  }
  if (written.has_a_const() && !Keeps(written.a_const(), type)) return std::nullopt;
  if (value->kind == ValueSource::Kind::parameter) {
    const auto index = static_cast<size_t>(value->parameter - 1);
    const Oid declared = index < plan_->parameter_types.size() ? plan_->parameter_types[index] : 0;
    const bool array = value->array || name.array_bounds_size() > 0;
    if (declared != 0 && !SameKind(array ? ElementOf(declared) : declared, type)) return std::nullopt;
  }
  if (value->type == 0) value->type = type;
  value->array |= name.array_bounds_size() > 0;
  return value;
}

std::optional<ValueSource> Analyzer::Fit(ValueSource value, Oid column) {
  if (value.type == 0) value.type = column;
  if (!SameKind(value.type, column) && !(column == kNumeric && Integer(value.type))) return std::nullopt;
  if (value.kind != ValueSource::Kind::parameter || value.array) return value;
  // PostgreSQL reads a parameter as the type of the place where it stands first; the gate must read the same.
  if (Integer(value.type) || value.type == kNumeric || value.type == kUuid) {
    const auto number = static_cast<size_t>(value.parameter);
    if (plan_->parameter_types.size() < number) plan_->parameter_types.resize(number, 0);
    if (plan_->parameter_types[number - 1] == 0) plan_->parameter_types[number - 1] = value.type;
  }
  return value;
}

void Analyzer::Ask(const Origin& origin, std::vector<ValueSource> values) {
  const GuardedView& view = *views_[static_cast<size_t>(origin.table_ref)];
  for (size_t i = 0; i < values.size() && i < view.subject.size(); ++i) {
    auto value = Fit(std::move(values[i]), view.columns[static_cast<size_t>(view.subject[i])].type);
    if (!value) return;
    values[i] = std::move(*value);
  }
  plan_->asked.push_back({origin.table_ref, std::move(values)});
}

// What a look-up compares with a column. A number stays one: what it is beside an integer, PostgreSQL says. `stored`:
// what a row that is written will hold of it, rounded or cut to the column's type.
std::string Analyzer::Compared(const ViewColumn& column, const ValueSource& value, bool stored,
                               struct Resolve* resolve) {
  std::string sql;
  if (value.kind == ValueSource::Kind::parameter) {
    resolve->parameters.push_back(value.parameter);
    sql = "$" + std::to_string(resolve->parameters.size());
  } else {
    sql = value.number && !value.array ? value.constant : QuoteLiteral(value.constant);
  }
  if (stored) sql = "CAST(" + sql + " AS " + column.type_name + ")";
  return value.array ? "ANY(" + sql + ")" : sql;
}

bool Analyzer::StoredAsNamed(const ViewColumn& column, const ValueSource& value) const {
  if (column.type_name.contains('(')) return false;
  if (value.kind != ValueSource::Kind::parameter)
    return !value.number || value.constant.find_first_not_of("-0123456789") == std::string::npos;
  const auto index = static_cast<size_t>(value.parameter) - 1;
  const Oid declared = index < plan_->parameter_types.size() ? plan_->parameter_types[index] : 0;
  return declared == 0 || SameKind(declared, column.type);
}

void Analyzer::AskUnique(const Origin& origin, const ValueSource& named, const pgq::A_Expr* expr, bool stored) {
  const GuardedView& view = *views_[static_cast<size_t>(origin.table_ref)];
  if (view.columns[static_cast<size_t>(origin.column)].sealed) return;  // AskTokens() does
  const auto fit = Fit(named, view.columns[static_cast<size_t>(origin.column)].type);
  if (!fit) return;
  const ValueSource& value = *fit;
  const bool unique = std::ranges::any_of(
      view.unique, [&](const std::vector<int>& key) { return key.size() == 1 && key.front() == origin.column; });
  if (!unique) return;
  struct Resolve resolve;
  resolve.table_ref = origin.table_ref;
  const ViewColumn& column = view.columns[static_cast<size_t>(origin.column)];
  const std::string right = Compared(column, value, stored, &resolve);
  resolve.sql = "SELECT \"__subject\" FROM " + QuoteIdentifier(schema_.login) + "." + QuoteIdentifier(view.view) +
                " WHERE " + QuoteIdentifier(column.name) + " = " + right;
  plan_->resolve.push_back(std::move(resolve));
  resolve_exprs_.push_back(expr);
}

Status Analyzer::NameSubjects(const pgq::Node& left, const pgq::Node& right, Level& level, const pgq::A_Expr* expr) {
  if (left.has_row_expr() && right.has_row_expr()) {
    const int size = std::min(left.row_expr().args_size(), right.row_expr().args_size());
    for (int i = 0; i < size; ++i) {
      ECLUSE_OK(NameSubjects(left.row_expr().args(i), right.row_expr().args(i), level, expr));
    }
    return {};
  }
  for (const auto& [a, b] : {std::pair{&left, &right}, std::pair{&right, &left}}) {
    const auto column = ColumnOf(*a, *level.scope);
    if (!column || !column->column.origin) continue;
    const Origin& origin = *column->column.origin;
    const bool single = views_[static_cast<size_t>(origin.table_ref)]->subject.size() == 1 && IsSubject(origin);
    if (const auto value = ValueOf(*b)) {
      if (single) {
        Ask(origin, {*value});
      } else {
        AskUnique(origin, *value, expr);
      }
    } else if (const auto other = ColumnOf(*b, *level.scope); other && !other->column.constants.empty()) {
      for (const ValueSource& constant : other->column.constants) {
        if (single) {
          Ask(origin, {constant});
        } else {
          AskUnique(origin, constant, expr);
        }
      }
    }
  }
  return {};
}

Status Analyzer::NameList(const pgq::Node& left, const pgq::Node& list, Level& level, const pgq::A_Expr* expr) {
  const bool guarded = !level.nodes.empty();
  if (list.has_list() || list.has_a_array_expr()) {
    const auto& elements = list.has_list() ? list.list().items() : list.a_array_expr().elements();
    if (guarded) plan_->lists.fixed += std::max(0, elements.size() - 1);
    for (const pgq::Node& element : elements) ECLUSE_OK(NameSubjects(left, element, level, expr));
    return {};
  }
  if (list.has_type_cast() && list.type_cast().arg().has_a_array_expr()) {
    return NameElements(left, list.type_cast(), level, expr);
  }
  const auto column = ColumnOf(left, *level.scope);
  auto value = ValueOf(list);
  if (!value) {
    if (column && column->column.origin) {
      return Refuse(expr->location(), "plan.array", "an array that is searched for must be a constant or a parameter",
                    "Pass the values as one array parameter: = ANY($1).");
    }
    return {};
  }
  value->array = true;
  if (guarded) {
    if (value->kind == ValueSource::Kind::parameter) {
      plan_->lists.array_parameters.push_back(value->parameter);
    } else {
      plan_->lists.fixed += std::ranges::count(value->constant, ',');
    }
  }
  if (column && column->column.origin) {
    const Origin& origin = *column->column.origin;
    if (views_[static_cast<size_t>(origin.table_ref)]->subject.size() == 1 && IsSubject(origin)) {
      Ask(origin, {*value});
    } else {
      AskUnique(origin, *value, expr);
    }
  }
  return {};
}

// `column = ANY (ARRAY[…]::type[])`: each element is read as that type.
Status Analyzer::NameElements(const pgq::Node& left, const pgq::TypeCast& list, Level& level, const pgq::A_Expr* expr) {
  const auto& elements = list.arg().a_array_expr().elements();
  if (!level.nodes.empty()) plan_->lists.fixed += std::max(0, elements.size() - 1);
  const auto column = ColumnOf(left, *level.scope);
  if (!column || !column->column.origin) return {};
  const Origin& origin = *column->column.origin;
  for (const pgq::Node& element : elements) {
    pgq::TypeName type = list.type_name();
    type.clear_array_bounds();
    if (element.has_a_const() && element.a_const().isnull()) continue;
    const auto value = Recast(ValueOf(element), element, type);
    if (!value) {
      return Refuse(expr->location(), "plan.array",
                    "the elements of an array that is searched for must be constants or "
                    "parameters of the column's type",
                    "Pass the values as one array parameter: = ANY($1).");
    }
    if (views_[static_cast<size_t>(origin.table_ref)]->subject.size() == 1 && IsSubject(origin)) {
      Ask(origin, {*value});
    } else {
      AskUnique(origin, *value, expr);
    }
  }
  return {};
}

// `column IN (VALUES …)` and `column IN (SELECT unnest(array))` name people like lists do.
Status Analyzer::NameMembers(const pgq::Node& left, const pgq::SelectStmt& select, Level& level) {
  for (const pgq::Node& row : select.values_lists()) {
    if (row.list().items_size() == 1) ECLUSE_OK(NameSubjects(left, row.list().items(0), level, nullptr));
  }
  if (select.target_list_size() != 1 || select.from_clause_size() > 1) return {};
  const pgq::Node* call = &select.target_list(0).res_target().val();
  if (select.from_clause_size() == 1 && select.from_clause(0).has_range_function() &&
      select.from_clause(0).range_function().functions_size() == 1 &&
      select.from_clause(0).range_function().functions(0).list().items_size() > 0) {
    call = &select.from_clause(0).range_function().functions(0).list().items(0);
  }
  if (!call->has_func_call() || NameParts(call->func_call().funcname()).back() != "unnest" ||
      call->func_call().args_size() != 1) {
    return {};
  }
  const pgq::Node& array = call->func_call().args(0);
  if (!ConstantOf(array) && !array.has_a_array_expr()) return {};
  static const pgq::A_Expr no_place;
  return NameList(left, array, level, &no_place);
}

void Analyzer::AskKey(int table_ref, const std::vector<int>& key, const std::map<int, ValueSource>& columns,
                      bool stored) {
  const GuardedView& view = *views_[static_cast<size_t>(table_ref)];
  struct Resolve resolve;
  resolve.table_ref = table_ref;
  resolve.sql =
      "SELECT \"__subject\" FROM " + QuoteIdentifier(schema_.login) + "." + QuoteIdentifier(view.view) + " WHERE ";
  for (size_t i = 0; i < key.size(); ++i) {
    const ValueSource& value = columns.at(key[i]);
    const ViewColumn& column = view.columns[static_cast<size_t>(key[i])];
    resolve.sql += (i > 0 ? " AND " : "") +
                   QuoteIdentifier(column.sealed ? EqualityColumn(column.name, column.sealed->search) : column.name) +
                   " = ";
    if (column.sealed) {
      resolve.parameters.push_back(value.parameter);
      resolve.sql += "$" + std::to_string(resolve.parameters.size()) + "::pg_catalog.bytea";
    } else {
      resolve.sql += Compared(column, value, stored, &resolve);
    }
  }
  plan_->resolve.push_back(std::move(resolve));
  resolve_exprs_.push_back(nullptr);
}

std::vector<ValueSource> Analyzer::SubjectNamed(const pgq::Node& condition, const Scope& scope,
                                                const FromItem& target) {
  const Relation& relation = *target.relations.front();
  const GuardedView& view = *relation.view;
  std::vector<const pgq::Node*> parts;
  Flatten(condition, parts);
  std::map<int, ValueSource> named;
  for (const pgq::Node* part : parts) {
    if (!part->has_a_expr() || part->a_expr().kind() != pgq::AEXPR_OP || !IsEquality(part->a_expr())) continue;
    const pgq::A_Expr& expr = part->a_expr();
    for (const auto& [column, value] :
         {std::pair{&expr.lexpr(), &expr.rexpr()}, std::pair{&expr.rexpr(), &expr.lexpr()}}) {
      const auto found = ColumnOf(*column, scope);
      if (!found || !found->column.origin || found->column.origin->table_ref != relation.table_ref) continue;
      auto constant = ValueOf(*value);
      if (constant) constant = Fit(std::move(*constant), found->column.type);
      if (constant && !constant->array) named[found->column.origin->column] = *constant;
    }
  }
  std::vector<ValueSource> subject;
  for (const int column : view.subject) {
    if (named.contains(column)) subject.push_back(named[column]);
  }
  return subject.size() == view.subject.size() ? subject : std::vector<ValueSource>();
}

Result<std::vector<std::pair<int, int>>> Analyzer::Ties(const pgq::Node& condition, const Scope& scope) {
  std::vector<const pgq::Node*> parts;
  Flatten(condition, parts);
  std::map<std::pair<int, int>, std::set<std::pair<int, int>>> equated;  // nodes -> positions in their subjects
  std::map<std::pair<int, int>, std::map<int, ValueSource>> named;       // node, table_ref -> column -> constant
  for (const pgq::Node* part : parts) {
    if (!part->has_a_expr() || part->a_expr().kind() != pgq::AEXPR_OP || !IsEquality(part->a_expr())) continue;
    const auto left = ColumnOf(part->a_expr().lexpr(), scope);
    const auto right = ColumnOf(part->a_expr().rexpr(), scope);
    if (left && right && left->column.origin && right->column.origin &&
        SameSubject(*left->column.origin, *right->column.origin)) {
      const Origin& a = *left->column.origin;
      const Origin& b = *right->column.origin;
      const auto place = [&](const Origin& o) {
        const auto& subject = views_[static_cast<size_t>(o.table_ref)]->subject;
        return static_cast<int>(std::ranges::find(subject, o.column) - subject.begin());
      };
      if (place(a) == place(b)) equated[std::minmax(a.node, b.node)].insert({place(a), place(b)});
    }
    for (const auto& [column, value] :
         {std::pair{&left, &part->a_expr().rexpr()}, std::pair{&right, &part->a_expr().lexpr()}}) {
      if (!*column || !(*column)->column.origin) continue;
      const Origin& o = *(*column)->column.origin;
      if ((*column)->column.sealed) {  // by its token alone
        const auto token = tokens_of_.find(&part->a_expr());
        if (token != tokens_of_.end()) named[{o.node, o.table_ref}][o.column] = token->second;
        continue;
      }
      auto constant = ValueOf(*value);
      if (constant) {
        constant = Fit(std::move(*constant),
                       views_[static_cast<size_t>(o.table_ref)]->columns[static_cast<size_t>(o.column)].type);
      }
      if (constant) named[{o.node, o.table_ref}][o.column] = *constant;
    }
  }
  std::vector<std::pair<int, int>> ties;
  for (const auto& [pair, places] : equated) {
    const auto size = [&](int node) {
      return views_[static_cast<size_t>(nodes_[static_cast<size_t>(node)].table_ref)]->subject.size();
    };
    if (places.size() == size(pair.first) && places.size() == size(pair.second)) ties.push_back(pair);
  }
  for (const auto& [reference, columns] : named) {
    const GuardedView& view = *views_[static_cast<size_t>(reference.second)];
    const auto has = [&](int column) { return columns.contains(column); };
    if (view.subject.size() > 1 && std::ranges::all_of(view.subject, has)) {
      std::vector<ValueSource> values;
      for (const int column : view.subject) values.push_back(columns.at(column));
      Ask({reference.first, reference.second, view.subject.front()}, std::move(values));
    }
    for (const std::vector<int>& key : view.unique) {
      if (key.size() < 2 || !std::ranges::all_of(key, has)) continue;
      AskKey(reference.second, key, columns);
    }
  }
  return ties;
}

}  // namespace ecluse
