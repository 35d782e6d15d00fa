// Searches by sealed columns: comparisons with constants and parameters become comparisons of tokens.
#include <algorithm>

#include "plan/sealed_parts.h"
#include "policy/masks.h"
#include "policy/sealed_columns.h"
#include "vault/folding.h"

namespace ecluse {
std::optional<Analyzer::SealedSide> Analyzer::SealedOf(const pgq::Node& node, const Scope& scope) {
  if (node.has_func_call()) {
    // A sealed text is compared without case.
    const pgq::FuncCall& call = node.func_call();
    const auto name = NameParts(call.funcname());
    if (name.size() != 1 || (name[0] != "upper" && name[0] != "lower") || call.args_size() != 1) return std::nullopt;
    const bool column = call.args(0).has_column_ref() && call.args(0).column_ref().fields_size() < 3;
    auto side = column ? SealedOf(call.args(0), scope) : std::nullopt;
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
  if (!found || !found->column.sealed) return std::nullopt;
  const pgq::ColumnRef& ref = node.column_ref();
  SealedSide side;
  side.found = *found;
  // Behind a nearer table of the same alias its tokens cannot be named.
  for (const Scope* level = &scope; found->outer && level != found->scope && level != nullptr; level = level->parent) {
    for (const FromItem* item : level->items) {
      for (const auto& relation : item->relations) {
        if (QuoteIdentifier(relation->alias) + "." == side.found.column.tokens) side.found.column.tokens.clear();
      }
    }
  }
  side.first = clauses_.TokenAt(static_cast<size_t>(ref.location()));
  if (side.first == Clauses::npos) return std::nullopt;
  side.last = side.first + 2 * static_cast<size_t>(ref.fields_size() - 1);
  if (ref.fields_size() == 3) side.first += 2;  // Resolve() takes the schema out
  return side;
}

Status Analyzer::MaySearch(const SealedSide& side, int location) {
  const Column& column = side.found.column;
  if (!column.origin || column.tokens.empty()) {
    return RefuseOpaque(column, location, "is compared where its table stands",
                        "Move the condition into the sub-select that reads the table.");
  }
  if (!ViewColumnOf(column).sealed->searched) {
    return Forbid(location, "plan.sealed-search",
                  "this role may not search by column \"" + column.name + "\": it does not read it clear",
                  "The policy's `search` for the role says by which columns it may.");
  }
  // A guess at what the role is not shown is a lookup of its own.
  if (ViewColumnOf(column).mask.kind != Mask::Kind::clear) ++plan_->lists.fixed;
  return {};
}

Status Analyzer::UseTokens(const SealedSide& column, const std::string& sql, Level& level) {
  // Searched, and not shown: also a column that the role writes and does not read.
  const Column& used = column.found.column;
  const ViewColumn& own = ViewColumnOf(used);
  plan_->tables[static_cast<size_t>(used.origin->table_ref)].fields[own.name] = own.mask;
  if (!column.found.outer) level.bare.push_back({*used.origin, sql});
  return {};
}

ValueSource Analyzer::TokenSource(const std::string& parameter) {
  ValueSource source;
  source.kind = ValueSource::Kind::parameter;
  source.parameter = std::atoi(parameter.c_str() + 1);
  source.type = oid::kBytea;
  return source;
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
                " WHERE " +
                QuoteIdentifier(EqualityColumn(ViewColumnOf(column.found.column).name,
                                               ViewColumnOf(column.found.column).sealed->search)) +
                " = " + (array ? "ANY($1::pg_catalog.bytea[])" : "$1::pg_catalog.bytea");
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
  const bool order = expr.kind() == pgq::AEXPR_OP && (name.starts_with('<') || name.starts_with('>')) && name != "<>";
  if (order || expr.kind() == pgq::AEXPR_BETWEEN || expr.kind() == pgq::AEXPR_NOT_BETWEEN) {
    ECLUSE_OK(SealedRange(expr, side, left.has_value(), level));
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
      if (!left) break;
      ECLUSE_OK(SealedLike(expr, side, level));
      return true;
    default:
      break;
  }
  if (Linked(side.found.column))
    return RefuseOpaque(side.found.column, expr.location(), "cannot be compared so",
                        "People's ids in a compartment are compared by =, <>, IN and = ANY.");
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
  const Sealing& search = own.sealed->search;
  const std::string tokens = column.found.column.tokens + QuoteIdentifier(EqualityColumn(own.name, search));
  const bool asks = NameParts(expr.name()).back() == "=" || expr.kind() == pgq::AEXPR_NOT_DISTINCT;
  const auto refuse = [&] {
    return RefuseOpaque(column.found.column, expr.location(), "is compared with constants and parameters alone",
                        kSealedValueHint);
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
    const std::string parameter = AddParameter({SealedParameter::Kind::equality, 0, cell, *source, {}});
    ReplaceTokens(extent->first, extent->second, parameter);
    if (asks && search.link) Ask(*column.found.column.origin, {*source});
    if (asks && !search.link) AskTokens(column, parameter, array, &expr);
    if (asks && expr.kind() == pgq::AEXPR_OP) tokens_of_[&expr] = TokenSource(parameter);
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
    const size_t end =
        clauses_.Enclosing(first) == Clauses::npos ? Clauses::npos : clauses_.Partner(clauses_.Enclosing(first));
    if (!SealedAlike(SealableType(value.type_cast().type_name()), own.sealed->type.oid) ||
        !clauses_.Symbol(close + 1, "::") || end == Clauses::npos) {
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
  if (a.mask.kind != Mask::Kind::clear || b.mask.kind != Mask::Kind::clear) {
    return Forbid(expr.location(), "plan.sealed-search",
                  "a join on the sealed column \"" + a.name + "\" would show who shares what this role is not shown",
                  "Roles that read it clear on both sides may join on it.");
  }
  if (a.name != b.name || !a.sealed->search.equality || !b.sealed->search.equality ||
      !SealedAlike(a.sealed->type.oid, b.sealed->type.oid) ||
      !SameCompartment(*left.found.column.origin, *right.found.column.origin)) {
    return RefuseOpaque(
        left.found.column, expr.location(),
        "is joined with a sealed column of the same name and type in its compartment alone, both with an "
        "equality index",
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
  const auto source = SealedValue(expr.rexpr(), own.sealed->type);
  const auto extent = Extent(expr.rexpr());
  if (!source || !extent || source->array || source->null)
    return refuse("is compared with constants and parameters alone");
  const int cell = CellOf(column.found.column.origin->table_ref, own);
  const std::string& at = column.found.column.tokens;
  ECLUSE_OK(UseTokens(column, at + QuoteIdentifier(PrefixColumn(own.name, 1)), level));
  std::string sql;
  const auto add = [&](const std::string& index, SealedParameter parameter) {
    sql += (sql.empty() ? "" : " OR ") + at + QuoteIdentifier(index) + " = " + AddParameter(std::move(parameter));
  };
  if (source->kind == ValueSource::Kind::constant) {
    ECLUSE_TRY(const auto beginning, BeginningOf(source->constant));
    if (!beginning)
      return refuse("is compared by how its values begin alone, in whole letters and no space at the end");
    const size_t count = beginning->characters;
    const bool open = beginning->open;
    if (open && (count == 0 || count > search.prefix)) return refuse("has no prefix index of so many characters");
    if (!open && !search.equality) return refuse("has no equality index, which a LIKE without % needs");
    ValueSource value = *source;
    value.constant = beginning->text;
    if (open) {
      add(PrefixColumn(own.name, static_cast<unsigned>(count)),
          {SealedParameter::Kind::prefix, static_cast<unsigned>(count), cell, std::move(value), {}});
    } else {
      add(EqualityColumn(own.name), {SealedParameter::Kind::equality, 0, cell, std::move(value), {}});
    }
  } else {
    if (search.equality) add(EqualityColumn(own.name), {SealedParameter::Kind::pattern, 0, cell, *source, {}});
    for (unsigned n = 1; n <= search.prefix; ++n)
      add(PrefixColumn(own.name, n), {SealedParameter::Kind::pattern, n, cell, *source, {}});
  }
  ReplaceTokens(Widened({column.first, column.last}).first, Widened(*extent).second,
                (NameParts(expr.name()).back().starts_with('!') ? "(NOT (" : "((") + sql + "))");
  return {};
}

// <, <=, >, >= and BETWEEN: the blocks between the bounds, level by level.
Status Analyzer::SealedRange(const pgq::A_Expr& expr, const SealedSide& column, bool column_left, Level& level) {
  using Bound = SealedParameter::Bound;
  const ViewColumn& own = ViewColumnOf(column.found.column);
  const auto steps = StepsOf(own.sealed->type, own.sealed->search);
  if (own.sealed->search.link)
    return RefuseOpaque(column.found.column, expr.location(), "has no order",
                        "People's ids in a compartment are compared by =, <>, IN and = ANY.");
  if (!steps) {
    return RefuseOpaque(column.found.column, expr.location(), "has no range index",
                        "The policy's `sealed: {search: [range(step)]}` and `ecluse seal` give it one.");
  }
  const bool between = expr.kind() != pgq::AEXPR_OP;
  const std::string name = NameParts(expr.name()).back();
  const auto& ends = expr.rexpr().list().items();
  const pgq::Node& first = between ? ends.Get(0) : column_left ? expr.rexpr() : expr.lexpr();
  const pgq::Node& second = between ? ends.Get(1) : first;
  const auto low = SealedValue(first, own.sealed->type);
  const auto high = SealedValue(second, own.sealed->type);
  const auto begin = Extent(first), end = Extent(second);
  const bool known =
      (between ? ends.size() == 2 && column_left : name == "<" || name == "<=" || name == ">" || name == ">=");
  if (!known || !low || !high || !begin || !end || low->array || high->array || low->null || high->null) {
    return RefuseOpaque(column.found.column, expr.location(), "is compared with constants and parameters alone",
                        std::string(kSealedValueHint));
  }
  SealedParameter parameter{
      SealedParameter::Kind::block, 0, CellOf(column.found.column.origin->table_ref, own), *low, {}};
  if (between) {
    parameter.low = parameter.high = Bound::closed;
    parameter.upper = *high;
  } else {
    const Bound bound = name.size() == 2 ? Bound::closed : Bound::open;
    const bool from = (name[0] == '>') == column_left;
    (from ? parameter.low : parameter.high) = bound;
    if (!from) std::swap(parameter.value, parameter.upper);
  }
  const std::string& at = column.found.column.tokens;
  ECLUSE_OK(UseTokens(column, at + QuoteIdentifier(BlockColumn(own.name, 0)), level));
  std::string sql;
  for (unsigned n = 0; n < steps->levels; ++n) {
    parameter.level = n;
    sql += (n > 0 ? " OR " : "") + at + QuoteIdentifier(BlockColumn(own.name, n)) + " = ANY (" +
           AddParameter(parameter) + ")";
  }
  sql = (expr.kind() == pgq::AEXPR_NOT_BETWEEN ? "(NOT (" : "((") + sql + "))";
  const auto named = Widened({column.first, column.last});
  ReplaceTokens(std::min(named.first, Widened(*begin).first), std::max(named.second, Widened(*end).second),
                std::move(sql));
  return {};
}

Result<bool> Analyzer::SoundsLike(const pgq::FuncCall& call, Level& level) {
  const auto name = NameParts(call.funcname());
  if (name.size() != 1 || name[0] != "ecluse_sounds_like") return false;
  const bool column =
      call.args_size() == 2 && call.args(0).has_column_ref() && call.args(0).column_ref().fields_size() < 3;
  const auto side = column ? SealedOf(call.args(0), *level.scope) : std::nullopt;
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
                        kSealedValueHint);
  }
  const std::string tokens = side->found.column.tokens + QuoteIdentifier(SoundColumn(own.name));
  ECLUSE_OK(UseTokens(*side, tokens, level));
  const int cell = CellOf(side->found.column.origin->table_ref, own);
  ReplaceTokens(first, close,
                "(" + tokens + " = " + AddParameter({SealedParameter::Kind::sound, 0, cell, *source, {}}) + ")");
  named_ = true;
  return true;
}

}  // namespace ecluse
