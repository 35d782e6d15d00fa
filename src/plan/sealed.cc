// Sealed columns in what is asked: comparisons with constants and parameters become comparisons of tokens, values that
// are written become envelopes and tokens, all of them parameters of the gate's own (docs/decisions/sealed-columns.md).
#include <algorithm>

#include "base/utf8.h"
#include "plan/analyzer.h"
#include "policy/masks.h"
#include "policy/sealed_columns.h"
#include "vault/folding.h"

namespace ecluse {
namespace {

constexpr Oid kUnknown = 705;

// Of pg_type.dat: the array type of each type that may be sealed.
const std::map<Oid, Oid>& Arrays() {
  static const std::map<Oid, Oid> arrays{
      {oid::kBool, 1000},      {oid::kBytea, 1001},       {oid::kInt8, 1016},    {oid::kInt2, 1005}, {oid::kInt4, 1007},
      {oid::kText, 1009},      {oid::kVarchar, 1015},     {oid::kDate, 1182},    {oid::kUuid, 2951}, {oid::kJsonb, 3807},
      {oid::kTimestamp, 1115}, {oid::kTimestamptz, 1185}, {oid::kNumeric, 1231}};
  return arrays;
}

Oid ArrayOf(Oid element) {
  const auto it = Arrays().find(element);
  return it == Arrays().end() ? 0 : it->second;
}

Oid ElementOf(Oid array) {
  const auto it = std::ranges::find(Arrays(), array, &std::pair<const Oid, Oid>::second);
  return it == Arrays().end() ? 0 : it->first;
}

Oid NamedType(const pgq::TypeName& name) {
  static const std::map<std::string_view, Oid> types{
      {"text", oid::kText},           {"varchar", oid::kVarchar},         {"date", oid::kDate},
      {"timestamp", oid::kTimestamp}, {"timestamptz", oid::kTimestamptz}, {"int2", oid::kInt2},
      {"int4", oid::kInt4},           {"int8", oid::kInt8},               {"numeric", oid::kNumeric},
      {"bool", oid::kBool},           {"bytea", oid::kBytea},             {"jsonb", oid::kJsonb},
      {"uuid", oid::kUuid}};
  const auto parts = NameParts(name.names());
  if (parts.empty() || (parts.size() > 1 && parts.front() != "pg_catalog") || name.typmods_size() > 0) return 0;
  const auto it = types.find(parts.back());
  return it == types.end() ? 0 : it->second;
}

bool Integer(Oid type) { return type == oid::kInt2 || type == oid::kInt4 || type == oid::kInt8; }

// A value of type `given` is compared with a column of that type as one of its own.
bool Same(Oid given, Oid column) {
  return given == column || (IsText(given) && IsText(column)) || (Integer(given) && Integer(column)) ||
         (column == oid::kNumeric && Integer(given));
}

// The constant is read as a value of the type, as PostgreSQL would read it there.
bool Reads(const pgq::A_Const& constant, Oid type) {
  switch (constant.val_case()) {
    case pgq::A_Const::kSval:
      return true;
    case pgq::A_Const::kIval:
      return Integer(type) || type == oid::kNumeric;
    case pgq::A_Const::kFval:
      return type == oid::kNumeric || (Integer(type) && constant.fval().fval().find_first_not_of("-0123456789") ==
                                                            std::string::npos);
    case pgq::A_Const::kBoolval:
      return type == oid::kBool;
    default:
      return false;
  }
}

bool IsNull(const pgq::Node& node) {
  return node.has_type_cast() ? IsNull(node.type_cast().arg()) : node.has_a_const() && node.a_const().isnull();
}

// What a LIKE looks for before its last %: nothing where it looks for more than how the text begins.
std::optional<std::string> BeginningOf(std::string_view pattern, bool* open) {
  *open = pattern.ends_with('%');
  while (pattern.ends_with('%')) pattern.remove_suffix(1);
  if (pattern.find_first_of("%_\\") != std::string_view::npos) return std::nullopt;
  return std::string(pattern);
}

size_t Characters(std::string_view text) {
  return static_cast<size_t>(
      std::ranges::count_if(text, [](char c) { return (static_cast<unsigned char>(c) & 0xc0) != 0x80; }));
}

// Where some part of it stands in the text; -1 where the tree does not say.
int AnyLocation(const google::protobuf::Message& message) {
  const auto* reflection = message.GetReflection();
  std::vector<const google::protobuf::FieldDescriptor*> fields;
  reflection->ListFields(message, &fields);
  for (const auto* field : fields) {
    if (field->name() == "location") {
      const int location = reflection->GetInt32(message, field);
      if (location > 0) return location;
    }
    if (field->cpp_type() != google::protobuf::FieldDescriptor::CPPTYPE_MESSAGE) continue;
    const int count = field->is_repeated() ? reflection->FieldSize(message, field) : 1;
    for (int i = 0; i < count; ++i) {
      const int location = AnyLocation(field->is_repeated() ? reflection->GetRepeatedMessage(message, field, i)
                                                            : reflection->GetMessage(message, field));
      if (location > 0) return location;
    }
  }
  return -1;
}

const std::string kValueHint =
    "Write a constant or a parameter of the column's own type, cast to nothing else; NULL is one too.";

}  // namespace

std::unexpected<Error> Analyzer::RefuseOpaque(const Column& column, int location, std::string_view what,
                                              std::string_view hint) const {
  return Refuse(location, column.sealed ? "plan.sealed" : "plan.pseudonym",
                "column \"" + column.name + "\" is " + (column.sealed ? "sealed" : "shown to this role as a pseudonym") +
                    " and " + std::string(what),
                std::string(hint));
}

const ViewColumn& Analyzer::ViewColumnOf(const Column& column) const {
  const GuardedView& view = *views_[static_cast<size_t>(column.origin->table_ref)];
  return view.columns[static_cast<size_t>(column.origin->column)];
}

std::optional<Analyzer::SealedSide> Analyzer::SealedOf(const pgq::Node& node, const Scope& scope) {
  if (node.has_func_call()) {
    // A sealed text is compared without case.
    const pgq::FuncCall& call = node.func_call();
    const auto name = NameParts(call.funcname());
    if (name.size() != 1 || (name[0] != "upper" && name[0] != "lower") || call.args_size() != 1) return std::nullopt;
    auto side = call.args(0).has_column_ref() ? SealedOf(call.args(0), scope) : std::nullopt;
    if (!side || !side->found.column.origin || !IsText(ViewColumnOf(side->found.column).sealed->type.oid)) {
      return std::nullopt;
    }
    side->first = clauses_.TokenAt(static_cast<size_t>(call.location()));
    side->last = side->first == Clauses::npos ? Clauses::npos : clauses_.Partner(side->first + 1);
    if (side->last == Clauses::npos) return std::nullopt;
    seen_.insert(&call);
    return side;
  }
  const auto found = ColumnOf(node, scope);
  if (!found || (!found->column.sealed && found->column.tokens.empty())) return std::nullopt;
  const pgq::ColumnRef& ref = node.column_ref();
  SealedSide side;
  side.found = *found;
  side.first = clauses_.TokenAt(static_cast<size_t>(ref.location()));
  if (side.first == Clauses::npos) return std::nullopt;
  side.last = side.first + 2 * static_cast<size_t>(ref.fields_size() - 1);
  if (ref.fields_size() == 3) side.first += 2;  // Resolve() takes the schema out
  return side;
}

Status Analyzer::MaySearch(const SealedSide& side, int location) const {
  const Column& column = side.found.column;
  if (!column.origin || column.tokens.empty()) {
    return RefuseOpaque(column, location, "is compared where its table stands",
                        "Move the condition into the sub-select that reads the table.");
  }
  if (!column.readable || !ViewColumnOf(column).sealed->searched) {
    return Forbid(location, "plan.sealed-search",
                  "this role may not search by column \"" + column.name + "\": it does not read it clear",
                  "The policy's `search` for the role says by which columns it may.");
  }
  return {};
}

Status Analyzer::UseTokens(const SealedSide& column, const std::string& sql, Level& level) {
  ECLUSE_TRY(const Column used, UseColumn(column.found, -1));
  if (!column.found.outer && used.origin) level.bare.push_back({*used.origin, sql});
  return {};
}

void Analyzer::ReplaceTokens(size_t first, size_t last, std::string sql) {
  splices_.Replace(clauses_.tokens()[first].begin, clauses_.tokens()[last].end, std::move(sql));
}

int Analyzer::CellOf(int table_ref, const ViewColumn& column) {
  for (size_t i = 0; i < plan_->cells.size(); ++i) {
    if (plan_->cells[i].table_ref == table_ref && plan_->cells[i].column == column.name) return static_cast<int>(i);
  }
  plan_->cells.push_back({table_ref, column.name, column.sealed->type, column.sealed->search});
  return static_cast<int>(plan_->cells.size()) - 1;
}

std::string Analyzer::AddParameter(SealedParameter parameter) {
  plan_->sealed_parameters.push_back(std::move(parameter));
  return "$" + std::to_string(plan_->client_parameters + static_cast<int>(plan_->sealed_parameters.size()));
}

std::optional<ValueSource> Analyzer::SealedValue(const pgq::Node& node, const ValueType& type) {
  if (node.has_type_cast()) {
    const pgq::TypeName& name = node.type_cast().type_name();
    auto value = SealedValue(node.type_cast().arg(), type);
    if (!value || !Same(NamedType(name), type.oid)) return std::nullopt;
    value->array |= name.array_bounds_size() > 0;
    return value;
  }
  ValueSource value;
  value.type = type.oid;
  if (IsNull(node)) {
    value.null = true;
    return value;
  }
  if (node.has_a_const()) {
    if (!Reads(node.a_const(), type.oid)) return std::nullopt;
    value.constant = ConstantOf(node)->constant;
    return value;
  }
  if (!node.has_param_ref()) return std::nullopt;
  value.kind = ValueSource::Kind::parameter;
  value.parameter = node.param_ref().number();
  return value;
}

std::optional<std::pair<size_t, size_t>> Analyzer::Extent(const pgq::Node& node) const {
  if (node.has_param_ref() || node.has_a_const()) {
    const int location = node.has_param_ref() ? node.param_ref().location() : node.a_const().location();
    const size_t first = clauses_.TokenAt(static_cast<size_t>(location));
    if (first == Clauses::npos) return std::nullopt;
    size_t last = first;
    while (clauses_.Symbol(last, "-")) ++last;
    return std::pair{first, last};
  }
  if (!node.has_type_cast()) return std::nullopt;
  auto extent = Extent(node.type_cast().arg());
  if (!extent) return std::nullopt;
  auto& [first, last] = *extent;
  const pgq::TypeName& type = node.type_cast().type_name();
  const size_t named = type.location() < 0 ? Clauses::npos : clauses_.TokenAt(static_cast<size_t>(type.location()));
  if (named == Clauses::npos) return std::nullopt;
  if (named < first) {  // date '2000-01-01'
    first = named;
    return extent;
  }
  while (true) {
    if (clauses_.Symbol(last + 1, "::") && named == last + 2) break;
    if (first < 1 || !clauses_.Symbol(first - 1, "(")) return std::nullopt;
    const size_t close = clauses_.Partner(first - 1);
    if (close == Clauses::npos) return std::nullopt;
    if (first >= 2 && clauses_.Word(first - 2, "cast") && clauses_.Word(last + 1, "as") && named == last + 2) {
      first -= 2;
      last = close;
      return extent;
    }
    if (close != last + 1) return std::nullopt;
    --first;
    ++last;
  }
  // A type's name has several words at times.
  last = named + 2 * static_cast<size_t>(clauses_.Symbol(named + 1, ".") ? 1 : 0);
  static constexpr std::string_view kMore[] = {"varying", "with", "without", "time", "zone"};
  while (true) {
    if (clauses_.Symbol(last + 1, "[")) {
      last = clauses_.Partner(last + 1);
      if (last == Clauses::npos) return std::nullopt;
    } else if (std::ranges::any_of(kMore, [&](std::string_view word) { return clauses_.Word(last + 1, word); })) {
      ++last;
    } else {
      return extent;
    }
  }
}

void Analyzer::AskTokens(const SealedSide& column, const std::string& parameter, bool array, const pgq::A_Expr* expr) {
  const Origin& origin = *column.found.column.origin;
  const GuardedView& view = *views_[static_cast<size_t>(origin.table_ref)];
  const bool unique = std::ranges::any_of(
      view.unique, [&](const std::vector<int>& key) { return key.size() == 1 && key.front() == origin.column; });
  if (!unique) return;
  struct Resolve resolve;
  resolve.table_ref = origin.table_ref;
  resolve.parameters.push_back(std::atoi(parameter.c_str() + 1));
  resolve.sql = "SELECT \"__subject\" FROM " + QuoteIdentifier(schema_.login) + "." + QuoteIdentifier(view.view) +
                " WHERE " + QuoteIdentifier(EqualityColumn(ViewColumnOf(column.found.column).name)) + " = " +
                (array ? "ANY($1::pg_catalog.bytea[])" : "$1::pg_catalog.bytea");
  plan_->resolve.push_back(std::move(resolve));
  resolve_exprs_.push_back(expr);
}

Result<bool> Analyzer::SealedComparison(const pgq::A_Expr& expr, Level& level) {
  if (!expr.has_lexpr() || !expr.has_rexpr()) return false;
  const auto left = SealedOf(expr.lexpr(), *level.scope);
  const auto right = SealedOf(expr.rexpr(), *level.scope);
  if (!left && !right) return false;
  const SealedSide& side = left ? *left : *right;
  ECLUSE_OK(MaySearch(side, expr.location()));
  const std::string name = NameParts(expr.name()).back();
  const bool equality = name == "=" || name == "<>" || name == "!=";
  if (left && right) {
    if (expr.kind() != pgq::AEXPR_OP || name != "=")
      return RefuseOpaque(side.found.column, expr.location(), "is compared with other columns by = alone", {});
    ECLUSE_OK(SealedJoin(expr, *left, *right, level));
    return true;
  }
  switch (expr.kind()) {
    case pgq::AEXPR_OP:
    case pgq::AEXPR_DISTINCT:
    case pgq::AEXPR_NOT_DISTINCT:
    case pgq::AEXPR_IN:
      if (!equality) break;
      ECLUSE_OK(SealedEquals(expr, side, left ? expr.rexpr() : expr.lexpr(), level));
      return true;
    case pgq::AEXPR_OP_ANY:
      if (name != "=" || !left) break;
      ECLUSE_OK(SealedEquals(expr, side, expr.rexpr(), level));
      return true;
    case pgq::AEXPR_LIKE:
    case pgq::AEXPR_ILIKE:
      if (!left || !name.starts_with('~')) break;
      ECLUSE_OK(SealedLike(expr, side, level));
      return true;
    default:
      break;
  }
  return RefuseOpaque(side.found.column, expr.location(), "cannot be compared so",
                      "Its indexes allow =, <>, IN, = ANY, and where the policy says so LIKE 'abc%' and "
                      "ecluse_sounds_like(column, 'x').");
}

Status Analyzer::SealedEquals(const pgq::A_Expr& expr, const SealedSide& column, const pgq::Node& value, Level& level) {
  const ViewColumn& own = ViewColumnOf(column.found.column);
  if (!own.sealed->search.equality) {
    return RefuseOpaque(column.found.column, expr.location(), "has no equality index",
                        "The policy's `sealed: {search: [equality]}` and `ecluse seal` give it one.");
  }
  const int cell = CellOf(column.found.column.origin->table_ref, own);
  const std::string tokens = column.found.column.tokens + QuoteIdentifier(EqualityColumn(own.name));
  const bool asks = NameParts(expr.name()).back() == "=" || expr.kind() == pgq::AEXPR_NOT_DISTINCT;
  const auto refuse = [&] {
    return RefuseOpaque(column.found.column, expr.location(), "is compared with constants and parameters alone",
                        kValueHint);
  };
  // One of the values it is compared with.
  const auto replace = [&](const pgq::Node& node, bool array) -> Status {
    const pgq::Node* inner = &node;
    if (node.has_func_call()) {  // upper('x') beside upper(column)
      const pgq::FuncCall& call = node.func_call();
      const auto name = NameParts(call.funcname());
      if (name.size() != 1 || (name[0] != "upper" && name[0] != "lower") || call.args_size() != 1) return refuse();
      seen_.insert(&call);
      inner = &call.args(0);
    }
    auto source = SealedValue(*inner, own.sealed->type);
    auto extent = Extent(*inner);
    if (!source || !extent || (source->array && !array)) return refuse();
    if (inner != &node) {
      const size_t first = clauses_.TokenAt(static_cast<size_t>(node.func_call().location()));
      const size_t close = first == Clauses::npos ? Clauses::npos : clauses_.Partner(first + 1);
      if (close == Clauses::npos) return refuse();
      extent = std::pair{first, close};
    }
    if (source->null) {  // compared as it is: with a token it is unknown, too
      ReplaceTokens(extent->first, extent->second, "NULL");
      return {};
    }
    source->array = array;
    const std::string parameter = AddParameter({SealedParameter::Kind::equality, 0, cell, *source, {}, false});
    ReplaceTokens(extent->first, extent->second, parameter);
    if (asks) AskTokens(column, parameter, array, &expr);
    return {};
  };
  ECLUSE_OK(UseTokens(column, tokens, level));
  ReplaceTokens(column.first, column.last, tokens);
  if (expr.kind() == pgq::AEXPR_IN) {
    if (!level.nodes.empty()) plan_->lists.fixed += std::max(0, value.list().items_size() - 1);
    for (const pgq::Node& item : value.list().items()) ECLUSE_OK(replace(item, false));
    return {};
  }
  if (expr.kind() != pgq::AEXPR_OP_ANY) return replace(value, false);
  // ANY (ARRAY[…]), with or without a cast of the whole
  const pgq::Node& array = value.has_type_cast() ? value.type_cast().arg() : value;
  if (array.has_a_array_expr()) {
    const size_t first = clauses_.TokenAt(static_cast<size_t>(array.a_array_expr().location()));
    const size_t close = first == Clauses::npos ? Clauses::npos : clauses_.Partner(first + 1);
    if (close == Clauses::npos || array.a_array_expr().elements_size() == 0) return refuse();
    if (!level.nodes.empty()) plan_->lists.fixed += array.a_array_expr().elements_size() - 1;
    for (const pgq::Node& item : array.a_array_expr().elements()) ECLUSE_OK(replace(item, false));
    if (!value.has_type_cast()) return {};
    const size_t end = clauses_.Enclosing(first) == Clauses::npos ? Clauses::npos
                                                                  : clauses_.Partner(clauses_.Enclosing(first));
    if (!Same(NamedType(value.type_cast().type_name()), own.sealed->type.oid) || !clauses_.Symbol(close + 1, "::") ||
        end == Clauses::npos) {
      return refuse();
    }
    ReplaceTokens(close + 1, end - 1, "::pg_catalog.bytea[]");
    return {};
  }
  const auto source = SealedValue(value, own.sealed->type);
  if (!source) return refuse();
  if (!level.nodes.empty() && !source->null) {
    if (source->kind == ValueSource::Kind::parameter) {
      plan_->lists.array_parameters.push_back(source->parameter);
    } else {
      plan_->lists.fixed += std::ranges::count(source->constant, ',');
    }
  }
  return replace(value, true);
}

Status Analyzer::SealedJoin(const pgq::A_Expr& expr, const SealedSide& left, const SealedSide& right, Level& level) {
  ECLUSE_OK(MaySearch(right, expr.location()));
  const ViewColumn& a = ViewColumnOf(left.found.column);
  const ViewColumn& b = ViewColumnOf(right.found.column);
  if (a.name != b.name || !a.sealed->search.equality || !b.sealed->search.equality ||
      !Same(a.sealed->type.oid, b.sealed->type.oid)) {
    return RefuseOpaque(left.found.column, expr.location(),
                        "is joined with a sealed column of the same name and type alone, both with an equality index",
                        "Join on another column.");
  }
  for (const auto& [side, column] : {std::pair{&left, &a}, std::pair{&right, &b}}) {
    const std::string tokens = side->found.column.tokens + QuoteIdentifier(EqualityColumn(column->name));
    ECLUSE_OK(UseTokens(*side, tokens, level));
    ReplaceTokens(side->first, side->last, tokens);
  }
  return {};
}

Status Analyzer::SealedLike(const pgq::A_Expr& expr, const SealedSide& column, Level& level) {
  const ViewColumn& own = ViewColumnOf(column.found.column);
  const Sealing& search = own.sealed->search;
  const auto refuse = [&](std::string_view what) {
    return RefuseOpaque(column.found.column, expr.location(), what,
                        search.prefix == 0 ? "The policy's `sealed: {search: [prefix(n)]}` and `ecluse seal` give it "
                                             "an index of how its values begin."
                                           : "LIKE 'abc%' finds values by up to " + std::to_string(search.prefix) +
                                                 " first characters.");
  };
  if (search.prefix == 0) return refuse("has no prefix index");
  if (NameParts(expr.name()).back().starts_with('!')) return refuse("cannot be compared by NOT LIKE");
  const auto source = SealedValue(expr.rexpr(), own.sealed->type);
  const auto extent = Extent(expr.rexpr());
  if (!source || !extent || source->array || source->null) return refuse("is compared with constants and parameters alone");
  const int cell = CellOf(column.found.column.origin->table_ref, own);
  const std::string& at = column.found.column.tokens;
  ECLUSE_OK(UseTokens(column, at + QuoteIdentifier(PrefixColumn(own.name, 1)), level));
  std::string sql;
  const auto add = [&](const std::string& index, SealedParameter parameter) {
    sql += (sql.empty() ? "" : " OR ") + at + QuoteIdentifier(index) + " = " + AddParameter(std::move(parameter));
  };
  if (source->kind == ValueSource::Kind::constant) {
    bool open = false;
    const auto beginning = BeginningOf(source->constant, &open);
    if (!beginning) return refuse("is compared by how its values begin alone");
    ECLUSE_TRY(const std::string folded, Fold(*beginning));
    ECLUSE_TRY(const std::string longer, Fold(*beginning + "x"));
    const size_t count = Characters(folded);
    if (longer != folded + "x") return refuse("is compared by whole letters, and a space at the end is none");
    if (open && (count == 0 || count > search.prefix)) return refuse("has no prefix index of so many characters");
    if (!open && !search.equality) return refuse("has no equality index, which a LIKE without % needs");
    ValueSource value = *source;
    value.constant = *beginning;
    if (open) {
      add(PrefixColumn(own.name, static_cast<unsigned>(count)),
          {SealedParameter::Kind::prefix, static_cast<unsigned>(count), cell, std::move(value), {}, false});
    } else {
      add(EqualityColumn(own.name), {SealedParameter::Kind::equality, 0, cell, std::move(value), {}, false});
    }
  } else {
    if (search.equality)
      add(EqualityColumn(own.name), {SealedParameter::Kind::pattern, 0, cell, *source, {}, false});
    for (unsigned n = 1; n <= search.prefix; ++n)
      add(PrefixColumn(own.name, n), {SealedParameter::Kind::pattern, n, cell, *source, {}, false});
  }
  ReplaceTokens(column.first, extent->second, "(" + sql + ")");
  return {};
}

Result<bool> Analyzer::SoundsLike(const pgq::FuncCall& call, Level& level) {
  const auto name = NameParts(call.funcname());
  if (name.size() != 1 || name[0] != "ecluse_sounds_like") return false;
  const auto side = call.args_size() == 2 ? SealedOf(call.args(0), *level.scope) : std::nullopt;
  if (!side) {
    return Refuse(call.location(), "plan.sealed", "ecluse_sounds_like takes a sealed column and a value",
                  "Write ecluse_sounds_like(column, 'name').");
  }
  ECLUSE_OK(MaySearch(*side, call.location()));
  const ViewColumn& own = ViewColumnOf(side->found.column);
  if (!own.sealed->search.phonetic) {
    return RefuseOpaque(side->found.column, call.location(), "has no phonetic index",
                        "The policy's `sealed: {search: [phonetic]}` and `ecluse seal` give it one.");
  }
  const auto source = SealedValue(call.args(1), own.sealed->type);
  const size_t first = clauses_.TokenAt(static_cast<size_t>(call.location()));
  const size_t close = first == Clauses::npos ? Clauses::npos : clauses_.Partner(first + 1);
  if (!source || source->array || source->null || close == Clauses::npos) {
    return RefuseOpaque(side->found.column, call.location(), "is compared with constants and parameters alone",
                        kValueHint);
  }
  const std::string tokens = side->found.column.tokens + QuoteIdentifier(SoundColumn(own.name));
  ECLUSE_OK(UseTokens(*side, tokens, level));
  const int cell = CellOf(side->found.column.origin->table_ref, own);
  ReplaceTokens(first, close,
                "(" + tokens + " = " + AddParameter({SealedParameter::Kind::sound, 0, cell, *source, {}, false}) + ")");
  named_ = true;
  return true;
}

bool Analyzer::Seals(const GuardedView& view, const std::vector<int>& columns) const {
  return std::ranges::any_of(columns,
                             [&](int index) { return view.columns[static_cast<size_t>(index)].sealed.has_value(); });
}

std::string Analyzer::TokenNames(const GuardedView& view, const std::vector<int>& columns) const {
  std::string names;
  for (const int index : columns) {
    const ViewColumn& column = view.columns[static_cast<size_t>(index)];
    if (!column.sealed) continue;
    for (const TokenColumn& tokens : TokenColumns(column.name, column.sealed->search))
      names += ", " + QuoteIdentifier(tokens.name);
  }
  return names;
}

std::optional<Analyzer::ItemRanges> Analyzer::SplitItems(size_t begin, size_t end) const {
  ItemRanges items;
  if (begin >= end) return std::nullopt;
  const uint32_t depth = clauses_.tokens()[begin].depth;
  size_t first = begin;
  for (size_t i = begin; i <= end; ++i) {
    if (i < end && !(clauses_.Symbol(i, ",") && clauses_.tokens()[i].depth == depth)) continue;
    if (i == first) return std::nullopt;
    items.emplace_back(first, i - 1);
    first = i + 1;
  }
  return items;
}

Result<std::vector<Analyzer::ItemRanges>> Analyzer::RowsOfValues(const pgq::SelectStmt& values) const {
  const int inside = AnyLocation(values.values_lists(0));
  for (size_t word = 0; word < clauses_.tokens().size(); ++word) {
    if (clauses_.tokens()[word].depth != 0 || !clauses_.Word(word, "values")) continue;
    std::vector<ItemRanges> rows;
    size_t open = word + 1;
    while (clauses_.Symbol(open, "(")) {
      const size_t close = clauses_.Partner(open);
      const auto items = close == Clauses::npos ? std::nullopt : SplitItems(open + 1, close);
      if (!items) break;
      rows.push_back(*items);
      open = clauses_.Symbol(close + 1, ",") ? close + 2 : Clauses::npos;
    }
    const bool there = !rows.empty() && inside >= 0 &&
                       clauses_.tokens()[rows[0].front().first].begin <= static_cast<size_t>(inside) &&
                       static_cast<size_t>(inside) < clauses_.tokens()[rows[0].back().second].end;
    if (there && rows.size() == static_cast<size_t>(values.values_lists_size())) return rows;
  }
  return Refuse(-1, "plan.sealed", "these VALUES cannot be rewritten", "Send the rows one by one.");
}

Status Analyzer::SealRow(const google::protobuf::RepeatedPtrField<pgq::Node>& row, const ItemRanges& items,
                         const FromItem& target, const std::vector<int>& columns, std::vector<ValueSource> subject) {
  const Relation& relation = *target.relations.front();
  const GuardedView& view = *relation.view;
  if (items.size() != static_cast<size_t>(row.size())) {
    return Refuse(-1, "plan.sealed", "a row of this INSERT cannot be rewritten", "Send it alone.");
  }
  std::string more;
  for (size_t i = 0; i < columns.size() && i < items.size(); ++i) {
    const ViewColumn& column = view.columns[static_cast<size_t>(columns[i])];
    if (!column.sealed) continue;
    const pgq::Node& item = row.Get(static_cast<int>(i));
    const auto indexes = TokenColumns(column.name, column.sealed->search);
    const auto value = SealedValue(item, column.sealed->type);
    if (item.has_set_to_default() || (value && value->null)) {
      ReplaceTokens(items[i].first, items[i].second, "NULL");
      for (size_t k = 0; k < indexes.size(); ++k) more += ", NULL";
      continue;
    }
    if (!value || value->array) {
      return Refuse(AnyLocation(item), "plan.sealed",
                    "column \"" + column.name + "\" is sealed, and what is written into it cannot be sealed for certain",
                    kValueHint);
    }
    if (subject.empty()) {
      return Refuse(AnyLocation(item), "plan.sealed-subject",
                    "column \"" + column.name + "\" is sealed for a person, whom this row does not name",
                    "Write the subject column of " + view.table.Text() + " in the same row, as a constant or parameter.");
    }
    const int cell = CellOf(relation.table_ref, column);
    ReplaceTokens(items[i].first, items[i].second,
                  AddParameter({SealedParameter::Kind::envelope, 0, cell, *value, subject, false}));
    for (const TokenColumn& index : indexes) {
      const auto kind = index.kind == TokenColumn::Kind::equality ? SealedParameter::Kind::equality
                        : index.kind == TokenColumn::Kind::prefix ? SealedParameter::Kind::prefix
                                                                  : SealedParameter::Kind::sound;
      more += ", " + AddParameter({kind, index.level, cell, *value, {}, true});
    }
  }
  splices_.Insert(clauses_.tokens()[items.back().second].end, std::move(more));
  return {};
}

Status Analyzer::SealAssignment(const pgq::ResTarget& assignment, const FromItem& target, int index, bool conflict) {
  const Relation& relation = *target.relations.front();
  const GuardedView& view = *relation.view;
  const ViewColumn& column = view.columns[static_cast<size_t>(index)];
  const auto indexes = TokenColumns(column.name, column.sealed->search);
  const pgq::Node& node = assignment.val();
  if (conflict && node.has_column_ref()) {
    // excluded.column: what was to be inserted, for the same person.
    const pgq::ColumnRef& ref = node.column_ref();
    const auto parts = NameParts(ref.fields());
    const size_t first = clauses_.TokenAt(static_cast<size_t>(ref.location()));
    if (parts.size() == 2 && parts[0] == "excluded" && parts[1] == column.name && first != Clauses::npos &&
        !row_subject_.empty()) {
      std::string more;
      for (const TokenColumn& tokens : indexes) {
        more += ", " + QuoteIdentifier(tokens.name) + " = excluded." + QuoteIdentifier(tokens.name);
      }
      splices_.Insert(clauses_.tokens()[first + 2].end, std::move(more));
      return {};
    }
  }
  const auto value = SealedValue(node, column.sealed->type);
  const auto extent = Extent(node);
  if (!value || !extent || value->array) {
    return Refuse(assignment.location(), "plan.sealed",
                  "column \"" + column.name + "\" is sealed, and what is written into it cannot be sealed for certain",
                  kValueHint);
  }
  std::string more;
  if (value->null) {
    for (const TokenColumn& tokens : indexes) more += ", " + QuoteIdentifier(tokens.name) + " = NULL";
    splices_.Insert(clauses_.tokens()[extent->second].end, std::move(more));
    return {};
  }
  if (row_subject_.empty() || (conflict && row_subject_.front().null)) {
    return Refuse(assignment.location(), "plan.sealed-subject",
                  "column \"" + column.name + "\" is sealed for a person, whom this statement does not name",
                  conflict ? "ON CONFLICT on the subject's own column, of one row, or take the value from excluded."
                           : "Name the one person in WHERE, by the subject column of " + view.table.Text() +
                                 " = a constant or parameter.");
  }
  const int cell = CellOf(relation.table_ref, column);
  std::string sql = AddParameter({SealedParameter::Kind::envelope, 0, cell, *value, row_subject_, false});
  for (const TokenColumn& tokens : indexes) {
    const auto kind = tokens.kind == TokenColumn::Kind::equality ? SealedParameter::Kind::equality
                      : tokens.kind == TokenColumn::Kind::prefix ? SealedParameter::Kind::prefix
                                                                 : SealedParameter::Kind::sound;
    sql += ", " + QuoteIdentifier(tokens.name) + " = " + AddParameter({kind, tokens.level, cell, *value, {}, true});
  }
  ReplaceTokens(extent->first, extent->second, std::move(sql));
  return {};
}

// ON CONFLICT (column): of a sealed one by its tokens.
Status Analyzer::SealConflict(const pgq::OnConflictClause& conflict, const GuardedView& view) {
  size_t word = 0;
  while (word < clauses_.tokens().size() && !(clauses_.tokens()[word].depth == 0 && clauses_.Word(word, "conflict")))
    ++word;
  const auto& elements = conflict.infer().index_elems();
  for (int i = 0; i < elements.size(); ++i) {
    const ViewColumn& column =
        view.columns[static_cast<size_t>(view.Find(elements.Get(i).index_elem().name()))];
    if (!column.sealed) continue;
    const size_t close = clauses_.Symbol(word + 1, "(") ? clauses_.Partner(word + 1) : Clauses::npos;
    const auto items = close == Clauses::npos ? std::nullopt : SplitItems(word + 2, close);
    if (!items || items->size() != static_cast<size_t>(elements.size()) || !column.sealed->search.equality ||
        !column.sealed->searched) {
      return Refuse(conflict.location(), "plan.sealed",
                    "ON CONFLICT on the sealed column \"" + column.name + "\" needs its equality index", {});
    }
    const auto& [first, last] = (*items)[static_cast<size_t>(i)];
    ReplaceTokens(first, last, QuoteIdentifier(EqualityColumn(column.name)));
  }
  return {};
}

// Which of the visible columns are opened, and for whom their values were sealed.
Status Analyzer::FollowSealed(const Output& output) {
  for (size_t i = 0; i < output.columns.size(); ++i) {
    const Column& column = output.columns[i];
    if (!column.sealed) continue;
    int hidden = -1;
    for (size_t h = 0; column.origin && h < output.hidden.size(); ++h) {
      if (output.hidden[h].node == column.origin->node) hidden = static_cast<int>(h);
    }
    if (hidden < 0)
      return RefuseOpaque(column, -1, "cannot be followed to its table", "Select the column itself.");
    plan_->sealed.resize(output.columns.size());
    const ViewColumn& own = ViewColumnOf(column);
    plan_->sealed[i] = {CellOf(column.origin->table_ref, own), hidden, own.mask};
  }
  return {};
}

// The client's parameters that became the gate's are read by nobody else, and as one type.
Status Analyzer::FinishSealed() {
  if (plan_->sealed_parameters.empty()) return {};
  const auto withhold = [&](const ValueSource& value) -> Status {
    if (value.kind != ValueSource::Kind::parameter) return {};
    const Oid type = value.array ? ArrayOf(value.type) : value.type;
    const auto index = static_cast<size_t>(value.parameter - 1);
    const Oid declared = index < plan_->parameter_types.size() ? plan_->parameter_types[index] : 0;
    const auto [known, added] = plan_->withheld.emplace(value.parameter, type);
    const bool fits = declared == 0 || declared == kUnknown ||
                      (value.array ? Same(ElementOf(declared), value.type) : Same(declared, type));
    const bool plain = plain_parameters_.contains(value.parameter);
    if (!plain && known->second == type && fits) return {};
    return Refuse(-1, "plan.sealed-parameter",
                  "parameter $" + std::to_string(value.parameter) +
                      (plain                   ? " is used for a sealed column and for something else"
                       : known->second != type ? " is used for sealed columns of two types"
                                               : " has another type than the sealed column it is used for"),
                  "Give each use a parameter of its own, and leave its type to the column.");
  };
  for (SealedParameter& parameter : plan_->sealed_parameters) {
    ECLUSE_OK(withhold(parameter.value));
    // What the client declares is how it is read.
    const auto index = static_cast<size_t>(parameter.value.parameter - 1);
    if (parameter.value.kind == ValueSource::Kind::parameter && !parameter.value.array &&
        index < plan_->parameter_types.size()) {
      const Oid declared = plan_->parameter_types[index];
      if (declared != 0 && declared != kUnknown) parameter.value.type = declared;
    }
  }
  plan_->parameter_types.resize(static_cast<size_t>(plan_->client_parameters), 0);
  for (const auto& [number, type] : plan_->withheld) plan_->parameter_types[static_cast<size_t>(number - 1)] = oid::kText;
  for (const SealedParameter& parameter : plan_->sealed_parameters) {
    plan_->parameter_types.push_back(parameter.value.array ? ArrayOf(oid::kBytea) : oid::kBytea);
  }
  return {};
}

}  // namespace ecluse
