// Types and casts; casts to names of the catalog (regclass and its kind) are answered for the role's own names.
#include <algorithm>

#include "plan/allow.h"
#include "plan/analyzer.h"

namespace ecluse {

Status Analyzer::Type(const pgq::TypeName& type) {
  const auto parts = NameParts(type.names());
  const bool builtin = parts.size() == 1 || (parts.size() == 2 && parts.front() == "pg_catalog");
  const bool constants = std::ranges::all_of(type.typmods(), &pgq::Node::has_a_const);
  if (!type.setof() && !type.pct_type() && !parts.empty() && constants) {
    if (builtin && allow::Type(parts.back())) return {};
    if (parts.size() == 2 && schema_.types.contains(parts[0] + "." + parts[1])) return {};
  }
  return Forbid(type.location(), "plan.type", "type " + (parts.empty() ? "" : parts.back()) + " is not available here",
                "Use PostgreSQL's built-in scalar, array and range types.");
}

Status Analyzer::Cast(const pgq::TypeCast& cast, Level& level, Place place, bool in_aggregate) {
  const auto parts = NameParts(cast.type_name().names());
  if (!parts.empty() && allow::NameType(parts.back()) && (parts.size() == 1 || parts.front() == "pg_catalog")) {
    ECLUSE_OK(Expression(cast.arg(), level, place, in_aggregate));
    return NameCast(cast, parts.back());
  }
  ECLUSE_OK(Type(cast.type_name()));
  if (cast.arg().has_type_cast() && !parts.empty() && parts.back() == "text") shown_cast_ = &cast.arg().type_cast();
  return Expression(cast.arg(), level, place, in_aggregate);
}

// `argument::type` -> `stand_in(argument more)`.
Status Analyzer::NameOfColumn(const pgq::TypeCast& cast, const std::string& stand_in, const std::string& more) {
  const int location =
      cast.arg().has_param_ref() ? cast.arg().param_ref().location() : cast.arg().column_ref().location();
  const size_t argument = clauses_.TokenAt(static_cast<size_t>(location));
  const size_t type = clauses_.TokenAt(static_cast<size_t>(cast.type_name().location()));
  const size_t fields = cast.arg().has_param_ref() ? 1 : static_cast<size_t>(cast.arg().column_ref().fields_size());
  if (argument == Clauses::npos || type == Clauses::npos || type != argument + fields * 2 ||
      clauses_.TextOf(type - 1) != "::") {
    return Refuse(cast.location(), "plan.name-cast", "this cast cannot be rewritten", "Write it as name::type.");
  }
  const size_t last = type + (cast.type_name().names_size() - 1) * 2;
  splices_.Insert(clauses_.tokens()[argument].begin,
                  QuoteIdentifier(schema_.login) + "." + QuoteIdentifier(stand_in) + "(");
  splices_.Replace(clauses_.tokens()[type - 1].begin, clauses_.tokens()[last].end, more + ")");
  named_ = true;
  return {};
}

Status Analyzer::NameCast(const pgq::TypeCast& cast, const std::string& type) {
  catalog_only_ = CatalogOnly{"a cast to " + type, cast.location()};
  const auto tokens_of_type = [&](std::string sql) -> Status {
    const size_t first = clauses_.TokenAt(static_cast<size_t>(cast.type_name().location()));
    if (first == Clauses::npos) return Refuse(cast.location(), "plan.name", "this cast cannot be rewritten", {});
    const size_t last = first + (cast.type_name().names_size() - 1) * 2;
    splices_.Replace(clauses_.tokens()[first].begin, clauses_.tokens()[last].end, std::move(sql));
    return {};
  };
  if (!cast.arg().has_a_const() || !cast.arg().a_const().has_sval()) {
    const bool shown = &cast == shown_cast_ && cast.arg().has_column_ref();
    if (shown && type == "regclass" && schema_.shadow_functions.contains("relation_name")) {
      return NameOfColumn(cast, "relation_name", "");
    }
    if (shown && type == "regtype" && schema_.shadow_functions.contains("format_type")) {
      return NameOfColumn(cast, "format_type", ", NULL");
    }
    if (cast.arg().has_param_ref() && schema_.shadow_functions.contains("to_" + type)) {
      return NameOfColumn(cast, "to_" + type, "");
    }
    if (cast.arg().has_param_ref()) {
      return Refuse(cast.location(), "plan.name-cast", "a name cannot be looked up from a parameter",
                    "Write the name as a constant.");
    }
    return tokens_of_type("pg_catalog.oid");
  }
  const std::string& name = cast.arg().a_const().sval().sval();
  if (type == "regclass") {
    std::string plain = name;
    std::erase(plain, '"');
    std::optional<Oid> oid;
    if (const auto it = schema_.relation_oids.find(plain); it != schema_.relation_oids.end()) oid = it->second;
    for (size_t i = 0; !oid && plain.find('.') == std::string::npos && i <= context_.search_path.size(); ++i) {
      const std::string schema = i == 0 ? "pg_catalog" : context_.search_path[i - 1];
      if (const auto it = schema_.relation_oids.find(schema + "." + plain); it != schema_.relation_oids.end()) {
        oid = it->second;
      }
    }
    if (!oid && !plain.empty() && std::ranges::all_of(plain, [](char c) { return c >= '0' && c <= '9'; })) {
      return tokens_of_type("pg_catalog.oid");
    }
    if (!oid) return NameError(cast.location(), sqlstate::kUndefinedTable, "relation \"" + name + "\" does not exist");
    const size_t token = clauses_.TokenAt(static_cast<size_t>(cast.arg().a_const().location()));
    if (token == Clauses::npos) return Refuse(cast.location(), "plan.name", "this cast cannot be rewritten", {});
    splices_.Replace(clauses_.tokens()[token].begin, clauses_.tokens()[token].end, "'" + std::to_string(*oid) + "'");
    return tokens_of_type("pg_catalog.oid");
  }
  const std::string bare = name.starts_with("pg_catalog.") ? name.substr(11) : name;
  if (type == "regtype" && allow::Type(bare)) return {};
  if (type == "regproc" && (allow::Function(bare) || allow::CatalogFunction(bare))) return {};
  return Refuse(cast.location(), "plan.name-cast", "this name cannot be looked up by a cast to " + type,
                "Ask pg_class, pg_type or pg_namespace.");
}

}  // namespace ecluse
