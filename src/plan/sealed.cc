// Sealed columns in a statement: which values the gate takes out of the text, how they were written, and what becomes
// of them: parameters of its own (docs/decisions/sealed-columns.md). Searches: sealed_search.cc; writes:
// sealed_write.cc.
#include <algorithm>

#include "base/limits.h"
#include "plan/sealed_parts.h"
#include "policy/masks.h"

namespace ecluse {
namespace {

// Of pg_type.dat: the array type of each type that may be sealed.
const std::map<Oid, Oid>& Arrays() {
  static const std::map<Oid, Oid> arrays{
      {oid::kBool, 1000},      {oid::kBytea, 1001},       {oid::kInt8, 1016},   {oid::kInt2, 1005}, {oid::kInt4, 1007},
      {oid::kText, 1009},      {oid::kVarchar, 1015},     {oid::kDate, 1182},   {oid::kUuid, 2951}, {oid::kJsonb, 3807},
      {oid::kTimestamp, 1115}, {oid::kTimestamptz, 1185}, {oid::kNumeric, 1231}};
  return arrays;
}

Oid ArrayOf(Oid element) {
  const auto it = Arrays().find(element);
  return it == Arrays().end() ? 0 : it->second;
}

Oid ElementOf(Oid array) {
  const auto it = std::ranges::find(Arrays(), array, &std::pair<const Oid, Oid>::second);
  return it == Arrays().end() ? 0 : it->first;
}

bool Integer(Oid type) { return type == oid::kInt2 || type == oid::kInt4 || type == oid::kInt8; }

// The constant is read as a value of the type, as PostgreSQL would read it there.
bool Reads(const pgq::A_Const& constant, Oid type) {
  switch (constant.val_case()) {
    case pgq::A_Const::kSval:
      return true;
    case pgq::A_Const::kIval:
      return Integer(type) || type == oid::kNumeric;
    case pgq::A_Const::kFval:
      return type == oid::kNumeric ||
             (Integer(type) && constant.fval().fval().find_first_not_of("-0123456789") == std::string::npos);
    case pgq::A_Const::kBoolval:
      return type == oid::kBool;
    default:
      return false;
  }
}

}  // namespace

Oid SealableType(const pgq::TypeName& name) {
  static const std::map<std::string_view, Oid> types{{"text", oid::kText},
                                                     {"varchar", oid::kVarchar},
                                                     {"date", oid::kDate},
                                                     {"timestamp", oid::kTimestamp},
                                                     {"timestamptz", oid::kTimestamptz},
                                                     {"int2", oid::kInt2},
                                                     {"int4", oid::kInt4},
                                                     {"int8", oid::kInt8},
                                                     {"numeric", oid::kNumeric},
                                                     {"bool", oid::kBool},
                                                     {"bytea", oid::kBytea},
                                                     {"jsonb", oid::kJsonb},
                                                     {"uuid", oid::kUuid}};
  const auto parts = NameParts(name.names());
  if (parts.empty() || (parts.size() > 1 && parts.front() != "pg_catalog") || name.typmods_size() > 0) return 0;
  const auto it = types.find(parts.back());
  return it == types.end() ? 0 : it->second;
}

bool SealedAlike(Oid given, Oid column) {
  return given == column || (IsText(given) && IsText(column)) || (Integer(given) && Integer(column)) ||
         (column == oid::kNumeric && Integer(given));
}

bool IsNullConstant(const pgq::Node& node) {
  return node.has_type_cast() ? IsNullConstant(node.type_cast().arg()) : node.has_a_const() && node.a_const().isnull();
}

std::unexpected<Error> Analyzer::RefuseOpaque(const Column& column, int location, std::string_view what,
                                              std::string_view hint) const {
  return Refuse(location, column.sealed ? "plan.sealed" : "plan.pseudonym",
                "column \"" + column.name + "\" is " +
                    (column.sealed ? "sealed" : "shown to this role as a pseudonym") + " and " + std::string(what),
                std::string(hint));
}

const ViewColumn& Analyzer::ViewColumnOf(const Column& column) const {
  const GuardedView& view = *views_[static_cast<size_t>(column.origin->table_ref)];
  return view.columns[static_cast<size_t>(column.origin->column)];
}

void Analyzer::ReplaceTokens(size_t first, size_t last, std::string sql) {
  splices_.Replace(clauses_.tokens()[first].begin, clauses_.tokens()[last].end, std::move(sql));
}

std::pair<size_t, size_t> Analyzer::Widened(std::pair<size_t, size_t> extent) const {
  auto& [first, last] = extent;
  while (first > 0 && clauses_.Symbol(first - 1, "(") && clauses_.Partner(first - 1) == last + 1) {
    --first;
    ++last;
  }
  return extent;
}

int Analyzer::CellOf(int table_ref, const ViewColumn& column) {
  for (size_t i = 0; i < plan_->cells.size(); ++i) {
    if (plan_->cells[i].table_ref == table_ref && plan_->cells[i].column == column.name) return static_cast<int>(i);
  }
  plan_->cells.push_back({table_ref, column.name, column.sealed->type, column.sealed->search});
  return static_cast<int>(plan_->cells.size()) - 1;
}

std::string Analyzer::AddParameter(SealedParameter parameter) {
  plan_->sealed_parameters.push_back(std::move(parameter));
  return "$" + std::to_string(plan_->client_parameters + static_cast<int>(plan_->sealed_parameters.size()));
}

std::optional<ValueSource> Analyzer::SealedValue(const pgq::Node& node, const ValueType& type) {
  if (node.has_type_cast()) {
    const pgq::TypeName& name = node.type_cast().type_name();
    auto value = SealedValue(node.type_cast().arg(), type);
    if (!value || !SealedAlike(SealableType(name), type.oid)) return std::nullopt;
    value->array |= name.array_bounds_size() > 0;
    return value;
  }
  ValueSource value;
  value.type = type.oid;
  if (IsNullConstant(node)) {
    value.null = true;
    return value;
  }
  if (node.has_a_const()) {
    if (!Reads(node.a_const(), type.oid)) return std::nullopt;
    value.constant = ConstantOf(node)->constant;
    // A number is compared as itself, also where the column could not hold it.
    if (!node.a_const().has_sval() && Integer(type.oid)) value.type = oid::kInt8;
    return value;
  }
  if (!node.has_param_ref()) return std::nullopt;
  value.kind = ValueSource::Kind::parameter;
  value.parameter = node.param_ref().number();
  return value;
}

std::optional<std::pair<size_t, size_t>> Analyzer::Extent(const pgq::Node& node) const {
  if (node.has_param_ref() || node.has_a_const()) {
    const int location = node.has_param_ref() ? node.param_ref().location() : node.a_const().location();
    const size_t first = clauses_.TokenAt(static_cast<size_t>(location));
    if (first == Clauses::npos) return std::nullopt;
    size_t last = first;
    while (clauses_.Symbol(last, "-")) ++last;
    if (clauses_.Symbol(last, "(")) return std::nullopt;  // -(5)
    return std::pair{first, last};
  }
  if (!node.has_type_cast()) return std::nullopt;
  auto extent = Extent(node.type_cast().arg());
  if (!extent) return std::nullopt;
  auto& [first, last] = *extent;
  const pgq::TypeName& type = node.type_cast().type_name();
  const size_t named = type.location() < 0 ? Clauses::npos : clauses_.TokenAt(static_cast<size_t>(type.location()));
  if (named == Clauses::npos) return std::nullopt;
  if (named < first) {  // date '2000-01-01'
    first = named;
    return extent;
  }
  while (true) {
    if (clauses_.Symbol(last + 1, "::") && named == last + 2) break;
    if (first < 1 || !clauses_.Symbol(first - 1, "(")) return std::nullopt;
    const size_t close = clauses_.Partner(first - 1);
    if (close == Clauses::npos) return std::nullopt;
    if (first >= 2 && clauses_.Word(first - 2, "cast") && clauses_.Word(last + 1, "as") && named == last + 2) {
      first -= 2;
      last = close;
      return extent;
    }
    if (close != last + 1) return std::nullopt;
    --first;
    ++last;
  }
  // A type's name has several words at times.
  last = named + 2 * static_cast<size_t>(clauses_.Symbol(named + 1, ".") ? 1 : 0);
  static constexpr std::string_view kMore[] = {"varying", "with", "without", "time", "zone"};
  while (true) {
    if (clauses_.Symbol(last + 1, "[")) {
      last = clauses_.Partner(last + 1);
      if (last == Clauses::npos) return std::nullopt;
    } else if (std::ranges::any_of(kMore, [&](std::string_view word) { return clauses_.Word(last + 1, word); })) {
      ++last;
    } else {
      return extent;
    }
  }
}

// Which of the visible columns are opened, and for whom their values were sealed.
Status Analyzer::FollowSealed(const Output& output) {
  for (size_t i = 0; i < output.columns.size(); ++i) {
    const Column& column = output.columns[i];
    if (!column.sealed) continue;
    if (column.origin && !ViewColumnOf(column).sealed->stands) continue;  // what the mask shows of any value
    int hidden = -1;
    for (size_t h = 0; column.origin && h < output.hidden.size(); ++h) {
      if (output.hidden[h].node == column.origin->node) hidden = static_cast<int>(h);
    }
    if (hidden < 0) return RefuseOpaque(column, -1, "cannot be followed to its table", "Select the column itself.");
    plan_->sealed.resize(output.columns.size());
    const ViewColumn& own = ViewColumnOf(column);
    plan_->sealed[i] = {CellOf(column.origin->table_ref, own), hidden, own.mask};
  }
  return {};
}

// The client's parameters that became the gate's are read by nobody else, and as one type.
Status Analyzer::FinishSealed() {
  if (!crosses_.empty()) {
    return Refuse(crosses_.front().expr->location(), "plan.compartment",
                  "tables of different compartments are joined in ON and WHERE alone",
                  "Write the comparison there, by AND.");
  }
  if (plan_->sealed_parameters.empty()) return {};
  if (static_cast<size_t>(plan_->client_parameters) + plan_->sealed_parameters.size() > limits::kParameters) {
    auto error = Fail(sqlstate::kTooComplex,
                      "the values of this statement for sealed columns, with their tokens, are more than " +
                          std::to_string(limits::kParameters) + " parameters",
                      "Send fewer rows or conditions in one statement.", "plan.too-complex");
    return error;
  }
  const auto withhold = [&](const ValueSource& value) -> Status {
    if (value.kind != ValueSource::Kind::parameter) return {};
    const Oid type = value.array ? ArrayOf(value.type) : value.type;
    const auto index = static_cast<size_t>(value.parameter - 1);
    const Oid declared = index < plan_->parameter_types.size() ? plan_->parameter_types[index] : 0;
    const auto [known, added] = plan_->withheld.emplace(value.parameter, type);
    const bool fits =
        declared == 0 || (value.array ? SealedAlike(ElementOf(declared), value.type) : SealedAlike(declared, type));
    const bool plain = plain_parameters_.contains(value.parameter);
    if (!plain && known->second == type && fits) return {};
    return Refuse(-1, "plan.sealed-parameter",
                  "parameter $" + std::to_string(value.parameter) +
                      (plain                   ? " is used for a sealed column and for something else"
                       : known->second != type ? " is used for sealed columns of two types"
                                               : " has another type than the sealed column it is used for"),
                  "Give each use a parameter of its own, and leave its type to the column.");
  };
  for (SealedParameter& parameter : plan_->sealed_parameters) {
    for (ValueSource* value : {&parameter.value, &parameter.upper}) {
      ECLUSE_OK(withhold(*value));
      // What the client declares is how it is read.
      const auto index = static_cast<size_t>(value->parameter - 1);
      if (value->kind != ValueSource::Kind::parameter || value->array || index >= plan_->parameter_types.size())
        continue;
      const Oid declared = plan_->parameter_types[index];
      if (declared != 0) value->type = declared;
    }
  }
  // Whom they name is read as the client gives it.
  const auto read = [&](ValueSource& value) {
    const auto index = static_cast<size_t>(value.parameter - 1);
    if (value.kind != ValueSource::Kind::parameter || !plan_->withheld.contains(value.parameter)) return;
    const Oid declared = index < plan_->parameter_types.size() ? plan_->parameter_types[index] : 0;
    if (declared != 0) value.type = value.array ? ElementOf(declared) : declared;
  };
  for (Asked& asked : plan_->asked) std::ranges::for_each(asked.values, read);
  for (SealedParameter& parameter : plan_->sealed_parameters) std::ranges::for_each(parameter.subject, read);
  plan_->parameter_types.resize(static_cast<size_t>(plan_->client_parameters), 0);
  for (const auto& [number, type] : plan_->withheld)
    plan_->parameter_types[static_cast<size_t>(number - 1)] = oid::kText;
  for (const SealedParameter& parameter : plan_->sealed_parameters) {
    if (parameter.kind == SealedParameter::Kind::drawn) {
      plan_->parameter_types.push_back(parameter.value.type);
      continue;
    }
    if (parameter.kind == SealedParameter::Kind::crossed) {  // cast where it stands
      plan_->parameter_types.push_back(0);
      continue;
    }
    const bool array = parameter.value.array || (parameter.kind == SealedParameter::Kind::block && !parameter.written);
    plan_->parameter_types.push_back(array ? ArrayOf(oid::kBytea) : oid::kBytea);
  }
  return {};
}

}  // namespace ecluse
