// The analyzer: resolves one statement against a role's schema, decides for every result row whom it is about, and
// notes the splices that turn the client's text into what PostgreSQL may run. Internal to plan/; see
// docs/decisions/planning.md.
//
// The rules are sql-door's: a row's people are carried upwards as hidden columns, one for each reference to a guarded
// table
// ("node"). Nodes that equalities tie to each other are the same person; what is tied to a counted person needs no
// column of its own. Everything not understood is refused.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "pg_query.pb.h"
#include "plan/clauses.h"
#include "plan/conjuncts.h"
#include "plan/plan.h"
#include "plan/planner.h"
#include "plan/scope.h"
#include "plan/splice.h"

namespace ecluse {

namespace pgq = pg_query;

// Plans a statement found inside another one (PREPARE, DECLARE, COPY, EXPLAIN), verified like any.
using PlanInner =
    std::function<Result<std::shared_ptr<const Plan>>(std::string_view text, std::span<const Oid> declared)>;

class Analyzer {
 public:
  // With `statistic`, rows are counted by spreads instead of by person; only for what has the form of a statistic.
  Analyzer(const PlanContext& context, std::string_view text, const std::vector<Token>& tokens,
           std::span<const Oid> declared, bool statistic, PlanInner inner);

  // The plan of one parsed statement, its sql spliced but not yet verified.
  Result<std::shared_ptr<Plan>> Statement(const pgq::Node& node);
  const Splices& splices() const { return splices_; }
  // After Statement(): it had the form of a statistic.
  bool statistic_form() const { return statistic_form_; }

 private:
  enum class Carry { hidden, tied };  // must the query append its people, or must they be tied to a counted row

  // statement.cc
  Result<std::shared_ptr<Plan>> Rows(const pgq::SelectStmt& select);
  Status AllSeen(const google::protobuf::Message& message) const;
  Status TopLevelOffset(const pgq::SelectStmt& select);
  Status FinishRows(const Output& output);
  Status ApplyLeaves(const std::vector<Leaf*>& leaves);
  // Refuses a level of too many columns, its own or those that carry people: WITH queries that use each other double.
  Status CheckWidth(size_t columns, size_t hidden) const;
  Result<bool> TopLevelExists(const pgq::SelectStmt& select, Output* output);
  struct Known;

  // select.cc
  Result<Output> Query(const pgq::SelectStmt& select, const Scope* parent, Carry carry, bool top);
  Result<Output> SelectLeaf(const pgq::SelectStmt& select, Scope& scope, Carry carry, bool top);
  Result<Output> Values(const pgq::SelectStmt& select, Scope& scope);
  Status With(const pgq::WithClause& with, Scope& scope);
  Result<Output> RecursiveCte(const pgq::SelectStmt& select, const pgq::CommonTableExpr& cte, Scope& scope);
  Status Locking(const pgq::SelectStmt& select, const Scope& scope);
  Status Items(const Level& level, const Known& known, bool grouped, Leaf& leaf, Output& output);
  Result<std::string> Ranking(const Level& level, const Known& known, const std::string& item);

  // picking.cc
  // The ties of a level as a whole, with what the levels around it have counted.
  struct Known {
    FromItem all;         // everything in FROM together
    std::set<int> outer;  // counted nodes of enclosing levels
    // Every node that hangs on no other is tied to an outer one, or to one of `keys`.
    bool Covered(const std::set<int>& keys) const;
  };
  Known KnownOf(const Scope& scope) const;
  std::unexpected<Error> CutAgain(std::string_view what) const;
  Status KeepsOrdered(const pgq::SelectStmt& select, bool ordered) const;
  Status KeepsAll(const pgq::SelectStmt& select, const Level& level) const;
  Status MustBeTied(const Known& known, std::string_view what) const;
  std::set<int> PickedBy(const pgq::SelectStmt& select, const Scope& scope, const Output& output);
  Status Limits(const pgq::SelectStmt& select, Level& level, bool top, bool guarded);
  Status OuterAggregates(const pgq::SelectStmt& select, bool seen, Output& output) const;

  // targets.cc
  // `end` is one past the last token of `list`, or npos where it is not known.
  Status Targets(const google::protobuf::RepeatedPtrField<pgq::Node>& list, size_t end, Level& level, bool pseudonyms,
                 Output& output);
  size_t TargetEnd(const google::protobuf::RepeatedPtrField<pgq::Node>& list, int number, size_t end) const;
  Status Star(const pgq::ColumnRef& ref, Level& level, Output& output);
  Status Target(const pgq::ResTarget& target, size_t last, Level& level, bool pseudonyms, Output& output);
  // PostgreSQL's FigureColname: a column's or function's own name, else what the expression is called.
  static std::string OutputName(const pgq::Node& value);

  // group.cc
  struct Grouping {
    std::set<std::pair<int, int>> keys;  // node, column
    bool sets = false;                   // GROUPING SETS, ROLLUP, CUBE
    bool empty_set = false;              // a group even where nothing matches
  };
  Status GroupItem(const pgq::Node& node, const pgq::SelectStmt& select, const Output& output, Level& level,
                   Grouping& grouping);
  Status CompleteGroup(const Level& level, const SelectClauses* clauses, const Grouping& grouping);
  std::set<int> KeyNodes(const Grouping& grouping) const;
  Status Sort(const pgq::SelectStmt& select, Level& level, const Output& output);
  // A key of ORDER BY or DISTINCT ON: an output's position or name, else an expression.
  Status SortKey(const pgq::Node& key, Level& level, const Output& output, Place place);

  // setops.cc
  Result<Output> SetOperation(const pgq::SelectStmt& select, Scope& scope, Carry carry, bool top);
  Status WrapUnion(const pgq::SelectStmt& select, Output& output);

  // statistic.cc
  bool StatisticForm(const pgq::SelectStmt& select, const Scope& scope);
  bool StatisticColumn(const pgq::Node& node, const Scope& scope, bool of);
  bool StatisticCondition(const pgq::Node& node, const Scope& scope, bool join);
  bool StatisticUsing(const std::string& name, const Scope& scope) const;
  bool StatisticFrom(const pgq::Node& node, const Scope& scope);
  Status StatisticItems(const Level& level, Leaf& leaf, Output& output);

  // from.cc
  Result<FromItem*> From(const pgq::Node& node, Scope& scope, std::vector<const FromItem*>& before);
  Result<FromItem*> Table(const pgq::RangeVar& range, const Scope& scope);
  Result<FromItem*> Join(const pgq::JoinExpr& join, Scope& scope, std::vector<const FromItem*>& before);
  Result<FromItem*> SubSelect(const pgq::RangeSubselect& sub, const Scope& scope, std::vector<const FromItem*>& before);
  Result<FromItem*> Function(const pgq::RangeFunction& function, const Scope& scope,
                             std::vector<const FromItem*>& before);
  Status NameColumns(const pgq::RangeFunction& function, const Relation& relation);
  bool SurelyArray(const pgq::Node& node, const Scope& scope);
  Result<FromItem*> Derived(const Output& output, std::string alias, const pgq::Alias* alias_node,
                            const std::vector<std::string>& renamed);
  Status OuterTie(const FromItem& counted, const FromItem& missing, const std::vector<std::pair<int, int>>& on,
                  int location);
  std::vector<std::string> AliasColumns(const pgq::Alias& alias) const;
  FromItem* NewItem() { return &items_.emplace_back(); }
  int NewNode(int table_ref, std::string expression);
  Status Rename(Relation& relation, const pgq::Alias& alias);

  // names.cc
  struct Found {
    Column column;
    std::string sql;     // how the spliced text names it
    bool outer = false;  // belongs to an enclosing level
    const Scope* scope = nullptr;
  };
  Result<Found> Resolve(const pgq::ColumnRef& ref, const Scope& scope);
  struct Table_ {
    const Relation* relation = nullptr;
    bool outer = false;
    const Scope* scope = nullptr;
  };
  // What `table` or `schema.table` in front of a column means: the nearest of that name.
  Result<Table_> NamedTable(const std::vector<std::string>& parts, const Scope& scope, int location);
  std::optional<Found> TryUnqualified(const std::string& name, const Scope& scope, bool* ambiguous) const;
  Result<Column> UseColumn(const Found& found, int location);
  const GuardedView* FindGuarded(const std::string& schema, const std::string& name) const;
  template <typename T>
  const T* FindTable(const std::map<TableName, T>& tables, const std::string& schema, const std::string& name) const;

  // expression.cc
  Status Expression(const pgq::Node& node, Level& level, Place place, bool in_aggregate = false);
  template <typename List>
  Status Each(const List& nodes, Level& level, Place place, bool in_aggregate) {
    for (const pgq::Node& node : nodes) ECLUSE_OK(Expression(node, level, place, in_aggregate));
    return {};
  }
  Status Column_(const pgq::ColumnRef& ref, Level& level, Place place, bool in_aggregate);
  Status Operator(const pgq::A_Expr& expr, Level& level, Place place, bool in_aggregate);
  // Notes the sub-selects that a condition as a whole depends on by AND: there, unknown is as good as false.
  void NoteConjuncts(const pgq::Node& condition);
  Status SubLink(const pgq::SubLink& link, Level& level, Place place, bool in_aggregate);
  struct Membership;
  Status Members(const pgq::SubLink& link, const Membership* pseudonym, const Output& output) const;

  // calls.cc
  Status Call(const pgq::FuncCall& call, Level& level, Place place, bool in_aggregate);
  Status AggregateCall(const pgq::FuncCall& call, Level& level, Place place, const std::string& name);
  Status AggregateArguments(const pgq::FuncCall& call, Level& level);
  Status WindowCall(const pgq::FuncCall& call, Level& level, Place place, const std::string& name);
  Status SessionFunction(const pgq::FuncCall& call, const std::string& name, bool* done);
  Status Sequence(const pgq::FuncCall& call, const std::string& name);

  // casts.cc
  Status Type(const pgq::TypeName& type);
  Status Cast(const pgq::TypeCast& cast, Level& level, Place place, bool in_aggregate);
  Status NameCast(const pgq::TypeCast& cast, const std::string& type);
  Status NameOfColumn(const pgq::TypeCast& cast, const std::string& stand_in, const std::string& more);

  // subjects.cc
  // What the parts of `a AND b AND c` say: pairs of nodes that equalities of their subject columns tie; people and
  // unique keys of several columns that constants name are noted on the way.
  Result<std::vector<std::pair<int, int>>> Ties(const pgq::Node& condition, const Scope& scope);
  // `left = right`: whoever that names by constants is asked for.
  Status NameSubjects(const pgq::Node& left, const pgq::Node& right, Level& level, const pgq::A_Expr* expr);
  Status NameElements(const pgq::Node& left, const pgq::TypeCast& list, Level& level, const pgq::A_Expr* expr);
  Status NameList(const pgq::Node& left, const pgq::Node& list, Level& level, const pgq::A_Expr* expr);
  Status NameMembers(const pgq::Node& left, const pgq::SelectStmt& select, Level& level);
  void Ask(const Origin& origin, std::vector<ValueSource> values);
  // Whoever holds this unique key of several columns.
  // `stored`: by what a row that is written will hold.
  void AskKey(int table_ref, const std::vector<int>& key, const std::map<int, ValueSource>& columns,
              bool stored = false);
  void AskUnique(const Origin& origin, const ValueSource& named, const pgq::A_Expr* expr, bool stored = false);
  static std::string Compared(const ViewColumn& column, const ValueSource& value, bool stored, struct Resolve* resolve);
  // Surely the very value that is written into the column, so that who is named by it is who is meant.
  bool StoredAsNamed(const ViewColumn& column, const ValueSource& value) const;
  std::optional<ValueSource> ConstantOf(const pgq::Node& node) const;
  // ConstantOf, where its casts leave the value what it is: nothing where they cut, round or read it anew. `type` is
  // what the innermost makes of it, 0 without one.
  std::optional<ValueSource> ValueOf(const pgq::Node& node) const;
  std::optional<ValueSource> Recast(std::optional<ValueSource> value, const pgq::Node& written,
                                    const pgq::TypeName& name) const;
  // The value as one of a column of type `column`; nothing where they are compared as something else.
  std::optional<ValueSource> Fit(ValueSource value, Oid column);
  std::optional<Found> ColumnOf(const pgq::Node& node, const Scope& scope);
  // Whom conjuncts of the condition name by every subject column of the table; none where they do not.
  std::vector<ValueSource> SubjectNamed(const pgq::Node& condition, const Scope& scope, const FromItem& target);
  bool IsSubject(const Origin& origin) const;
  bool SameSubject(const Origin& a, const Origin& b) const;

  // write.cc
  Result<std::shared_ptr<Plan>> Insert(const pgq::InsertStmt& insert);
  Result<std::shared_ptr<Plan>> Update(const pgq::UpdateStmt& update);
  Result<std::shared_ptr<Plan>> Delete(const pgq::DeleteStmt& remove);
  Result<FromItem*> WriteTarget(const pgq::RangeVar& range, std::string_view what);
  Result<std::vector<int>> InsertColumns(const pgq::InsertStmt& insert, const FromItem& target);
  // The ranges of tokens in which the items of one row stand.
  using ItemRanges = std::vector<std::pair<size_t, size_t>>;
  using RowItems = std::vector<const pgq::Node*>;  // of the statement's own tree
  // Of one row: its expressions, whose values are sealed, and whom it is about. The values that are known, by column.
  Result<std::map<int, ValueSource>> InsertRow(const RowItems& row, const ItemRanges* items, const FromItem& target,
                                               const std::vector<int>& columns, Level& level);
  Status InsertValues(const pgq::SelectStmt& values, const FromItem& target, const std::vector<int>& columns,
                      Level& level, bool conflict);
  Status OnConflict(const pgq::InsertStmt& insert, const FromItem& target, Scope& scope);
  Status Assignments(const google::protobuf::RepeatedPtrField<pgq::Node>& list, const FromItem& target, Level& level,
                     bool conflict);
  Status InsertSelected(const pgq::SelectStmt& select, const FromItem& target, const std::vector<int>& columns);
  void AskInserted(const FromItem& target, const std::vector<int>& key, std::map<int, ValueSource> values);
  Status FinishWrite(const google::protobuf::RepeatedPtrField<pgq::Node>& returning, const FromItem& target,
                     Scope& scope, std::string tag);

  // sealed.cc
  // What a refusal of an opaque column is about.
  std::unexpected<Error> RefuseOpaque(const Column& column, int location, std::string_view what,
                                      std::string_view hint) const;
  // A sealed column as it is written, a call of upper() or lower() around it included: [first, last] token.
  struct SealedSide {
    Found found;
    size_t first = 0, last = 0;
  };
  std::optional<SealedSide> SealedOf(const pgq::Node& node, const Scope& scope);
  const ViewColumn& ViewColumnOf(const Column& column) const;
  // The role may find rows by it.
  Status MaySearch(const SealedSide& side, int location);
  // A comparison, where one of its sides is a sealed column.
  Result<bool> SealedComparison(const pgq::A_Expr& expr, Level& level);
  Status SealedEquals(const pgq::A_Expr& expr, const SealedSide& column, const pgq::Node& value, Level& level);
  Status SealedLike(const pgq::A_Expr& expr, const SealedSide& column, Level& level);
  Status SealedRange(const pgq::A_Expr& expr, const SealedSide& column, bool column_left, Level& level);
  Status SealedJoin(const pgq::A_Expr& expr, const SealedSide& left, const SealedSide& right, Level& level);
  Result<bool> SoundsLike(const pgq::FuncCall& call, Level& level);
  void AskTokens(const SealedSide& column, const std::string& parameter, bool array, const pgq::A_Expr* expr);
  // One of the gate's parameters, `$7`, as a value by which people are looked up.
  static ValueSource TokenSource(const std::string& parameter);
  Status UseTokens(const SealedSide& column, const std::string& sql, Level& level);
  std::optional<ValueSource> SealedValue(const pgq::Node& node, const ValueType& type);
  // The tokens that a constant or parameter is written with, its casts included.
  std::optional<std::pair<size_t, size_t>> Extent(const pgq::Node& node) const;
  // With the parentheses around nothing but it.
  std::pair<size_t, size_t> Widened(std::pair<size_t, size_t> extent) const;
  // linked.cc
  // The subject column of a table in a compartment, where pseudonyms stand.
  bool Linked(const Column& column) const;
  bool SameCompartment(const Origin& a, const Origin& b) const;
  // A comparison of two columns, one of which is such.
  Result<bool> LinkedComparison(const pgq::A_Expr& expr, Level& level);
  // Any column as it is written.
  std::optional<SealedSide> SideOf(const pgq::Node& node, const Scope& scope);
  // The guarded table in this level's own FROM whose column it is; null where it is none.
  const Relation* RelationOf(const Found& found, const Scope& scope) const;

  // crossing.cc
  // A comparison that joins tables of different compartments.
  struct Cross {
    const pgq::A_Expr* expr = nullptr;
    SealedSide left, right;
    const pgq::JoinExpr* join = nullptr;  // in whose ON it stands; null: WHERE
  };
  // Who is looked up for those of a level, whose conditions have been walked.
  Status FinishCrossings(const pgq::SelectStmt& select, const Scope& scope, const SelectClauses* clauses);
  struct Bounds {
    bool column = false, compares = false;  // it names a column; it compares one with a constant or parameter
    int rank = 0;                           // the subject by equality 3, a unique column 2, another 1
  };
  bool Compares(const pgq::A_Expr& expr) const;
  bool OnlyOf(const google::protobuf::Message& message, const Scope& scope, const Origin& of, Bounds* bounds);
  void Rank(const pgq::A_Expr& expr, const Scope& scope, Bounds* bounds);
  struct Bounded {
    const SealedSide* side = nullptr;
    const Relation* relation = nullptr;
    std::vector<Conjunct> conjuncts;
    bool everywhere = false;  // they hold of every row of it in the result
    int rank = 0;
  };
  std::optional<Bounded> BoundedBy(const SealedSide& side, const Cross& cross, const std::vector<Conjunct>& conjuncts,
                                   const Scope& scope);
  bool UsedTwice(int number) const;
  Result<std::shared_ptr<const Plan>> LookUp(const Relation& relation, const std::vector<Conjunct>& conjuncts,
                                             std::vector<int>* parameters);

  int CellOf(int table_ref, const ViewColumn& column);
  std::string AddParameter(SealedParameter parameter);  // `$7`
  void ReplaceTokens(size_t first, size_t last, std::string sql);
  std::string TokenNames(const GuardedView& view, const std::vector<int>& columns) const;  // `, "__bidx_nir"`
  std::optional<ItemRanges> SplitItems(size_t begin, size_t end) const;
  Status SealRow(const RowItems& row, const ItemRanges& items, const FromItem& target, const std::vector<int>& columns,
                 std::vector<ValueSource> subject);
  Result<std::vector<ItemRanges>> RowsOfValues(const pgq::SelectStmt& values) const;
  Status SealAssignment(const pgq::ResTarget& assignment, const FromItem& target, int index, bool conflict);
  // The subject column that an INSERT of these columns leaves to its sequence, where what is sealed needs it; or -1.
  int DrawnSubject(const GuardedView& view, const std::vector<int>& columns) const;
  void FinishDraw(const GuardedView& view);
  bool Seals(const GuardedView& view, const std::vector<int>& columns) const;
  Status SealConflict(const pgq::OnConflictClause& conflict, const GuardedView& view);
  Status FollowSealed(const Output& output);
  Status FinishSealed();

  // utility.cc
  Result<std::shared_ptr<Plan>> Utility(const pgq::Node& node);
  Result<std::shared_ptr<Plan>> Transaction(const pgq::TransactionStmt& statement);
  Result<std::shared_ptr<Plan>> Set(const pgq::VariableSetStmt& statement);
  Result<std::shared_ptr<Plan>> SetConfig(const pgq::FuncCall& call, const std::string& alias);
  Status SettingValue();
  Result<std::shared_ptr<Plan>> Show(const pgq::VariableShowStmt& statement);
  Result<std::shared_ptr<Plan>> Prepare(const pgq::PrepareStmt& statement);
  Result<std::shared_ptr<Plan>> Execute(const pgq::ExecuteStmt& statement);
  Result<std::shared_ptr<Plan>> Declare(const pgq::DeclareCursorStmt& statement);
  Result<std::shared_ptr<Plan>> Fetch(const pgq::FetchStmt& statement);
  Result<std::shared_ptr<Plan>> Explain(const pgq::ExplainStmt& statement);
  // Plans the statement that begins at token `begin` and ends with the text, by itself.
  Result<std::shared_ptr<const Plan>> Inner(size_t begin, std::span<const Oid> declared);

  // copy.cc
  Result<std::shared_ptr<Plan>> Copy(const pgq::CopyStmt& statement);
  Result<std::shared_ptr<Plan>> CopyIn(const pgq::CopyStmt& statement, Plan::Copy copy);
  Result<Plan::Copy> CopyOptions(const pgq::CopyStmt& statement);

  // Errors at a place in the client's text.
  std::unexpected<Error> Refuse(int location, std::string_view rule, std::string message, std::string hint) const;
  std::unexpected<Error> Forbid(int location, std::string_view rule, std::string message, std::string hint) const;
  std::unexpected<Error> NameError(int location, std::string_view state, std::string message) const;
  int CharacterOf(int location) const;

  struct NodeInfo {
    int table_ref = -1;
    std::string expression;  // SQL of its hidden text column at its own level
  };

  const PlanContext& context_;
  const RoleSchema& schema_;
  std::string_view text_;
  Clauses clauses_;
  PlanInner inner_;
  Splices splices_;
  std::shared_ptr<Plan> plan_;

  std::deque<FromItem> items_;
  std::deque<Leaf> leaves_;
  std::deque<Output> outputs_;
  std::vector<NodeInfo> nodes_;
  std::set<const google::protobuf::Message*> seen_;  // tables and calls of the tree that were walked
  std::vector<const GuardedView*> views_;            // of each table_ref
  bool system_ = false;                              // some relation is a catalog's
  bool unsystem_ = false;                            // some relation is a table
  bool writes_ = false;
  std::set<const pgq::SelectStmt*> merged_unions_;  // whose duplicates an enclosing UNION removes
  bool statistic_ = false, statistic_form_ = false;
  const pgq::SelectStmt* statement_ = nullptr;  // the whole statement, where it is a SELECT
  std::vector<HiddenColumn> extra_;             // hidden columns of statistics, behind the subjects
  std::vector<std::string> statistic_arguments_;
  int arms_ = 0;
  size_t spliced_ = 0;         // bytes of hidden columns
  int64_t listed_values_ = 0;  // rows of VALUES beyond the first: searched for where the statement is guarded
  // What only statements over catalogs alone may use: refused at the end where tables are read as well.
  struct CatalogOnly {
    std::string what;
    int location = 0;
  };
  std::optional<CatalogOnly> catalog_only_;
  bool inserting_ = false;       // the values or the query that an INSERT takes its rows from
  std::optional<int> sequence_;  // where a sequence is drawn from for anything else
  // The cast whose value is shown as text: there a regclass has to be a name, elsewhere its number does.
  const pgq::TypeCast* shown_cast_ = nullptr;
  bool named_ = false;  // what was spliced in takes the place of an expression, and of its column's name
  std::vector<const pgq::A_Expr*> resolve_exprs_;  // beside Plan::resolve
  std::set<int> plain_parameters_;                 // the client's that PostgreSQL is to read
  // Joins between compartments, until it is known which side is looked up.
  std::vector<Cross> crosses_;
  const pgq::JoinExpr* join_ = nullptr;  // while its condition is walked
  int draws_subject_ = -1;  // the view's column, where rows to be sealed leave their subject to its sequence
  int drawn_ = 0;           // subjects that were left so
  std::map<const pgq::A_Expr*, ValueSource> tokens_of_;  // the token that a column is equated with
  std::map<int, ValueSource> row_tokens_;  // the equality tokens of the row that was sealed last, by the view's column
  // Whom sealed assignments are about; none: nobody is named; NULL: several, each by a row of VALUES.
  std::vector<ValueSource> row_subject_;
  struct Membership {  // `column IN (SELECT …)`: the outer subject column that the sub-select's own column is equated
                       // with
    Origin origin;
    const pgq::SelectStmt* select = nullptr;
    bool conjunct = false;  // else NULL must not stand on either side: whether the other is empty would show
  };
  std::optional<Membership> membership_;
  std::set<const pgq::SubLink*> conjuncts_;
  std::vector<const Scope*>* levels_seen_ = nullptr;  // while an aggregate is walked: the levels its columns belong to
};

// Whether nothing but these fields of `message` is set.
bool HasOnly(const google::protobuf::Message& message, std::initializer_list<std::string_view> names);

// Words of a dotted name, from a list of String nodes.
std::vector<std::string> NameParts(const google::protobuf::RepeatedPtrField<pgq::Node>& names);

// Of the built-in scalar types by which people are named; 0 for others.
Oid TypeOid(std::string_view name);

// Nodes reachable from `start` along `edges`.
std::set<int> Closure(std::set<int> start, const std::vector<std::pair<int, int>>& edges);

}  // namespace ecluse
