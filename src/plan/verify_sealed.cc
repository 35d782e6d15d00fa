// The second reading of what was rewritten for sealed columns: by names alone, without the analyzer's scopes. A clear
// value of the client's stands nowhere where a sealed column, or its tokens, would meet it. A name without its table
// that a sealed column shares with something else of the statement is passed over.
#include <algorithm>
#include <map>
#include <set>
#include <string>

#include "plan/lexer.h"
#include "plan/parse.h"
#include "plan/tree.h"
#include "plan/verify_parts.h"
#include "policy/sealed_columns.h"

namespace ecluse {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;

std::string LastName(const pgq::ColumnRef& ref) {
  return ref.fields().empty() || !ref.fields().rbegin()->has_string() ? std::string()
                                                                      : ref.fields().rbegin()->string().sval();
}

bool IsTokens(const pgq::Node& node) {
  return node.has_column_ref() && LastName(node.column_ref()).starts_with(kTokenPrefix);
}

bool IsNull(const pgq::Node& node) { return node.has_a_const() && node.a_const().isnull(); }

class SealedVerifier {
 public:
  SealedVerifier(const RoleSchema& schema, const Plan& plan, std::span<const InsertedRange> inserted)
      : schema_(schema), plan_(plan), inserted_(inserted) {}

  Status Run(const pgq::ParseResult& tree) {
    Gather(tree);
    ECLUSE_OK(Walk(tree));
    for (const Resolve& resolve : plan_.resolve) ECLUSE_OK(LookUp(resolve));
    const pgq::Node& statement = tree.stmts(0).stmt();
    if (statement.has_insert_stmt()) return Insert(statement.insert_stmt());
    if (statement.has_update_stmt()) {
      const GuardedView* view = ViewOf(statement.update_stmt().relation());
      return view == nullptr ? Status() : Assignments(statement.update_stmt().target_list(), *view, false);
    }
    return {};
  }

 private:
  // What the gate asks by itself: sealed columns and tokens stand there beside what it made itself alone.
  Status LookUp(const Resolve& resolve) const {
    ECLUSE_TRY(const pgq::ParseResult tree, ParseTree(resolve.sql));
    if (tree.stmts_size() != 1 || tree.stmts(0).stmt().select_stmt().from_clause_size() != 1)
      return Disagree("a look-up of people in an unknown form");
    const GuardedView* view = ViewOf(tree.stmts(0).stmt().select_stmt().from_clause(0).range_var());
    if (view == nullptr) return Disagree("a look-up of people in no view of the role's");
    return LookedUp(tree, resolve, *view);
  }

  Status LookedUp(const Message& message, const Resolve& resolve, const GuardedView& view) const {
    const std::string& kind = message.GetDescriptor()->name();
    if (kind == "ParamRef" && !MadeFor(resolve, static_cast<const pgq::ParamRef&>(message)) &&
        plan_.withheld.contains(ParameterOf(resolve, static_cast<const pgq::ParamRef&>(message))))
      return Disagree("a look-up of people by a parameter that only the gate reads");
    const auto secret = [&](const pgq::Node& node) {
      return node.has_column_ref() && (IsTokens(node) || Seals(view, LastName(node.column_ref())));
    };
    const auto made = [&](const pgq::Node& node) {
      const pgq::Node& value = node.has_type_cast() ? node.type_cast().arg() : node;
      return value.has_param_ref() && MadeFor(resolve, value.param_ref());
    };
    if (kind == "A_Expr") {
      const auto& expr = static_cast<const pgq::A_Expr&>(message);
      if ((secret(expr.lexpr()) && !made(expr.rexpr())) || (secret(expr.rexpr()) && !made(expr.lexpr())))
        return Disagree("a look-up of people by a sealed column");
    }
    return EachChild(message, [&](const FieldDescriptor&, const Message& child) -> Status {
      if (kind != "A_Expr" && child.GetDescriptor()->name() == "Node" && secret(static_cast<const pgq::Node&>(child)))
        return Disagree("a look-up of people by a sealed column in " + kind);
      return LookedUp(child, resolve, view);
    });
  }

  // The number that a look-up's parameter has in the statement; 0 where it has none.
  static int ParameterOf(const Resolve& resolve, const pgq::ParamRef& ref) {
    const auto index = static_cast<size_t>(ref.number()) - 1;
    return index < resolve.parameters.size() ? resolve.parameters[index] : 0;
  }
  bool MadeFor(const Resolve& resolve, const pgq::ParamRef& ref) const {
    const int number = ParameterOf(resolve, ref);
    return number > plan_.client_parameters &&
           number <= plan_.client_parameters + static_cast<int>(plan_.sealed_parameters.size());
  }

  const GuardedView* ViewOf(const pgq::RangeVar& range) const {
    if (range.schemaname() != schema_.login) return nullptr;
    for (const auto& [name, view] : schema_.guarded) {
      if (view.view == range.relname()) return &view;
    }
    return nullptr;
  }

  // The names of sealed columns that the statement's views have, less those that stand for something else as well.
  void Gather(const Message& message) {
    if (message.GetDescriptor()->name() == "RangeVar") {
      const auto& range = static_cast<const pgq::RangeVar&>(message);
      NameTable(range.has_alias() ? range.alias().aliasname() : range.relname(),
                range.alias().colnames().empty() ? ViewOf(range) : nullptr);
      if (const GuardedView* view = ViewOf(range)) {
        for (const ViewColumn& column : view->columns) {
          (column.sealed ? sealed_ : plain_).insert(column.name);
          if (column.sealed && column.sealed->search.link) linked_.insert(column.name);
        }
      } else if (const auto open = schema_.open.find({range.schemaname(), range.relname()});
                 open != schema_.open.end()) {
        for (const OpenColumn& column : open->second.columns) plain_.insert(column.name);
      }
      if (range.has_alias()) NameOthers(range.alias().colnames());
      return;
    }
    // Other things that go by such a name.
    if (message.GetDescriptor()->name() == "Alias") {
      NameTable(static_cast<const pgq::Alias&>(message).aliasname(), nullptr);
      NameOthers(static_cast<const pgq::Alias&>(message).colnames());
    }
    if (message.GetDescriptor()->name() == "CommonTableExpr")
      NameOthers(static_cast<const pgq::CommonTableExpr&>(message).aliascolnames());
    if (message.GetDescriptor()->name() == "SelectStmt") {
      for (const pgq::Node& target : static_cast<const pgq::SelectStmt&>(message).target_list()) {
        const pgq::ResTarget& output = target.res_target();
        if (!output.val().has_column_ref() || LastName(output.val().column_ref()) != output.name())
          plain_.insert(output.name());
      }
    }
    (void)EachChild(message, [&](const FieldDescriptor&, const Message& child) -> Status {
      Gather(child);
      return {};
    });
  }

  // What stands before a column: a view where it is one wherever it stands, else nothing that is known.
  void NameTable(const std::string& name, const GuardedView* view) {
    const auto [known, added] = tables_.emplace(name, view);
    if (!added && known->second != view) known->second = nullptr;
  }

  void NameOthers(const google::protobuf::RepeatedPtrField<pgq::Node>& names) {
    for (const pgq::Node& name : names) plain_.insert(name.string().sval());
  }

  bool Own(const pgq::Node& node) const {
    return node.has_param_ref() && node.param_ref().number() > plan_.client_parameters &&
           node.param_ref().number() <= plan_.client_parameters + static_cast<int>(plan_.sealed_parameters.size()) &&
           Inserted(node.param_ref().location());
  }

  bool Inserted(int location) const {
    return std::ranges::any_of(inserted_, [&](const InsertedRange& range) {
      return location >= 0 && static_cast<size_t>(location) >= range.begin && static_cast<size_t>(location) < range.end;
    });
  }

  // What may stand beside tokens: parameters of the gate's own, NULL, other tokens, and lists of these.
  bool BesideTokens(const pgq::Node& node) const {
    if (node.has_type_cast()) return BesideTokens(node.type_cast().arg());
    const auto all = [&](const auto& nodes) {
      return std::ranges::all_of(nodes, [&](const pgq::Node& item) { return BesideTokens(item); });
    };
    if (node.has_list()) return all(node.list().items());
    if (node.has_a_array_expr()) return all(node.a_array_expr().elements());
    return Own(node) || IsNull(node) || IsTokens(node);
  }

  // What may stand beside a pseudonym: what the gate made, others of its kind, and what it picks of those who were
  // looked up by who stands on the other side.
  bool BesideLink(const pgq::Node& node) const {
    if (BesideTokens(node) || IsLink(node)) return true;
    return node.has_a_indirection() && node.a_indirection().arg().has_type_cast() &&
           Own(node.a_indirection().arg().type_cast().arg());
  }

  bool Sealed(const pgq::Node& node) const { return StandsSealed(node, false); }
  bool IsLink(const pgq::Node& node) const { return StandsSealed(node, true); }

  bool StandsSealed(const pgq::Node& node, bool link) const {
    if (!node.has_column_ref()) return false;
    const pgq::ColumnRef& ref = node.column_ref();
    const std::string name = LastName(ref);
    if (ref.fields_size() == 2 && ref.fields(0).has_string()) {
      const auto table = tables_.find(ref.fields(0).string().sval());
      if (table != tables_.end() && table->second != nullptr) {
        const int at = table->second->Find(name);
        if (at < 0) return false;
        const auto& sealed = table->second->columns[static_cast<size_t>(at)].sealed;
        return sealed && (!link || sealed->search.link);
      }
    }
    return (link ? linked_ : sealed_).contains(name) && !plain_.contains(name);
  }

  Status Walk(const Message& message) {
    const std::string& kind = message.GetDescriptor()->name();
    if (kind == "ParamRef") {
      const auto& parameter = static_cast<const pgq::ParamRef&>(message);
      if (plan_.withheld.contains(parameter.number())) return Disagree("a parameter that only the gate reads");
      if (parameter.number() > plan_.client_parameters && !plan_.sealed_parameters.empty() &&
          !Inserted(parameter.location())) {
        return Disagree("a parameter of the gate's in the client's text");
      }
    } else if (kind == "A_Expr") {
      const auto& expr = static_cast<const pgq::A_Expr&>(message);
      if ((IsTokens(expr.lexpr()) && !BesideTokens(expr.rexpr())) ||
          (IsTokens(expr.rexpr()) && !BesideTokens(expr.lexpr()))) {
        return Disagree("tokens beside something else");
      }
      if ((IsLink(expr.lexpr()) && !BesideLink(expr.rexpr())) || (IsLink(expr.rexpr()) && !BesideLink(expr.lexpr())))
        return Disagree("a pseudonym beside something else");
    }
    return EachChild(message, [&](const FieldDescriptor& field, const Message& child) -> Status {
      if (child.GetDescriptor()->name() == "Node" && IsTokens(static_cast<const pgq::Node&>(child)) &&
          kind != "A_Expr" && kind != "ResTarget" && !(kind == "SelectStmt" && field.name() == "group_clause")) {
        return Disagree("tokens in " + kind);
      }
      if (child.GetDescriptor()->name() == "Node" && Sealed(static_cast<const pgq::Node&>(child)) &&
          !MayStand(kind, field.name(), message, static_cast<const pgq::Node&>(child))) {
        return Disagree("a sealed column in " + kind);
      }
      return Walk(child);
    });
  }

  // Handed on as it is, tested for NULL, counted, or named by the gate itself.
  bool MayStand(const std::string& kind, const std::string& field, const Message& parent, const pgq::Node& node) const {
    if (kind == "ResTarget" || kind == "NullTest") return true;
    if (kind == "FuncCall") {
      const auto& call = static_cast<const pgq::FuncCall&>(parent);
      return call.funcname().rbegin()->string().sval() == "count" && !call.agg_distinct() && call.args_size() == 1 &&
             field == "args";
    }
    if (kind == "SelectStmt" && field == "group_clause") return IsLink(node) || Inserted(node.column_ref().location());
    // Compared above; or looked for among those who were looked up.
    return IsLink(node) && (kind == "A_Expr" || (kind == "TypeCast" && Inserted(node.column_ref().location())));
  }

  Status Insert(const pgq::InsertStmt& insert) {
    const GuardedView* view = ViewOf(insert.relation());
    if (view == nullptr) return {};
    const pgq::SelectStmt& select = insert.select_stmt().select_stmt();
    for (int i = 0; i < insert.cols_size(); ++i) {
      const std::string& name = insert.cols(i).res_target().name();
      if (!Seals(*view, name)) continue;
      for (const pgq::Node& row : select.values_lists()) {
        if (i >= row.list().items_size() || !Written(row.list().items(i))) return Disagree("a clear value for " + name);
      }
      if (select.values_lists_size() == 0 &&
          (select.op() != pgq::SETOP_NONE || select.from_clause_size() > 0 || i >= select.target_list_size() ||
           !Written(select.target_list(i).res_target().val()))) {
        return Disagree("a clear value for " + name);
      }
    }
    return Assignments(insert.on_conflict_clause().target_list(), *view, true);
  }

  Status Assignments(const google::protobuf::RepeatedPtrField<pgq::Node>& list, const GuardedView& view,
                     bool conflict) const {
    for (const pgq::Node& node : list) {
      const pgq::ResTarget& target = node.res_target();
      if (!Seals(view, target.name()) || Written(target.val())) continue;
      const auto& fields = target.val().column_ref().fields();
      const bool excluded = conflict && fields.size() == 2 && fields.Get(0).string().sval() == "excluded" &&
                            fields.Get(1).string().sval() == target.name();
      if (!excluded) return Disagree("a clear value for " + target.name());
    }
    return {};
  }

  bool Seals(const GuardedView& view, const std::string& column) const {
    const int at = view.Find(column);
    return column.starts_with(kTokenPrefix) || (at >= 0 && view.columns[static_cast<size_t>(at)].sealed.has_value());
  }
  bool Written(const pgq::Node& node) const { return Own(node) || IsNull(node); }

  const RoleSchema& schema_;
  const Plan& plan_;
  std::span<const InsertedRange> inserted_;
  std::set<std::string> sealed_, plain_, linked_;
  std::map<std::string, const GuardedView*> tables_;
};

}  // namespace

Status VerifySealed(const RoleSchema& schema, const Plan& plan, const pgq::ParseResult& tree,
                    std::span<const InsertedRange> inserted) {
  return SealedVerifier(schema, plan, inserted).Run(tree);
}

}  // namespace ecluse
