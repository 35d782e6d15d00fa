// What names mean while a statement is analyzed: columns, tables and sub-selects of FROM, query levels and what they
// yield. Internal to plan/; see docs/decisions/planning.md.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "pg_query.pb.h"
#include "plan/plan.h"
#include "policy/role_schema.h"

namespace ecluse {

namespace pgq = pg_query;

// A column that is, as it is, a column of a guarded table.
struct Origin {
  int node = -1;       // the reference it came through, at the level that sees it
  int table_ref = -1;  // index into Plan::tables
  int column = -1;     // index into GuardedView::columns
};

// A column as a query level sees it.
struct Column {
  std::string name;
  std::optional<Origin> origin;
  bool on_aggregate = false;     // tells of an aggregate over people who are not one group's key
  bool own_aggregate = false;    // … and only of the level's own, while that level is planned
  bool outer_aggregate = false;  // … of one in a row of an enclosing level
  bool pseudonym = false;
  bool sealed = false;   // holds envelopes, or pseudonyms of a compartment
  std::string tokens{};  // of a sealed column of a table reference itself: what stands before its token columns, `"p".`
  bool readable = true;
  bool nullable = false;               // on the missing side of an outer join: NULL where the row is not there
  Oid type = 0;                        // 0 where it is not known
  std::vector<ValueSource> constants;  // of a VALUES list

  bool opaque() const { return pseudonym || sealed; }  // to be handed on as it is, and nothing else
};

struct StarColumn {
  std::string sql;
  Column column;
};

enum class RelationKind { guarded, open, shadow, subquery, function, values };

// One entry of a FROM clause.
struct Relation {
  RelationKind kind = RelationKind::open;
  std::string alias;
  std::string schema;  // for references written schema.table.column; empty where there is an alias
  std::vector<Column> columns;
  std::vector<int> nodes;
  const GuardedView* view = nullptr;  // of guarded
  int table_ref = -1;                 // of guarded
};

// What a FROM item contributes.
struct FromItem {
  std::vector<std::shared_ptr<Relation>> relations;
  std::vector<StarColumn> star;            // what * stands for, and what unqualified names find
  std::vector<int> nodes;                  // hidden sources its rows carry
  std::set<int> limited;                   // of these, the ones whose rows were picked among others'
  bool cut = false;                        // by LIMIT or DISTINCT ON, which left people out who are not counted
  bool ordered = false;                    // its rows stand in the order of an aggregate over other people
  std::set<int> tied;                      // of these, the ones already tied to a counted row
  std::map<int, int> anchors;              // nodes on the missing side of an outer join -> the node they hang on
  std::vector<std::pair<int, int>> equal;  // nodes that its inner conditions equate
};

// DISTINCT ON (…); plain DISTINCT has one empty element.
inline bool IsDistinctOn(const pgq::SelectStmt& select) {
  return select.distinct_clause_size() > 0 && select.distinct_clause(0).node_case() != pgq::Node::NODE_NOT_SET;
}

// A query level: what names mean inside it.
struct Scope {
  const Scope* parent = nullptr;
  std::vector<const FromItem*> items;
  bool nulled = false;  // grouped by GROUPING SETS: behind the grouping, its columns may be NULL
  // Names of WITH that this level sees.
  struct Cte {
    std::string name;
    int output = -1;  // index into Analyzer::outputs_
  };
  std::vector<Cte> ctes;
};

// A select list that hidden columns are appended to.
struct Leaf {
  size_t insert_at = 0;            // byte offset
  std::vector<std::string> items;  // SQL, without alias
  size_t visible = 0;              // columns before them
};

// What a query yields to the level around it.
struct Output {
  std::vector<Column> columns;
  struct Hidden {
    int table_ref = -1;
    int node = -1;
    int arm = 0;
    bool tied = false;      // to a person of an enclosing level
    bool limited = false;   // picked or ranked among other people's rows: a later tie does not cover it
    bool anchored = false;  // on the missing side of an outer join, tied to one of the others
  };
  std::vector<Hidden> hidden;  // in the order of the appended columns
  std::vector<Leaf*> leaves;
  bool guarded() const { return !hidden.empty() || touches; }
  bool cut = false;       // LIMIT or DISTINCT ON left people out who are not counted
  bool over_cut = false;  // reads rows of which that is so: what it shows of them has to be all of them
  bool ordered = false;   // its rows stand in the order of an aggregate: leaving out some would be a condition on it
  bool touches = false;   // reads guarded rows at all, tied sub-selects included
  bool single = false;    // ungrouped aggregates: a row even where nothing matches
};

// Where an expression stands.
enum class Place { select_list, where, on, group, having, order, limit, values, returning, assignment };

// State of one query level while its expressions are walked.
struct Level {
  Scope* scope = nullptr;
  std::vector<int> nodes;
  bool aggregates = false, windows = false, rankings = false;
  bool sorts_own = false, sorts_on_aggregate = false;  // by an aggregate of its own, or of one further in
  bool set_returning = false;                          // a function of its list or order may leave rows out
  bool saw_on_aggregate = false;                       // some column told of an aggregate further in
  bool saw_outer_aggregate = false;                    // … that is in a row of an enclosing level
  bool named = false;                                  // every output gets its name in the text
  // Bare columns used outside aggregates, for GROUP BY completion.
  struct Bare {
    Origin origin;
    std::string sql;
  };
  std::vector<Bare> bare;
  struct Window {
    const pgq::WindowDef* over;
    std::vector<const pgq::Node*> partition;
  };
  std::vector<Window> ranking_windows;
};

}  // namespace ecluse
