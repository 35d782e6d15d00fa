// Function calls: aggregates, window functions, the session's own, stand-ins of catalog functions, sequences.
#include <algorithm>

#include "base/bytes.h"
#include "plan/allow.h"
#include "plan/analyzer.h"
#include "policy/database.h"

namespace ecluse {
namespace {

// Settings whose value says nothing of data or of the host.
bool ReadableSetting(std::string_view name) {
  static constexpr std::string_view kNames[] = {"server_version",
                                                "server_version_num",
                                                "server_encoding",
                                                "client_encoding",
                                                "timezone",
                                                "datestyle",
                                                "intervalstyle",
                                                "standard_conforming_strings",
                                                "integer_datetimes",
                                                "max_index_keys",
                                                "bytea_output",
                                                "extra_float_digits",
                                                "application_name",
                                                "transaction_isolation",
                                                "default_transaction_isolation",
                                                "transaction_read_only",
                                                "default_transaction_read_only",
                                                "lc_collate",
                                                "lc_ctype",
                                                "max_identifier_length",
                                                "block_size"};
  return std::ranges::find(kNames, AsciiLower(name)) != std::end(kNames);
}

}  // namespace

Status Analyzer::Call(const pgq::FuncCall& call, Level& level, Place place, bool in_aggregate) {
  const auto parts = NameParts(call.funcname());
  const std::string& name = parts.back();
  const bool builtin = parts.size() == 1 || (parts.size() == 2 && parts.front() == "pg_catalog");
  bool done = false;
  seen_.insert(&call);
  ECLUSE_TRY(const bool sounds, SoundsLike(call, level));
  if (sounds) return {};
  if (builtin) ECLUSE_OK(SessionFunction(call, name, &done));
  if (done) return {};
  const bool listed = parts.size() == 2 && schema_.policy->functions.contains(parts[0] + "." + parts[1]);
  const bool expand = parts.size() == 2 && parts[0] == "information_schema" && allow::CatalogFunction(name);
  if (!listed && !(builtin && allow::Function(name))) {
    const auto stand_in = schema_.shadow_functions.find(name);
    if (builtin && stand_in != schema_.shadow_functions.end()) {
      const size_t first = clauses_.TokenAt(static_cast<size_t>(call.location()));
      if (first == Clauses::npos) return Refuse(call.location(), "plan.name", "this call cannot be rewritten", {});
      const size_t last = first + (parts.size() - 1) * 2;
      std::string sql = QuoteIdentifier(schema_.login) + "." + QuoteIdentifier(stand_in->second);
      size_t end = clauses_.tokens()[last].end;
      // What a bare name finds depends on the session's own path, which PostgreSQL does not have.
      if (name == "pg_table_is_visible" && schema_.shadow_functions.contains("table_is_visible_in") &&
          clauses_.Symbol(last + 1, "(")) {
        sql = QuoteIdentifier(schema_.login) + ".\"table_is_visible_in\"(" +
              QuoteLiteral(TextArray(context_.search_path)) + ", ";
        end = clauses_.tokens()[last + 1].end;
        named_ = true;
      }
      splices_.Replace(clauses_.tokens()[first].begin, end, std::move(sql));
      catalog_only_ = CatalogOnly{"function " + name, call.location()};
    } else if (expand || (builtin && allow::CatalogFunction(name))) {
      catalog_only_ = CatalogOnly{"function " + name, call.location()};
    } else {
      return Forbid(call.location(), "plan.function", "function " + name + " is not available here",
                    "Functions must compute from their arguments alone; the policy's `functions` can list more.");
    }
  }
  if (call.has_over()) return WindowCall(call, level, place, name);
  if ((builtin && allow::Aggregate(name)) || call.agg_star() || call.has_agg_filter() || call.agg_within_group() ||
      call.agg_distinct() || call.agg_order_size() > 0) {
    if (!builtin || !allow::Aggregate(name)) {
      return Forbid(call.location(), "plan.function", "function " + name + " is not an aggregate", {});
    }
    return AggregateCall(call, level, place, name);
  }
  if (allow::WindowFunction(name)) return Refuse(call.location(), "plan.window", name + " needs OVER", {});
  // A function that may return no row decides whether there is one, as a condition does.
  const bool set_returning = builtin && allow::SetReturning(name);
  level.set_returning |= set_returning || !builtin;
  return Each(call.args(), level, set_returning ? Place::on : place, in_aggregate);
}

Status Analyzer::AggregateCall(const pgq::FuncCall& call, Level& level, Place place, const std::string& name) {
  if (place == Place::where || place == Place::on) {
    return Refuse(call.location(), "plan.aggregate", "aggregate " + name + " cannot stand in WHERE or ON",
                  "Use HAVING.");
  }
  level.aggregates = true;
  // PostgreSQL computes an aggregate at the innermost level that its columns belong to (manual 4.2.7).
  std::vector<const Scope*> seen;
  std::vector<const Scope*>* const around = std::exchange(levels_seen_, &seen);
  const Status walked = AggregateArguments(call, level);
  levels_seen_ = around;
  ECLUSE_OK(walked);
  if (around != nullptr) around->insert(around->end(), seen.begin(), seen.end());
  const auto belongs = [&](const Scope* scope) { return std::ranges::find(seen, scope) != seen.end(); };
  bool outer = false;
  for (const Scope* scope = level.scope->parent; scope != nullptr; scope = scope->parent) outer |= belongs(scope);
  if (outer && !belongs(level.scope) && !views_.empty()) {
    return Refuse(call.location(), "plan.aggregate",
                  "aggregate " + name + " over columns of an enclosing query alone is computed there",
                  "Write it in the query whose FROM has these columns.");
  }
  return {};
}

Status Analyzer::AggregateArguments(const pgq::FuncCall& call, Level& level) {
  if (NameParts(call.funcname()).back() == "count" && call.args_size() == 1 && !call.agg_distinct() &&
      call.agg_order_size() == 0) {
    if (const auto side = SealedOf(call.args(0), *level.scope); side && call.args(0).has_column_ref()) {
      ECLUSE_TRY(const Column used, UseColumn(side->found, call.location()));
      return call.has_agg_filter() ? Expression(call.agg_filter(), level, Place::select_list, true) : Status{};
    }
  }
  ECLUSE_OK(Each(call.args(), level, Place::select_list, true));
  for (const pgq::Node& sort : call.agg_order()) {
    ECLUSE_OK(Expression(sort.has_sort_by() ? sort.sort_by().node() : sort, level, Place::select_list, true));
  }
  return call.has_agg_filter() ? Expression(call.agg_filter(), level, Place::select_list, true) : Status{};
}

Status Analyzer::WindowCall(const pgq::FuncCall& call, Level& level, Place place, const std::string& name) {
  if (!allow::WindowFunction(name) && !allow::Aggregate(name)) {
    return Refuse(call.location(), "plan.window", "function " + name + " cannot be used with OVER", {});
  }
  if (call.agg_order_size() > 0 || call.agg_within_group()) {
    return Refuse(call.location(), "plan.window", "a window function takes no ORDER BY of its own", "Leave it out.");
  }
  level.windows = true;
  if (!level.nodes.empty()) {
    if (!allow::Ranking(name) || call.has_agg_filter()) {
      return Refuse(call.location(), "plan.window",
                    "window function " + name + " over guarded rows tells of people in other rows",
                    "row_number, rank, dense_rank and ntile are available; others can be computed by the application.");
    }
    if (!call.over().name().empty() || !call.over().refname().empty()) {
      return Refuse(call.location(), "plan.window", "named windows are not available over guarded rows",
                    "Write the window out: OVER (PARTITION BY … ORDER BY …).");
    }
    level.rankings = true;
    Level::Window window{&call.over(), {}};
    for (const pgq::Node& part : call.over().partition_clause()) window.partition.push_back(&part);
    level.ranking_windows.push_back(std::move(window));
  }
  ECLUSE_OK(Each(call.args(), level, place, false));
  if (call.has_agg_filter()) ECLUSE_OK(Expression(call.agg_filter(), level, place, false));
  ECLUSE_OK(Each(call.over().partition_clause(), level, place, false));
  for (const pgq::Node& sort : call.over().order_clause()) {
    ECLUSE_OK(Expression(sort.sort_by().node(), level, place, false));
  }
  if (call.over().has_start_offset()) ECLUSE_OK(Expression(call.over().start_offset(), level, place, false));
  return call.over().has_end_offset() ? Expression(call.over().end_offset(), level, place, false) : Status{};
}

Status Analyzer::SessionFunction(const pgq::FuncCall& call, const std::string& name, bool* done) {
  const size_t first = clauses_.TokenAt(static_cast<size_t>(call.location()));
  const auto replace = [&](std::string sql) -> Status {
    size_t open = first;
    while (open != Clauses::npos && open < first + 4 && !clauses_.Symbol(open, "(")) ++open;
    const size_t close = clauses_.Partner(open);
    if (first == Clauses::npos || close == Clauses::npos) {
      return Refuse(call.location(), "plan.name", "this call cannot be rewritten", {});
    }
    splices_.Replace(clauses_.tokens()[first].begin, clauses_.tokens()[close].end, std::move(sql));
    named_ = true;
    *done = true;
    return {};
  };
  if (name == "current_schema" && call.args_size() == 0) {
    return replace(context_.search_path.empty() ? "NULL::pg_catalog.name"
                                                : QuoteLiteral(context_.search_path.front()) + "::pg_catalog.name");
  }
  if (name == "current_schemas") {
    std::string list = "ARRAY['pg_catalog'";
    for (const std::string& schema : context_.search_path) list += ", " + QuoteLiteral(schema);
    return replace(list + "]::pg_catalog.name[]");
  }
  if (name == "current_setting") {
    const auto setting = call.args_size() > 0 ? ConstantOf(call.args(0)) : std::nullopt;
    const bool plain = call.args_size() == 1 || (call.args_size() == 2 && ConstantOf(call.args(1)));
    if (!setting || !plain || setting->kind != ValueSource::Kind::constant || !ReadableSetting(setting->constant)) {
      return Forbid(call.location(), "plan.setting", "this setting cannot be read here", "Use SHOW.");
    }
    *done = true;
    return {};
  }
  if (name == "nextval" || name == "currval") {
    *done = true;
    return Sequence(call, name);
  }
  return {};
}

Status Analyzer::Sequence(const pgq::FuncCall& call, const std::string& name) {
  const pgq::Node* argument = call.args_size() == 1 ? &call.args(0) : nullptr;
  if (argument != nullptr && argument->has_type_cast()) argument = &argument->type_cast().arg();
  if (argument == nullptr || !argument->has_a_const() || !argument->a_const().has_sval()) {
    return Refuse(call.location(), "plan.sequence", name + " needs the sequence's name as a constant", {});
  }
  std::string text = argument->a_const().sval().sval();
  std::erase(text, '"');
  const size_t dot = text.find('.');
  for (const TableName& sequence : schema_.sequences) {
    const bool same = dot == std::string::npos
                          ? sequence.name == text &&
                                std::ranges::find(context_.search_path, sequence.schema) != context_.search_path.end()
                          : sequence.schema == text.substr(0, dot) && sequence.name == text.substr(dot + 1);
    if (!same) continue;
    const size_t token = clauses_.TokenAt(static_cast<size_t>(argument->a_const().location()));
    if (token == Clauses::npos) break;
    splices_.Replace(clauses_.tokens()[token].begin, clauses_.tokens()[token].end,
                     QuoteLiteral(QuoteIdentifier(sequence.schema) + "." + QuoteIdentifier(sequence.name)));
    plan_->draws_sequence = true;
    if (!inserting_) sequence_ = call.location();
    return {};
  }
  return Forbid(call.location(), "plan.sequence", "this sequence is not available to the role",
                "Roles may use the sequences of tables they insert into.");
}

}  // namespace ecluse
