// What PostgreSQL's answers mean for the client and for the session: columns that are shown, settings, cursors, the end
// of a batch.
#include "base/bytes.h"
#include "base/limits.h"
#include "deliver/copy_rows.h"
#include "execute/run.h"
#include "plan/lexer.h"
#include "server/session.h"

namespace ecluse {

namespace {

bool HasOwnColumns(pg::FieldReader fields) {
  pg::FieldDescription field;
  for (size_t i = 0, n = fields.size(); i < n && fields.Next(&field); ++i) {
    if (field.name.starts_with("__ecluse_") || field.name == "__subject") return true;
  }
  return false;
}

// The parameters as the client knows them: its own, and of those that are sealed the columns' types.
bool WriteParameters(std::string& out, std::string_view payload, const Plan& plan) {
  const auto clients = static_cast<size_t>(plan.client_parameters);
  if (payload.size() < 2 + 4 * clients || LoadU16(payload.data()) < clients) return false;
  std::vector<uint32_t> types;
  for (size_t i = 0; i < clients; ++i) {
    const auto withheld = plan.withheld.find(static_cast<int>(i) + 1);
    types.push_back(withheld != plan.withheld.end() ? withheld->second : LoadU32(payload.data() + 2 + 4 * i));
  }
  pg::WriteParameterDescription(out, types);
  return true;
}

// pg_type.typlen.
int16_t SizeOf(const ValueType& type) {
  switch (type.oid) {
    case type_oid::kBool:
      return 1;
    case type_oid::kInt2:
      return 2;
    case type_oid::kInt4:
    case type_oid::kDate:
      return 4;
    case type_oid::kInt8:
    case type_oid::kTimestamp:
    case type_oid::kTimestamptz:
      return 8;
    case type_oid::kUuid:
      return 16;
    default:
      return -1;
  }
}

}  // namespace

// RowDescription and ParameterDescription, cut to what is the client's.
bool Session::Describe(const pg::Frame& frame, Reply& reply) {
  const std::shared_ptr<Portal>& portal = reply.portal;
  const Plan& shape = Shape(portal ? *portal->plan : *reply.plan);
  bool statement = reply.kind == Reply::Kind::statement_described;
  if (frame.type == 't') {
    if (portal) return true;
    const Plan& bound = shape.kind == Plan::Kind::declare ? *shape.inner : shape;
    if (!bound.sealed_parameters.empty()) return WriteParameters(client_->out(), frame.payload, bound);
    client_->out().append(frame.whole);
    return true;
  }
  if (frame.type == 'n') {
    if (reply.show && !reply.rows_only) client_->out().append(frame.whole);
    Pop();
    return true;
  }
  pg::FieldReader fields;
  if (frame.type != 'T' || !pg::ReadRowDescription(frame.payload, &fields)) {
    return false;
  }
  // Second line of defence: what has the gate's own columns is guarded, whatever the plan says.
  if (shape.visible_columns < 0 && HasOwnColumns(fields)) return false;
  bool relayed = shape.visible_columns < 0 && !portal;
  if (relayed || (shape.visible_columns < 0 && !statement && !portal->copy)) {
    if (reply.show) client_->out().append(frame.whole);
    Pop();
    return true;
  }
  std::vector<pg::FieldDescription> shown;
  std::vector<ColumnForm> forms;
  pg::FieldDescription field;
  int columns = shape.visible_columns < 0 ? static_cast<int>(fields.size()) : shape.visible_columns;
  for (int i = 0; i < columns && fields.Next(&field); ++i) {
    // A portal described through its statement has the formats of its Bind.
    if (statement && portal && !portal->formats.empty())
      field.format = FormatOf(portal->formats, static_cast<size_t>(i));
    if (!shape.sealed.empty() && shape.sealed[static_cast<size_t>(i)].cell >= 0) {
      // As it was declared: what PostgreSQL says of it is what it holds.
      const ValueType& type = shape.cells[static_cast<size_t>(shape.sealed[static_cast<size_t>(i)].cell)].type;
      field.type = type.oid;
      field.type_size = SizeOf(type);
      field.modifier = type.modifier;
      field.format = portal ? FormatOf(portal->formats, static_cast<size_t>(i)) : 0;
    }
    forms.push_back({field.type, field.format == 1});
    // A view's oid and column numbers are nothing the client could look up.
    field.table = 0;
    field.column = 0;
    shown.push_back(field);
  }
  if (portal && portal->delivery && !statement) portal->delivery->SetForms(std::move(forms));
  if (portal && portal->copy) {
    WriteCopyStart(client_->out(), *portal->copy, shown);
    Pop();
    return true;
  }
  // A write without RETURNING has rows towards PostgreSQL and none towards the client.
  if (reply.show) {
    bool no_rows = shown.empty() && shape.kind == Plan::Kind::write;
    if (no_rows && !reply.rows_only)
      pg::WriteEmpty(client_->out(), 'n');
    else if (!no_rows)
      pg::WriteRowDescription(client_->out(), shown);
  }
  Pop();
  return true;
}

// What a statement that PostgreSQL has completed means for the session.
void Session::Completed(const Plan& plan, std::string_view tag) {
  switch (plan.kind) {
    case Plan::Kind::begin:
      block_ = true;
      break;
    case Plan::Kind::commit:
    case Plan::Kind::rollback:
      // COMMIT of a failed transaction says ROLLBACK.
      if (tag == "COMMIT")
        settings_.Commit();
      else
        settings_.Rollback();
      EndCursors(tag == "COMMIT");
      DropPortals();
      block_ = false;
      written_in_.reset();
      RefreshContext();
      break;
    case Plan::Kind::savepoint:
      if (tag == "SAVEPOINT")
        settings_.Savepoint(plan.name);
      else if (tag == "RELEASE")
        settings_.Release(plan.name);
      else if (tag == "ROLLBACK")
        settings_.RollbackTo(plan.name);
      RefreshContext();
      break;
    case Plan::Kind::set:
      if (plan.setting.name.starts_with("transaction")) break;  // ends with it
      residue_ = true;
      for (const auto& [name, value] : plan.setting.characteristics) {
        settings_.Set(name, Settings::Value{value, "SET " + name + " TO " + QuoteLiteral(value)}, false);
      }
      if (!plan.setting.characteristics.empty()) break;
      settings_.Set(plan.setting.name,
                    plan.setting.value ? std::optional(Settings::Value{*plan.setting.value, plan.sql}) : std::nullopt,
                    plan.setting.local);
      RefreshContext();
      break;
    case Plan::Kind::reset_all:
      settings_.ResetAll();
      RefreshContext();
      break;
    case Plan::Kind::close:
      if (plan.name.empty())
        cursors_.clear();
      else
        cursors_.erase(plan.name);
      break;
    default:
      break;
  }
}

// A cursor exists: its inner statement decides what its rows tell.
void Session::Declared(Portal& portal) {
  const Plan& plan = *portal.plan;
  Cursor& cursor = cursors_[plan.name] = Cursor();  // nothing of one that a savepoint took back
  cursor.inner = plan.inner;
  cursor.asked = std::move(portal.asked);
  cursor.literals = std::move(portal.literals);
  cursor.lookups = portal.lookups;
  if (!plan.inner->resolve.empty()) cursor.bind = std::move(portal.bind);
  std::string_view head(plan.sql.data(), plan.sql.size() - plan.inner->sql.size());
  cursor.hold = head.ends_with("WITH HOLD FOR ");
  residue_ = residue_ || cursor.hold;
}

// Cursors end with their transaction; those WITH HOLD stay once it is committed.
void Session::EndCursors(bool committed) {
  for (auto it = cursors_.begin(); it != cursors_.end();) {
    Cursor& cursor = it->second;
    cursor.committed = cursor.committed || (committed && cursor.hold);
    it = cursor.committed ? std::next(it) : cursors_.erase(it);
  }
}

// A SET of it changes one of its two parts, or both: only PostgreSQL knows what came of several.
void Session::KeepDateStyle() {
  if (!upstream_ || settings_.Find("datestyle") == nullptr) return;
  const auto& parameters = upstream_->parameters();
  const auto style = parameters.find("DateStyle");
  if (style == parameters.end() || style->second == settings_.Text("datestyle")) return;
  settings_.Set("datestyle", Settings::Value{style->second, "SET datestyle TO " + QuoteLiteral(style->second)}, false);
  settings_.Commit();
}

// ReadyForQuery: the batch is over, and outside a block its transaction with it.
void Session::EndOfBatch(char status) {
  if (status == 'I') {
    if (failed_)
      settings_.Rollback();
    else
      settings_.Commit();
    KeepDateStyle();
    EndCursors(!failed_);
    DropPortals();
    RefreshContext();
  }
  block_ = status != 'I';
  if (status == 'I') {
    touched_ = false;
    written_in_.reset();
  }
  failed_ = poison_ = sent_ = wrote_ = guarded_pending_ = settings_pending_ = cancelled_ = false;
}

}  // namespace ecluse
