#include "plan/verify.h"

#include <algorithm>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "plan/allow.h"
#include "plan/known_nodes.h"
#include "plan/parse.h"
#include "plan/tree.h"
#include "plan/verify_parts.h"

namespace ecluse {

std::unexpected<Error> Disagree(std::string what) {
  return Fail(sqlstate::kNotSupported, "this statement cannot be rewritten safely", "Write it in simpler parts.",
              "plan.verify", "the verifier does not approve: " + std::move(what));
}

namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;

std::vector<std::string> Words(const google::protobuf::RepeatedPtrField<pgq::Node>& names) {
  std::vector<std::string> words;
  for (const pgq::Node& node : names) words.push_back(node.has_string() ? node.string().sval() : "*");
  return words;
}

bool Reserved(std::string_view name) { return name.starts_with("__"); }

class Verifier {
 public:
  Verifier(const RoleSchema& schema, const Plan& plan, std::span<const InsertedRange> inserted)
      : schema_(schema), plan_(plan), inserted_(inserted) {
    for (const auto& [table, view] : schema.guarded) views_.insert(view.view);
    for (const auto& [table, shadow] : schema.shadows) shadows_.insert(shadow.view);
    for (const auto& [name, stand_in] : schema.shadow_functions) stand_ins_.insert(stand_in);
  }

  Status Run(std::string_view sql) {
    ECLUSE_TRY(const pgq::ParseResult tree, ParseTree(sql));
    if (tree.stmts_size() != 1) return Disagree("not one statement");
    ECLUSE_OK(Walk(tree));
    ECLUSE_OK(VerifySealed(schema_, plan_, tree, inserted_));
    const pgq::Node& statement = tree.stmts(0).stmt();
    top_ = &statement.select_stmt();
    if (guarded_ > 0 && !plan_.guarded) return Disagree("a guarded view in an unguarded plan");
    for (const std::string& name : unqualified_) {
      if (!ctes_.contains(name)) return Disagree("unqualified relation " + name);
    }
    if (!plan_.guarded) {
      if (statement.has_select_stmt()) ECLUSE_OK(Select(statement.select_stmt(), {}, true));
      return {};
    }
    if (statement.has_select_stmt()) return Top(statement.select_stmt());
    if (guarded_ != 1) return Disagree("a write that reads guarded rows");
    if (statement.has_insert_stmt()) {
      return Written(statement.insert_stmt().relation(), statement.insert_stmt().returning_list());
    }
    if (statement.has_update_stmt()) {
      return Written(statement.update_stmt().relation(), statement.update_stmt().returning_list());
    }
    if (statement.has_delete_stmt()) {
      return Written(statement.delete_stmt().relation(), statement.delete_stmt().returning_list());
    }
    return Disagree("a guarded plan of another kind");
  }

 private:
  using Exposed = std::set<std::string>;  // hidden output columns

  bool Inserted(int location) const {
    return std::ranges::any_of(inserted_, [&](const InsertedRange& range) {
      return location >= 0 && static_cast<size_t>(location) >= range.begin && static_cast<size_t>(location) < range.end;
    });
  }

  // Every node, by reflection: kinds, names and lists.
  Status Walk(const Message& message) {
    const std::string& kind = message.GetDescriptor()->name();
    if (!KnownKind(kind)) return Disagree("node " + kind);
    ECLUSE_OK(Check(message, kind));
    if (kind == "LockingClause") return {};  // the names in it are aliases
    const auto* reflection = message.GetReflection();
    std::vector<const FieldDescriptor*> fields;
    reflection->ListFields(message, &fields);
    for (const FieldDescriptor* field : fields) {
      if (!KnownField(kind, field->name())) return Disagree("field " + field->name() + " of " + kind);
      if (field->cpp_type() != FieldDescriptor::CPPTYPE_MESSAGE) continue;
      if (field->is_repeated()) {
        for (int i = 0; i < reflection->FieldSize(message, field); ++i) {
          ECLUSE_OK(Walk(reflection->GetRepeatedMessage(message, field, i)));
        }
      } else {
        ECLUSE_OK(Walk(reflection->GetMessage(message, field)));
      }
    }
    return {};
  }

  Status Check(const Message& message, const std::string& kind) {
    if (kind == "RangeVar") return Relation(static_cast<const pgq::RangeVar&>(message));
    if (kind == "FuncCall") return Function(static_cast<const pgq::FuncCall&>(message));
    if (kind == "TypeName") return Type(static_cast<const pgq::TypeName&>(message));
    if (kind == "ColumnRef") return Column(static_cast<const pgq::ColumnRef&>(message));
    if (kind == "CommonTableExpr") {
      const auto& cte = static_cast<const pgq::CommonTableExpr&>(message);
      if (!cte.ctequery().has_select_stmt()) return Disagree("a WITH query that writes");
      ctes_.insert(cte.ctename());
    } else if (kind == "A_Expr") {
      const auto& expr = static_cast<const pgq::A_Expr&>(message);
      const auto words = Words(expr.name());
      if (words.empty() || words.size() > 2 || (words.size() == 2 && words[0] != "pg_catalog"))
        return Disagree("operator");
      if (expr.kind() < pgq::AEXPR_BETWEEN && !allow::Operator(words.back()))
        return Disagree("operator " + words.back());
    } else if (kind == "ResTarget") {
      const auto& target = static_cast<const pgq::ResTarget&>(message);
      if (Reserved(target.name()) && !Inserted(target.location())) return Disagree("reserved output name");
    } else if (kind == "InsertStmt") {
      const pgq::SelectStmt& values = static_cast<const pgq::InsertStmt&>(message).select_stmt().select_stmt();
      if (values.values_lists_size() > 0 &&
          (values.has_with_clause() || values.sort_clause_size() > 0 || values.has_limit_count() ||
           values.has_limit_offset() || values.locking_clause_size() > 0)) {
        return Disagree("INSERT of VALUES with more clauses");
      }
    } else if (kind == "JoinExpr") {
      const auto& join = static_cast<const pgq::JoinExpr&>(message);
      if (join.is_natural() && plan_.guarded) return Disagree("NATURAL");
    } else if (kind == "LockingClause") {
      const auto& lock = static_cast<const pgq::LockingClause&>(message);
      if (plan_.guarded && lock.wait_policy() != pgq::LockWaitBlock) return Disagree("lock that does not wait");
      for (const pgq::Node& of : lock.locked_rels())
        if (!of.range_var().schemaname().empty()) return Disagree("lock of a name with a schema");
    }
    return {};
  }

  Status Relation(const pgq::RangeVar& range) {
    if (range.schemaname().empty()) {
      // Names of WITH come earlier or later in the walk; Select() looks at their scope, level by level.
      unqualified_.insert(range.relname());
      return {};
    }
    if (range.schemaname() == schema_.login) {
      if (!Inserted(range.location())) return Disagree("the client itself names a view of the role");
      if (views_.contains(range.relname())) {
        ++guarded_;
        return {};
      }
      if (shadows_.contains(range.relname())) return {};
      return Disagree("unknown view");
    }
    if (schema_.open.contains({range.schemaname(), range.relname()})) return {};
    return Disagree("relation outside the role's views");
  }

  Status Function(const pgq::FuncCall& call) const {
    const auto words = Words(call.funcname());
    const std::string& name = words.back();
    if (words.size() == 1 || (words.size() == 2 && words[0] == "pg_catalog")) {
      if (allow::Function(name) || allow::CatalogFunction(name) || name == "nextval" || name == "currval") return {};
      if (name == "current_setting") return {};
      if (Inserted(call.location()) && name == "hashtextextended") return {};
      return Disagree("function " + name);
    }
    if (words.size() == 2 && words[0] == schema_.login && stand_ins_.contains(words[1]) && Inserted(call.location())) {
      return {};
    }
    if (words.size() == 2 && words[0] == "information_schema" && allow::CatalogFunction(name)) return {};
    if (words.size() == 2 && schema_.policy->functions.contains(words[0] + "." + words[1])) return {};
    return Disagree("function " + name);
  }

  Status Type(const pgq::TypeName& type) const {
    const auto words = Words(type.names());
    if (words.empty() || !std::ranges::all_of(type.typmods(), &pgq::Node::has_a_const)) return Disagree("type");
    if ((words.size() == 1 || words[0] == "pg_catalog") &&
        (allow::Type(words.back()) || allow::NameType(words.back()))) {
      return {};
    }
    if (words.size() == 2 && schema_.types.contains(words[0] + "." + words[1])) return {};
    return Disagree("type " + words.back());
  }

  Status Column(const pgq::ColumnRef& ref) const {
    if (ref.fields_size() > 2 && plan_.guarded) return Disagree("a column with its schema");
    for (const pgq::Node& field : ref.fields()) {
      if (field.has_a_star() && plan_.guarded) return Disagree("*");
      if (field.has_string() && Reserved(field.string().sval()) && !Inserted(ref.location())) {
        return Disagree("reserved column name");
      }
    }
    return {};
  }

  // Whether people are handed upwards.
  Status Top(const pgq::SelectStmt& select) {
    ECLUSE_TRY(const Exposed exposed, Select(select, {}, true));
    if (exposed.size() != plan_.hidden.size()) return Disagree("hidden columns do not match the plan");
    const pgq::SelectStmt* leaf = &select;
    while (leaf->op() != pgq::SETOP_NONE) leaf = &leaf->larg();
    const int visible = leaf->target_list_size() - static_cast<int>(plan_.hidden.size());
    if (visible != plan_.visible_columns) return Disagree("visible columns do not match the plan");
    for (int i = 0; i < leaf->target_list_size(); ++i) {
      const std::string& name = leaf->target_list(i).res_target().name();
      const bool hidden = i >= visible;
      if (hidden && name != "__ecluse_s" + std::to_string(i - visible + 1)) return Disagree("order of hidden columns");
      if (!hidden && name.starts_with("__ecluse_s")) return Disagree("a hidden column among visible ones");
    }
    return {};
  }

  using Ctes = std::map<std::string, Exposed>;

  // Sub-selects in every clause of one level, whichever it is, but those that are levels beside it.
  Status Clauses(const pgq::SelectStmt& select, const Ctes& ctes) {
    return EachChild(select, [&](const FieldDescriptor& field, const Message& child) -> Status {
      const std::string& name = field.name();
      if (name == "from_clause" || name == "with_clause" || name == "larg" || name == "rarg") return {};
      return SubLinks(child, ctes);
    });
  }

  Result<Exposed> Select(const pgq::SelectStmt& select, Ctes ctes, bool carries) {
    const bool recursive = select.with_clause().recursive();
    // PostgreSQL sees later names of a recursive list, and not those of the same name further out.
    for (const pgq::Node& node : select.with_clause().ctes()) {
      if (recursive) ctes.erase(node.common_table_expr().ctename());
    }
    for (const pgq::Node& node : select.with_clause().ctes()) {
      const pgq::CommonTableExpr& cte = node.common_table_expr();
      if (recursive && cte.ctequery().select_stmt().op() == pgq::SETOP_UNION) ctes[cte.ctename()] = {};
      ECLUSE_TRY(ctes[cte.ctename()], Select(cte.ctequery().select_stmt(), ctes, true));
    }
    ECLUSE_OK(Clauses(select, ctes));
    if (select.op() != pgq::SETOP_NONE) {
      ECLUSE_TRY(const Exposed left, Select(select.larg(), ctes, carries));
      ECLUSE_TRY(const Exposed right, Select(select.rarg(), ctes, carries));
      if (carries && left != right) return Disagree("arms of a UNION with different hidden columns");
      if (!left.empty() && select.op() != pgq::SETOP_UNION) return Disagree("INTERSECT or EXCEPT over guarded rows");
      if (!left.empty() && !select.all()) return Disagree("UNION that removes rows");
      return left;
    }
    std::set<std::pair<std::string, std::string>> required;
    for (const pgq::Node& item : select.from_clause()) ECLUSE_OK(From(item, ctes, required));
    Exposed exposed;
    std::set<std::pair<std::string, std::string>> handed;
    for (const pgq::Node& node : select.target_list()) {
      const pgq::ResTarget& target = node.res_target();
      if (target.name().empty() && !target.val().has_column_ref() && &select != top_) {
        return Disagree("an output that PostgreSQL would name");
      }
      if (target.name().starts_with("__ecluse_s")) {
        if (!exposed.insert(target.name()).second) return Disagree("a hidden column twice");
        Collect(target.val(), handed);
      }
    }
    if (carries && !std::ranges::includes(handed, required))
      return Disagree("people of a FROM item are not handed upwards");
    if (!carries && !required.empty() && !select.has_where_clause() && membership_ == 0 &&
        std::ranges::none_of(select.from_clause(),
                             [](const auto& n) { return n.has_join_expr() && n.join_expr().has_quals(); })) {
      return Disagree("a sub-select over guarded rows without a condition");
    }
    return exposed;
  }

  Status From(const pgq::Node& item, const Ctes& ctes, std::set<std::pair<std::string, std::string>>& required) {
    if (item.has_join_expr()) {
      ECLUSE_OK(From(item.join_expr().larg(), ctes, required));
      ECLUSE_OK(From(item.join_expr().rarg(), ctes, required));
      return SubLinks(item.join_expr().quals(), ctes);
    }
    if (item.has_range_var()) {
      const pgq::RangeVar& range = item.range_var();
      const std::string& alias = range.has_alias() ? range.alias().aliasname() : range.relname();
      if (range.schemaname().empty()) {
        const auto cte = ctes.find(range.relname());
        if (cte == ctes.end()) return Disagree("unqualified relation out of scope");
        for (const std::string& column : cte->second) required.emplace(alias, column);
      } else if (range.schemaname() == schema_.login && views_.contains(range.relname())) {
        required.emplace(alias, "__subject");
        const auto width = static_cast<size_t>(range.alias().colnames_size());
        for (const auto& [table, view] : schema_.guarded) {
          if (view.view == range.relname() && width > view.columns.size()) return Disagree("alias list too long");
        }
      }
      return {};
    }
    if (item.has_range_subselect()) {
      ECLUSE_TRY(const Exposed exposed, Select(item.range_subselect().subquery().select_stmt(), ctes, true));
      for (const std::string& column : exposed) required.emplace(item.range_subselect().alias().aliasname(), column);
      return {};
    }
    if (!item.has_range_function()) return Disagree("FROM item");
    ECLUSE_OK(Named(item.range_function()));
    return SubLinks(item, ctes);
  }

  // A function in FROM has as many names as columns.
  Status Named(const pgq::RangeFunction& function) const {
    const pgq::FuncCall& call = function.functions(0).list().items(0).func_call();
    const auto words = Words(call.funcname());
    if (function.functions_size() != 1 || words.empty() ||
        (words.size() == 2 && schema_.policy->functions.contains(words[0] + "." + words[1]))) {
      return Disagree("function in FROM");
    }
    size_t width =
        words.back() == "unnest" ? static_cast<size_t>(call.args_size()) : allow::Columns(words.back()).count;
    width = std::max<size_t>(width, 1) + (function.ordinality() ? 1 : 0);
    if (static_cast<size_t>(function.alias().colnames_size()) != width)
      return Disagree("names of a function's columns");
    return {};
  }

  // Qualified reserved columns anywhere below.
  void Collect(const Message& message, std::set<std::pair<std::string, std::string>>& out) const {
    if (message.GetDescriptor()->name() == "ColumnRef") {
      const auto words = Words(static_cast<const pgq::ColumnRef&>(message).fields());
      if (words.size() == 2 && Reserved(words[1])) out.emplace(words[0], words[1]);
      return;
    }
    AllChildren(message, [&](const FieldDescriptor&, const Message& child) {
      Collect(child, out);
      return true;
    });
  }

  Status SubLinks(const Message& message, const Ctes& ctes) {
    if (message.GetDescriptor()->name() == "SubLink") {
      const auto& link = static_cast<const pgq::SubLink&>(message);
      if (link.has_testexpr()) ECLUSE_OK(SubLinks(link.testexpr(), ctes));
      membership_ += link.sub_link_type() == pgq::ANY_SUBLINK ? 1 : 0;
      ECLUSE_TRY(const Exposed inner, Select(link.subselect().select_stmt(), ctes, false));
      membership_ -= link.sub_link_type() == pgq::ANY_SUBLINK ? 1 : 0;
      return {};
    }
    return EachChild(message, [&](const FieldDescriptor&, const Message& child) { return SubLinks(child, ctes); });
  }

  Status Written(const pgq::RangeVar& range, const google::protobuf::RepeatedPtrField<pgq::Node>& returning) const {
    if (range.schemaname() != schema_.login || !views_.contains(range.relname())) return Disagree("target of a write");
    if (returning.size() != plan_.visible_columns + 1) return Disagree("RETURNING does not match the plan");
    const pgq::ResTarget& last = returning.rbegin()->res_target();
    std::set<std::pair<std::string, std::string>> handed;
    Collect(last.val(), handed);
    const std::string& alias = range.has_alias() ? range.alias().aliasname() : range.relname();
    if (last.name() != "__ecluse_s1" || !handed.contains({alias, "__subject"}))
      return Disagree("RETURNING without the people");
    return {};
  }

  const RoleSchema& schema_;
  const Plan& plan_;
  std::span<const InsertedRange> inserted_;
  std::set<std::string> views_, shadows_, stand_ins_, ctes_, unqualified_;
  int guarded_ = 0;  // references to guarded views
  int membership_ = 0;
  const pgq::SelectStmt* top_ = nullptr;  // its own outputs keep the names PostgreSQL gives them
};

}  // namespace

Status Verify(const RoleSchema& schema, const Plan& plan, std::string_view sql,
              std::span<const InsertedRange> inserted) {
  return Verifier(schema, plan, inserted).Run(sql);
}

}  // namespace ecluse
