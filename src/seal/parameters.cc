#include "seal/parameters.h"

#include <fmt/format.h>

#include "base/bytes.h"
#include "base/check.h"
#include "base/limits.h"
#include "execute/values.h"
#include "policy/database.h"
#include "policy/sealed_columns.h"
#include "seal/cell.h"
#include "seal/table_keys.h"
#include "vault/folding.h"

namespace ecluse {
namespace {

using Kind = SealedParameter::Kind;

constexpr Oid kByteaElement = 17;

// array_send of bytea[]: what of the elements is there.
std::string BinaryArray(const std::vector<std::optional<std::string>>& elements) {
  std::string out;
  AppendU32(out, elements.empty() ? 0 : 1);
  AppendU32(out, 1);  // may hold NULL
  AppendU32(out, kByteaElement);
  if (elements.empty()) return out;
  AppendU32(out, static_cast<uint32_t>(elements.size()));
  AppendU32(out, 1);
  for (const auto& element : elements) {
    AppendU32(out, element ? static_cast<uint32_t>(element->size()) : UINT32_MAX);
    if (element) out += *element;
  }
  return out;
}

// The id of a person as a value of theirs is sealed for, as the subject column will hold it. nullopt: it holds none.
Result<std::optional<std::string>> SubjectId(Oid type, std::string_view bytes, bool binary) {
  if (type != type_oid::kInt2 && type != type_oid::kInt4 && type != type_oid::kInt8 && type != type_oid::kNumeric &&
      type != type_oid::kUuid && !IsText(type)) {
    return Fail(sqlstate::kNotSupported, "a sealed value is written for a person whose id has another type",
                "Declare the parameter as the subject column's type, or leave it open.", "seal.subject-type");
  }
  // PostgreSQL may cut spaces from the end of what it stores.
  if (type == type_oid::kVarchar && bytes.ends_with(' ')) return std::nullopt;
  return CanonicalId(type, bytes, binary);
}

// The names that a cell is bound to.
struct Place {
  Place(const Plan& plan, const SealedCell& cell, std::string_view id)
      : table(plan.tables[static_cast<size_t>(cell.table_ref)].table.Text()),
        subject(plan.tables[static_cast<size_t>(cell.table_ref)].space + ":" + std::string(id)),
        own_keys(plan.tables[static_cast<size_t>(cell.table_ref)].own_keys) {}
  // Whose own key has to be among `own`, where the table has such.
  Result<Cell> Of(std::string_view register_name, const SealedCell& cell, const OwnKeys& own) const {
    const Cell of{register_name, table, cell.column, subject, own_keys ? own.Of(subject) : nullptr};
    if (own_keys && of.own == nullptr)
      return Fail(sqlstate::kInternal, "a person's own key was not taken", "Report this.", "seal.own-keys");
    return of;
  }
  std::string table, subject;
  bool own_keys;
};

// One value as it was given.
struct Given {
  std::optional<std::string_view> bytes;
  bool binary = false;
};

// The pseudonym of whom a value names. nullopt: it can be nobody's id.
Result<std::optional<std::string>> PseudonymOf(const Links& links, Oid type, std::string_view bytes, bool binary) {
  ECLUSE_TRY(const auto id, SubjectId(type, bytes, binary));
  if (!id || !MayBeId(*id)) return std::nullopt;
  return links.Of(*id);
}

// What is stored in the place of an id has to be one.
Result<std::string> WrittenPseudonym(const Links& links, const SealedCell& cell, Oid type, std::string_view bytes,
                                     bool binary) {
  ECLUSE_TRY(const std::string text, CanonicalValue({type, -1}, bytes, binary));
  ECLUSE_TRY(const std::string stored, CanonicalValue(cell.type, text, false));
  ECLUSE_TRY(auto made, PseudonymOf(links, cell.type.oid, stored, false));
  if (made) return *std::move(made);
  return Fail(
      "22023", fmt::format("column \"{}\" says whom a row is about, and the value can be nobody's id", cell.column),
      fmt::format("An id has 1 to {} bytes, no space at its end and no control characters.", limits::kSubjectId),
      "seal.subject");
}

class Maker {
 public:
  Maker(const Plan& plan, const BoundValues& values, const KeyRing& ring, std::string_view register_name,
        const LookedUp& looked_up)
      : plan_(plan),
        values_(values),
        ring_(ring),
        keys_(plan, ring, register_name),
        register_(register_name),
        looked_up_(looked_up) {}

  // All at once, before anything is made: a key that is made has to be durable.
  Status TakeOwnKeys() {
    std::vector<std::string> subjects;
    for (const SealedParameter& parameter : plan_.sealed_parameters) {
      if (parameter.kind != Kind::envelope || IsLink(parameter)) continue;
      const SealedCell& cell = plan_.cells[static_cast<size_t>(parameter.cell)];
      const TableRef& table = plan_.tables[static_cast<size_t>(cell.table_ref)];
      if (!table.own_keys || !Value(parameter.value).bytes) continue;
      ECLUSE_TRY(const std::string id, SubjectOf(parameter));
      subjects.push_back(table.space + ":" + id);
    }
    if (!subjects.empty()) {
      ECLUSE_TRY(own_, OwnKeys::Take(ring_, subjects));
    }
    return {};
  }

  Result<std::optional<std::string>> Make(const SealedParameter& parameter) {
    if (parameter.kind == Kind::crossed) return Crossed(parameter);
    const SealedCell& cell = plan_.cells[static_cast<size_t>(parameter.cell)];
    if (parameter.kind == Kind::block && !parameter.written) return Blocks(parameter, cell);
    const Given given = Value(parameter.value);
    if (!given.bytes) return std::nullopt;
    if (parameter.kind == Kind::drawn) return std::string(*given.bytes);
    if (IsLink(parameter)) return Link(parameter, cell, given);
    if (parameter.kind == Kind::envelope) return Envelope(parameter, cell, given);
    if (parameter.kind == Kind::pattern) return Pattern(parameter, cell, *given.bytes);
    if (parameter.value.array) return Array(parameter, cell, given);
    ECLUSE_TRY(std::string text, Searched(parameter.value.type, *given.bytes, given.binary));
    if (parameter.written) {
      ECLUSE_TRY(text, CanonicalValue(cell.type, text, cell.type.oid == type_oid::kBytea));
    }
    return Token(parameter, cell, text);
  }

 private:
  bool IsLink(const SealedParameter& parameter) const {
    return parameter.cell >= 0 && plan_.cells[static_cast<size_t>(parameter.cell)].search.link;
  }

  // What is compared with a pseudonym, or stored as one.
  Result<std::optional<std::string>> Link(const SealedParameter& parameter, const SealedCell& cell,
                                          const Given& given) {
    ECLUSE_TRY(const Links* links, keys_.LinksOf(static_cast<size_t>(cell.table_ref)));
    if (parameter.kind == Kind::envelope)
      return WrittenPseudonym(*links, cell, parameter.value.type, *given.bytes, given.binary);
    // Nobody's id is found nowhere, and is not unknown.
    const auto searched = [&](Oid type, std::string_view bytes) -> Result<std::optional<std::string>> {
      ECLUSE_TRY(const std::string text, Searched(type, bytes, given.binary));
      ECLUSE_TRY(auto made, PseudonymOf(*links, type, text, false));
      return made ? std::move(made) : std::optional(std::string(16, '\0'));
    };
    if (!parameter.value.array) return searched(parameter.value.type, *given.bytes);
    Oid type = parameter.value.type;
    bool null = false;
    ECLUSE_TRY(const auto elements, ArrayElements(*given.bytes, given.binary, &type, &null));
    if (elements.size() > limits::kAskedValues) return TooManyValues();
    std::vector<std::optional<std::string>> made;
    for (const std::string& element : elements) {
      ECLUSE_TRY(made.emplace_back(), searched(type, element));
    }
    if (null) made.emplace_back();
    return BinaryArray(made);
  }

  // Those who were looked up, on one side of the join.
  Result<std::optional<std::string>> Crossed(const SealedParameter& parameter) {
    if (parameter.level >= looked_up_.crossed.size()) return std::nullopt;
    const std::vector<std::string>& ids = looked_up_.crossed[parameter.level];
    if (IsLink(parameter)) {
      const SealedCell& cell = plan_.cells[static_cast<size_t>(parameter.cell)];
      ECLUSE_TRY(const Links* links, keys_.LinksOf(static_cast<size_t>(cell.table_ref)));
      std::vector<std::optional<std::string>> made;
      for (const std::string& id : ids) made.emplace_back(links->Of(id));
      return BinaryArray(made);
    }
    return TextArray(ids);
  }

  static std::unexpected<Error> TooManyValues() {
    return Fail(sqlstate::kTooComplex, fmt::format("a statement searches for at most {} values", limits::kAskedValues),
                "Split the list over several statements.", "seal.values");
  }

  Given Value(const ValueSource& source) const {
    if (source.null) return {};
    if (source.kind == ValueSource::Kind::constant) return {source.constant, false};
    if (source.kind == ValueSource::Kind::drawn)
      return {looked_up_.drawn[static_cast<size_t>(source.parameter)], false};
    const BoundValue& value = values_[static_cast<size_t>(source.parameter - 1)];
    return {value.bytes, value.binary};
  }

  // What is looked for is not measured by the column: a longer text is one that nobody has.
  static Result<std::string> Searched(Oid type, std::string_view bytes, bool binary) {
    return CanonicalValue({type, -1}, bytes, binary);
  }

  Result<std::optional<std::string>> Token(const SealedParameter& parameter, const SealedCell& cell,
                                           std::string_view canonical) {
    const TokenColumn::Kind kind = parameter.kind == Kind::equality ? TokenColumn::Kind::equality
                                   : parameter.kind == Kind::prefix ? TokenColumn::Kind::prefix
                                   : parameter.kind == Kind::block  ? TokenColumn::Kind::block
                                                                    : TokenColumn::Kind::sound;
    ECLUSE_TRY(const BlindIndex index, Index(cell));
    return TokenOf(index, cell.type, cell.search, kind, parameter.level, canonical);
  }

  Result<BlindIndex> Index(const SealedCell& cell) {
    ECLUSE_TRY(const CompartmentKeys* keys, keys_.Of(static_cast<size_t>(cell.table_ref)));
    return BlindIndex(keys->search, register_, cell.column);
  }

  Result<std::optional<std::string>> Array(const SealedParameter& parameter, const SealedCell& cell,
                                           const Given& given) {
    Oid type = parameter.value.type;
    bool null = false;
    ECLUSE_TRY(const auto elements, ArrayElements(*given.bytes, given.binary, &type, &null));
    if (elements.size() > limits::kAskedValues) return TooManyValues();
    std::vector<std::optional<std::string>> tokens;
    for (const std::string& element : elements) {
      ECLUSE_TRY(const std::string text, Searched(type, element, given.binary));
      ECLUSE_TRY(tokens.emplace_back(), Token(parameter, cell, text));
    }
    if (null) tokens.emplace_back();
    return BinaryArray(tokens);
  }

  // One end of what is searched for. nullopt: NULL. `to` is where the steps begin, or end.
  Result<bool> Bound(const SealedParameter& parameter, const SealedCell& cell, const RangeSteps& steps, bool low,
                     int64_t* to) const {
    using Ends = SealedParameter::Bound;
    const Ends end = low ? parameter.low : parameter.high;
    *to = low ? steps.first : steps.last;
    if (end == Ends::none) return true;
    const ValueSource& source = low ? parameter.value : parameter.upper;
    const Given given = Value(source);
    if (!given.bytes) return false;
    ECLUSE_TRY(const std::string text, Searched(source.type, *given.bytes, given.binary));
    bool below = false;
    const auto place = PlaceOf(cell.type, steps, text, &below);
    if (!place) {  // beyond all values but infinity
      *to = below ? steps.first + (low ? 1 : 0) : steps.last - (low ? 0 : 1);
      return true;
    }
    const bool includes = end == Ends::closed;
    // What begins with the value begins with its step, or behind it.
    const bool exact = low == includes ? place->first : place->last;
    if (!exact) {
      return Fail(sqlstate::kNotSupported,
                  fmt::format("column \"{}\" is sealed, and searched between bounds that stand on its steps alone",
                              cell.column),
                  "Round the bounds to the step that the policy gives the column, and write >= and <.", "seal.range");
    }
    *to = place->step + (includes ? 0 : low ? 1 : -1);
    return true;
  }

  // The blocks of a search between bounds. nullopt: NULL.
  Result<std::optional<std::vector<StepBlock>>> Cover(const SealedParameter& parameter, const SealedCell& cell) const {
    const RangeSteps steps = *StepsOf(cell.type, cell.search);
    int64_t first = 0, last = 0;
    ECLUSE_TRY(const bool low, Bound(parameter, cell, steps, true, &first));
    ECLUSE_TRY(const bool high, Bound(parameter, cell, steps, false, &last));
    if (!low || !high) {
      if (parameter.low != SealedParameter::Bound::none && parameter.high != SealedParameter::Bound::none)
        return Fail(sqlstate::kNotSupported, "BETWEEN over a sealed column takes no NULL", "Leave that bound out.",
                    "seal.range");
      return std::nullopt;
    }
    auto blocks = BlocksOf(first, last, steps.levels, limits::kAskedValues);
    CHECK(blocks.has_value());
    return blocks;
  }

  // The tokens of one level. Every level of a search has a parameter of its own, one behind the other.
  Result<std::optional<std::string>> Blocks(const SealedParameter& parameter, const SealedCell& cell) {
    if (parameter.level == 0) {
      ECLUSE_TRY(cover_, Cover(parameter, cell));
      next_level_ = 0;
    }
    CHECK(parameter.level == next_level_++);
    if (!cover_) return std::nullopt;
    ECLUSE_TRY(const BlindIndex index, Index(cell));
    std::vector<std::optional<std::string>> tokens;
    for (const StepBlock& block : *cover_) {
      if (block.level != parameter.level) continue;
      const BlindToken token = index.Block(block.number << block.level, block.level);
      tokens.emplace_back(std::string(reinterpret_cast<const char*>(token.data()), token.size()));
    }
    // What nothing has: an empty array would be false where NULL is unknown.
    if (cover_->empty() && parameter.level == 0) tokens.emplace_back(std::string(16, '\0'));
    return BinaryArray(tokens);
  }

  // Of a LIKE whose pattern came as a parameter: every index has a parameter of its own, and one of them a token.
  Result<std::optional<std::string>> Pattern(const SealedParameter& parameter, const SealedCell& cell,
                                             std::string_view pattern) {
    ECLUSE_TRY(const auto beginning, BeginningOf(pattern));
    const size_t count = beginning ? beginning->characters : 0;
    const bool open = beginning && beginning->open;
    if (!beginning || (open && (count == 0 || count > cell.search.prefix)) || (!open && !cell.search.equality)) {
      return Fail(sqlstate::kNotSupported,
                  fmt::format("column \"{}\" is sealed and found by its first 1 to {} letters", cell.column,
                              cell.search.prefix),
                  "Give a pattern of so many letters and one % behind them.", "seal.pattern");
    }
    if (parameter.level != (open ? count : 0)) return std::string(16, '\0');  // what nothing has
    const SealedParameter asked{open ? Kind::prefix : Kind::equality, parameter.level, parameter.cell, {}, {}};
    return Token(asked, cell, beginning->text);
  }

  Result<std::string> SubjectOf(const SealedParameter& parameter) const {
    std::string id;
    for (size_t i = 0; i < parameter.subject.size(); ++i) {
      const ValueSource& source = parameter.subject[i];
      const Given part = Value(source);
      Oid type = source.type;
      const auto index = static_cast<size_t>(source.parameter - 1);
      if (source.kind == ValueSource::Kind::parameter && index < plan_.parameter_types.size() &&
          plan_.parameter_types[index] != 0 && !IsText(type) && !plan_.withheld.contains(source.parameter)) {
        type = plan_.parameter_types[index];
      }
      std::optional<std::string> text;
      if (part.bytes) {
        ECLUSE_TRY(text, SubjectId(type, *part.bytes, part.binary));
      }
      if (!text) return NoSubject();
      id += (i > 0 ? std::string(1, kSubjectColumnSeparator) : "") + *text;
    }
    return id;
  }

  Result<std::optional<std::string>> Envelope(const SealedParameter& parameter, const SealedCell& cell,
                                              const Given& given) {
    ECLUSE_TRY(const std::string id, SubjectOf(parameter));
    const Place place(plan_, cell, id);
    ECLUSE_TRY(const Cell of, place.Of(register_, cell, own_));
    ECLUSE_TRY(const CompartmentKeys* keys, keys_.Of(static_cast<size_t>(cell.table_ref)));
    return EnvelopeOf(*keys, of, cell.type, parameter.value.type, *given.bytes, given.binary);
  }

  const Plan& plan_;
  const BoundValues& values_;
  const KeyRing& ring_;
  TableKeys keys_;
  std::string_view register_;
  const LookedUp& looked_up_;
  OwnKeys own_;
  std::optional<std::vector<StepBlock>> cover_;  // of the search between bounds that is being made
  unsigned next_level_ = 0;
};

}  // namespace

Result<std::string> SealParameters(const Plan& plan, const pg::BindMessage& message, const KeyRing& keys,
                                   std::string_view register_name, const LookedUp& looked_up) {
  const BoundValues values = ValuesOf(message);
  const auto clients = static_cast<size_t>(plan.client_parameters);
  if (values.size() != clients) {
    return Fail(
        sqlstate::kProtocolViolation,
        fmt::format("bind message supplies {} parameters, but the statement requires {}", values.size(), clients),
        "Bind one value for each parameter.", "seal.parameter-count");
  }
  Maker maker(plan, values, keys, register_name, looked_up);
  ECLUSE_OK(maker.TakeOwnKeys());
  std::vector<int16_t> formats;
  std::vector<std::optional<std::string>> made;
  made.reserve(plan.sealed_parameters.size());
  for (const SealedParameter& parameter : plan.sealed_parameters) {
    ECLUSE_TRY(made.emplace_back(), maker.Make(parameter));
  }
  std::vector<pg::Values::Value> all;
  for (size_t i = 0; i < clients; ++i) {
    const bool withheld = plan.withheld.contains(static_cast<int>(i) + 1);
    formats.push_back(!withheld && values[i].binary ? 1 : 0);
    all.push_back(withheld ? std::nullopt : values[i].bytes);
  }
  for (size_t i = 0; i < made.size(); ++i) {
    const SealedParameter& parameter = plan.sealed_parameters[i];
    const bool ids = parameter.kind == Kind::crossed && parameter.cell < 0;
    formats.push_back(parameter.kind == Kind::drawn || ids ? 0 : 1);
    all.push_back(made[i] ? pg::Values::Value(*made[i]) : std::nullopt);
  }
  std::string out;
  pg::WriteBind(out, {}, {}, formats, all, {});
  return out.substr(5);
}

namespace {

// Of whom a row of COPY is.
Result<std::string> SubjectOfRow(const Plan& plan, const Plan::Copy& copy,
                                 const std::vector<std::optional<std::string>>& row) {
  std::string id;
  for (size_t i = 0; i < copy.subject.size(); ++i) {
    const auto at = static_cast<size_t>(copy.subject[i]);
    std::optional<std::string> text;
    if (at < row.size() && row[at]) {
      const int cell = copy.cells[at];
      const Oid type = cell < 0 ? copy.types[at] : plan.cells[static_cast<size_t>(cell)].type.oid;
      ECLUSE_TRY(text, SubjectId(type, *row[at], false));
    }
    if (!text) return NoSubject();
    id += (i > 0 ? std::string(1, kSubjectColumnSeparator) : "") + *text;
  }
  return id;
}

}  // namespace

Status SealCopyRows(const Plan& plan, const KeyRing& keys, std::string_view register_name,
                    std::span<std::vector<std::optional<std::string>>> rows) {
  const Plan::Copy& copy = *plan.copy;
  const auto table_ref = static_cast<size_t>(plan.cells.at(0).table_ref);  // all cells are of one table
  const TableRef& table = plan.tables[table_ref];
  TableKeys table_keys(plan, keys, register_name);
  ECLUSE_TRY(const CompartmentKeys* compartment, table_keys.Of(table_ref));
  const Links* links = nullptr;
  if (table.linked()) {
    ECLUSE_TRY(links, table_keys.LinksOf(table_ref));
  }
  std::vector<std::string> ids, subjects;
  for (const auto& row : rows) {
    ECLUSE_TRY(ids.emplace_back(), SubjectOfRow(plan, copy, row));
    if (table.own_keys) subjects.push_back(table.space + ":" + ids.back());
  }
  OwnKeys own;
  if (!subjects.empty()) {
    ECLUSE_TRY(own, OwnKeys::Take(keys, subjects));
  }
  for (size_t r = 0; r < rows.size(); ++r) {
    auto& row = rows[r];
    std::vector<std::optional<std::string>> tokens;
    for (size_t i = 0; i < copy.cells.size() && i < row.size(); ++i) {
      if (copy.cells[i] < 0) continue;
      const SealedCell& cell = plan.cells[static_cast<size_t>(copy.cells[i])];
      if (cell.search.link) {
        ECLUSE_TRY(const std::string made, WrittenPseudonym(*links, cell, cell.type.oid, *row[i], false));
        row[i] = ByteaText(made);
        continue;
      }
      const BlindIndex index(compartment->search, register_name, cell.column);
      const Place place(plan, cell, ids[r]);
      ECLUSE_TRY(const Cell of, place.Of(register_name, cell, own));
      ECLUSE_OK(SealText(*compartment, index, of, cell.type, cell.search,
                         TokenColumns(cell.column, cell.type, cell.search), &row[i], &tokens));
    }
    row.insert(row.end(), std::make_move_iterator(tokens.begin()), std::make_move_iterator(tokens.end()));
  }
  return {};
}

}  // namespace ecluse
