#include "plan/known_nodes.h"

#include <algorithm>
#include <array>
#include <string>
#include <utility>

namespace ecluse {
namespace {

// Fields of each kind, one after the other, between blanks.
constexpr auto kKnown = std::to_array<std::pair<std::string_view, std::string_view>>({
    {"ParseResult", " version stmts "},
    {"RawStmt", " stmt stmt_location stmt_len "},
    {"List", " items "},
    {"String", " sval "},
    {"Integer", " ival "},
    {"Float", " fval "},
    {"Boolean", " boolval "},
    {"BitString", " bsval "},
    {"SelectStmt",
     " distinct_clause target_list from_clause where_clause group_clause group_distinct having_clause window_clause "
     "values_lists sort_clause limit_offset limit_count limit_option locking_clause with_clause op all larg rarg "},
    {"InsertStmt", " relation cols select_stmt on_conflict_clause returning_list override "},
    {"UpdateStmt", " relation target_list where_clause returning_list "},
    {"DeleteStmt", " relation where_clause returning_list "},
    {"ResTarget", " name val location "},
    {"ColumnRef", " fields location "},
    {"ParamRef", " number location "},
    {"A_Const", " ival fval boolval sval bsval isnull location "},
    {"A_Expr", " kind name lexpr rexpr location "},
    {"BoolExpr", " boolop args location "},
    {"NullTest", " arg nulltesttype location "},
    {"BooleanTest", " arg booltesttype location "},
    {"TypeCast", " arg type_name location "},
    {"TypeName", " names typmods typemod array_bounds location "},
    {"FuncCall",
     " funcname args agg_order agg_filter over agg_within_group agg_star agg_distinct func_variadic funcformat "
     "location "},
    {"WindowDef", " name refname partition_clause order_clause frame_options start_offset end_offset location "},
    {"SubLink", " sub_link_type testexpr oper_name subselect location "},
    {"CaseExpr", " arg args defresult location "},
    {"CaseWhen", " expr result location "},
    {"CoalesceExpr", " args location "},
    {"MinMaxExpr", " op args location "},
    {"A_ArrayExpr", " elements location "},
    {"RowExpr", " args row_format location "},
    {"NamedArgExpr", " arg name argnumber location "},
    {"GroupingFunc", " args location "},
    {"GroupingSet", " kind content location "},
    {"CollateClause", " arg collname location "},
    {"SQLValueFunction", " op typmod location "},
    {"A_Indirection", " arg indirection "},
    {"A_Indices", " is_slice lidx uidx "},
    {"A_Star", "  "},
    {"RangeVar", " schemaname relname inh relpersistence alias location "},
    {"Alias", " aliasname colnames "},
    {"JoinExpr", " jointype is_natural larg rarg using_clause quals "},
    {"RangeSubselect", " lateral subquery alias "},
    {"RangeFunction", " lateral ordinality functions alias "},
    {"WithClause", " ctes recursive location "},
    {"CommonTableExpr", " ctename aliascolnames ctematerialized ctequery location "},
    {"SortBy", " node sortby_dir sortby_nulls use_op location "},
    {"LockingClause", " locked_rels strength wait_policy "},
    {"OnConflictClause", " action infer target_list where_clause location "},
    {"InferClause", " index_elems location "},
    {"IndexElem", " name ordering nulls_ordering "},
    {"MultiAssignRef", " source colno ncolumns "},
    {"SetToDefault", " location "},
    {"TransactionStmt", " kind options savepoint_name chain "},
    {"VariableSetStmt", " kind name args is_local "},
    {"VariableShowStmt", " name "},
    {"DefElem", " defname arg defaction location "},
    {"ExplainStmt", " query options "},
    {"ClosePortalStmt", " portalname "},
    {"DiscardStmt", " target "},
});

std::string_view FieldsOf(std::string_view kind) {
  const auto it = std::ranges::find(kKnown, kind, &std::pair<std::string_view, std::string_view>::first);
  return it == kKnown.end() ? std::string_view() : it->second;
}

}  // namespace

bool KnownKind(std::string_view kind) { return kind == "Node" || !FieldsOf(kind).empty(); }

bool KnownField(std::string_view kind, std::string_view field) {
  if (kind == "Node") return true;
  return FieldsOf(kind).contains(" " + std::string(field) + " ");
}

}  // namespace ecluse
