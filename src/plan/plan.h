// A Plan: what a statement becomes before anybody decides whether it may run.
//
// The planner takes the client's text and either refuses it or returns a Plan whose `sql` PostgreSQL may execute under
// the role's own login, together with everything that admission and delivery need in order to charge, record and strip
// it. Plans are immutable, hold no values of a session, and are shared by the cache between sessions and threads.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "pgwire/copy_format.h"
#include "policy/role_schema.h"

namespace ecluse {

// One reference to a guarded table inside a statement.
struct TableRef {
  TableName table;
  std::string space;
  std::map<std::string, Mask> fields;         // columns the statement can show of it, with their masks
  bool own_keys = false;                      // what is sealed for it is sealed under its person's own key as well
  std::string compartment{kMainCompartment};  // whose keys it is sealed under

  bool linked() const { return compartment != kMainCompartment; }  // its people come under pseudonyms, in hex
};

// A value of the statement: a constant written in it, or a parameter.
struct ValueSource {
  enum class Kind { constant, parameter, drawn };  // drawn: number `parameter` of those that Plan::draw gives, from 0
  Kind kind = Kind::constant;
  std::string constant;  // the constant's text, unquoted; for arrays, PostgreSQL's array text
  int parameter = 0;     // 1-based, in the client's numbering
  bool number = false;   // the constant is written as a number, not as a string
  bool array = false;    // the value is an array whose elements are meant
  bool null = false;     // the constant NULL (of execute's arguments only)
  Oid type = 0;          // the type it is compared as (of the element, for arrays)
};

// A person named by the statement itself: charged whether or not a row comes back.
struct Asked {
  int table_ref = 0;
  // One value for each subject column, in the policy's order. With `array`, each element names a person.
  std::vector<ValueSource> values;
};

// A person named by equality on a unique column: `sql` (run first, under the same login, with the statement's own
// parameters) returns one text column, the ids to charge.
struct Resolve {
  int table_ref = 0;
  std::string sql;              // parameters renumbered from $1
  std::vector<int> parameters;  // for each of them, the client's parameter number
};

// What a hidden column, appended after the client's own, holds.
struct HiddenColumn {
  enum class Kind {
    subjects,  // ids joined by kSubjectSeparator; NULL where an outer join or another arm left it out
    spread,    // int8: bit_or(1 << (hash & 63)) over distinct subjects; its bits are a lower bound of their number
    people,    // int8: exactly how many distinct subjects stand behind the non-NULL arguments of an aggregate
  };
  Kind kind = Kind::subjects;
  int table_ref = -1;
  // Of subjects: which arm of the query it belongs to, 0 … Plan::arms - 1. An arm came back empty when no row of the
  // whole result had a subject in any of the arm's columns; each empty arm costs one nameless person.
  int arm = 0;
};

// Numbers that become known only with the parameters.
struct Skip {
  ValueSource value;  // OFFSET: rows to charge and swallow
};

// People of a join between compartments, who are looked up first: `inner` (run with some of the statement's own
// parameters) returns rows about them. They are charged like those whom the statement names.
struct Crossing {
  int table_ref = 0;            // the side that is looked up
  std::vector<int> parameters;  // of `inner`, the client's parameter numbers
  std::shared_ptr<const struct Plan> inner;
};

// A sealed column of one table reference: what its values are bound to.
struct SealedCell {
  int table_ref = 0;
  std::string column;  // its declared name
  ValueType type;      // as declared
  Sealing search;      // the indexes beside it
};

// What a visible column of the result shows.
struct SealedOutput {
  int cell = -1;    // of Plan::cells: the column holds its envelopes, or pseudonyms; -1: it is not sealed
  int hidden = -1;  // of Plan::hidden: for whom the row's value is sealed
  Mask mask;        // that the gate applies
};

// A parameter of the gate's own, behind the client's: what PostgreSQL gets in place of a value of the client's.
struct SealedParameter {
  enum class Kind {
    envelope,  // the value sealed, for `subject`
    equality,
    prefix,  // of the first `level` characters of the value
    sound,
    block,    // those of 2^`level` steps that are between `value` and `upper`
    drawn,    // as it is: the number that was drawn for a row's subject
    pattern,  // of a LIKE: of its prefix where that has `level` characters, else NULL; level 0: where it has no %
    // The people of crossing number `level`, as `cell` has them: pseudonyms, where its column is one of such (then an
    // envelope, and a token of equality, are one too), else ids as the text of an array.
    crossed,
  };
  Kind kind = Kind::equality;
  unsigned level = 0;
  int cell = 0;
  ValueSource value;  // with `array`: an array of tokens
  std::vector<ValueSource> subject{};
  bool written = false;  // of a token: of what is stored, rounded and cut as the column's type does
  // Of a search for blocks: which bounds there are, and whether they are themselves between.
  enum class Bound { none, open, closed };
  Bound low = Bound::none, high = Bound::none;
  ValueSource upper{};
};

// Lookups the statement costs beyond one for each arm: a list of n values costs n - 1 more.
struct ListCost {
  int64_t fixed = 0;                  // lists written out in the statement
  std::vector<int> array_parameters;  // arrays that are searched for, in the client's numbering
};

// The gate's own name for a session setting, a cursor or a prepared statement it must act upon.
struct Setting {
  std::string name;                  // lower case, "ecluse.purpose", "timezone"
  std::optional<std::string> value;  // absent: DEFAULT / RESET
  bool local = false;
  // Of SET SESSION CHARACTERISTICS: the settings it stands for, with their values.
  std::vector<std::pair<std::string, std::string>> characteristics;
};

struct Plan {
  enum class Kind {
    empty,  // no statement; answered EmptyQueryResponse
    rows,   // SELECT, VALUES, WITH; and writes with RETURNING
    write,  // INSERT, UPDATE, DELETE: rows touched come back through a RETURNING of the gate's own
    begin,
    commit,
    rollback,
    savepoint,  // and SET TRANSACTION: sent as they are
    set,        // `setting` goes upstream as `sql`; or is the gate's own (ecluse.*, search_path)
    show,       // answered by the gate where `gate_answers`, else upstream
    reset_all,
    prepare,     // PREPARE name AS inner
    execute,     // EXECUTE name (values)
    deallocate,  // name, or all where empty
    declare,     // DECLARE name CURSOR FOR inner
    fetch,       // FETCH / MOVE from name
    close,       // name, or all where empty
    discard,
    copy_out,  // inner's rows in COPY format
    copy_in,   // rows into a table, as batched INSERTs
    explain,   // `lines` answered by the gate
  };
  Kind kind = Kind::empty;
  std::string command_tag;  // first word(s) of CommandComplete where the gate composes it
  bool guarded = false;     // touches guarded tables: needs a purpose, is charged and recorded
  // Has the form of a statistic: every row is one where each `spread` has at least `min_subjects` bits. Where a row
  // falls short nothing is released and `fallback` is run instead: the same statement counted by person, a row of which
  // is a statistic where every `subjects` column holds, and every `people` column says, at least `min_subjects` people.
  bool statistic = false;
  // Reads rows that LIMIT or DISTINCT ON had picked among those of other people, or in the order of an aggregate over
  // them: shown whole or not at all (docs/decisions/cut-rows.md).
  bool whole = false;
  bool held() const { return statistic || whole; }  // no row of it leaves before all have come
  bool read_only_catalog = false;                   // touches system relations only
  std::optional<std::string> written_in;            // the compartment in which it writes or locks rows

  std::string sql;                   // for PostgreSQL; parameters keep the client's numbers
  int visible_columns = -1;          // the client's own result columns; -1: all of them (nothing hidden)
  std::vector<HiddenColumn> hidden;  // after the visible ones
  std::vector<TableRef> tables;
  std::vector<int> pseudonym;  // for each visible column the TableRef whose role pseudonym replaces the value, or -1
  int arms = 0;                // arms over guarded tables; each costs a lookup
  ListCost lists;
  std::vector<Asked> asked;
  std::vector<Resolve> resolve;
  std::optional<Skip> skip;
  std::vector<Oid> parameter_types;  // as declared by the client or required by the plan; 0 where PostgreSQL decides
  int parameters = 0;                // highest parameter number used

  std::vector<SealedCell> cells;
  std::vector<SealedOutput> sealed;                // for each visible column; empty where none of them is sealed
  std::vector<SealedParameter> sealed_parameters;  // they number client_parameters + 1 and above
  int client_parameters = 0;                       // of a plan with sealed_parameters
  // Run first, under the same login: draws the subjects that rows with sealed values leave to their sequence. Empty:
  // none.
  std::string draw;
  // The client's parameters that only the gate reads, with the type the client is told; PostgreSQL gets NULL.
  std::map<int, Oid> withheld;
  std::vector<Crossing> crossings;

  std::shared_ptr<const Plan> fallback;  // of a statistic: run instead where `spread` falls short
  int64_t min_subjects = 0;              // of a statistic

  std::shared_ptr<const Plan> inner;   // of prepare, declare, copy_out
  std::string name;                    // of prepare, execute, deallocate, declare, fetch, close, savepoint
  std::vector<ValueSource> arguments;  // of execute
  Setting setting;                     // of set and show
  bool gate_answers = false;           // of set and show
  bool draws_sequence = false;         // leaves its last value with the connection
  int64_t count = 0;                   // of fetch: rows; -1 for ALL
  bool swallow = false;                // of fetch: MOVE, or a write without RETURNING: rows are charged, not shown
  std::vector<std::string> lines;      // of explain

  struct Copy : CopyFormat {
    TableName table;                   // of copy_in
    std::vector<std::string> columns;  // of copy_in, in the order of the data
    std::vector<Oid> types;            // of these columns
    std::vector<int> cells;            // of Plan::cells, for each column that is sealed; else -1. Empty: none is
    size_t width = 0;                  // values of a row as it is inserted: the columns, and the tokens of sealed ones
    std::vector<int> subject;          // which of the columns say whom the row is about, in the policy's order
    // Of copy_in: `INSERT INTO view (columns) VALUES ` and ` RETURNING …`, the rows' values between them.
    std::string insert_prefix, insert_suffix;
  };
  std::optional<Copy> copy;

  // For the ledger: the statement with every literal replaced by $n, its fingerprint, and the literals.
  std::string normalised;
  uint64_t fingerprint = 0;
  std::vector<std::string> literals;

  size_t MemoryBytes() const;  // for the cache's bound
};

// Literals that were lifted out of a simple-protocol text so that many texts share one plan: the plan's parameters
// number `first` and above carry them, in order, as text.
struct PlannedStatement {
  std::shared_ptr<const Plan> plan;
  std::vector<std::string> lifted;
};

}  // namespace ecluse
