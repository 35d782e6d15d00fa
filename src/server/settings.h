// What a session has set: transactional, as PostgreSQL's own settings are (manual, "SET": the effect of a SET inside a
// transaction that is rolled back disappears; SET LOCAL ends with the transaction). Pure.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace ecluse {

class Settings {
 public:
  struct Value {
    std::string text;
    std::string sql;  // the SET that PostgreSQL gets; empty for the gate's own
    bool operator==(const Value&) const = default;
  };
  using Map = std::map<std::string, Value, std::less<>>;

  // The value in force, or null where nothing was set.
  const Value* Find(std::string_view name) const;
  std::string Text(std::string_view name) const;

  // Sets, or with nullopt puts back to the default. Part of the transaction until Commit() or Rollback().
  void Set(const std::string& name, std::optional<Value> value, bool local);
  // RESET ALL: everything but the gate's own (`ecluse.*`), which say who and why.
  void ResetAll();

  void Savepoint(const std::string& name);
  void RollbackTo(const std::string& name);
  void Release(const std::string& name);
  void Commit();
  void Rollback();

  // Every SET that a fresh connection needs in order to be in the same state, in one text; empty where it needs none.
  std::string UpstreamScript() const;
  bool touches_upstream() const;

  // Grows with every change, so that what is derived from settings can tell when it is stale.
  uint64_t version() const { return version_; }

 private:
  struct State {
    Map base;
    std::map<std::string, std::optional<Value>, std::less<>> local;  // nullopt: the default, until the transaction ends
  };
  struct Mark {
    std::string name;
    State state;
  };
  void Begin();  // remembers the state before the first change of a transaction

  State now_;
  std::optional<State> before_;
  std::vector<Mark> savepoints_;
  uint64_t version_ = 0;
};

// The names in a search_path's text ("$user", quoted and folded ones), `$user` left out: it is nobody's schema here.
std::vector<std::string> SearchPathNames(std::string_view text);

}  // namespace ecluse
