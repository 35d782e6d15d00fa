#include "deliver/row_batch.h"

#include <algorithm>
#include <bit>
#include <charconv>

#include "base/bytes.h"
#include "base/limits.h"
#include "deliver/pseudonym.h"
#include "execute/values.h"
#include "pgwire/codec.h"
#include "seal/cell.h"
#include "seal/mask.h"

namespace ecluse {
namespace {

std::unexpected<Error> NotAsPlanned(std::string detail) {
  return Fail(sqlstate::kInternal, "the answer cannot be tied to the people it tells about, so it is not released",
              "Report this statement to whoever runs the gate: its log says what was missing.",
              "deliver.not-as-planned", std::move(detail));
}

Result<int64_t> HiddenNumber(pg::Values::Value value) {
  if (!value) return 0;
  int64_t number = 0;
  auto [end, error] = std::from_chars(value->data(), value->data() + value->size(), number);
  if (error != std::errc() || end != value->data() + value->size()) return NotAsPlanned("a hidden count is no number");
  return number;
}

}  // namespace

void RowBatch::SetSealedForms(SealedForms forms) {
  sealed_forms_ = std::move(forms);
  table_names_.clear();
  for (const TableRef& table : plan_->tables) table_names_.push_back(table.table.Text());
}

bool RowBatch::full() const {
  return rows_.size() >= limits::kReleaseBatchRows || size() >= limits::kReleaseBatchBytes;
}

void RowBatch::Clear() {
  rows_.clear();
  people_.clear();
  subject_keys_.clear();
  ids_.clear();
  bytes_.clear();
  table_keys_.Clear();
  own_of_.reset();
  own_ = {};
}

Status RowBatch::AddPeople(uint32_t hidden, std::string_view joined, uint32_t* count) {
  const int table_ref = plan_->hidden[hidden].table_ref;
  if (table_ref < 0 || static_cast<size_t>(table_ref) >= plan_->tables.size())
    return NotAsPlanned("a hidden column of no table");
  const std::string& space = plan_->tables[static_cast<size_t>(table_ref)].space;
  *count = 0;
  while (true) {
    size_t end = std::min(joined.find(kSubjectSeparator), joined.size());
    ECLUSE_TRY(const std::string_view id, table_keys_.IdOf(static_cast<size_t>(table_ref), joined.substr(0, end)));
    // An id that is empty or too long cannot have come from a view that `apply` made.
    if (id.empty() || id.size() > limits::kSubjectId) return NotAsPlanned("an identifier is empty or too long");
    if (++*count > limits::kSubjectsPerRow) return NotAsPlanned("one row tells about too many people");
    Person person{table_ref, hidden, static_cast<uint32_t>(ids_.size()), static_cast<uint32_t>(id.size())};
    ids_.append(id);
    people_.push_back(person);
    keys_->SubjectKey(space, id, subject_keys_.emplace_back().data());
    if (end == joined.size()) return {};
    joined.remove_prefix(end + 1);
  }
}

Status RowBatch::AddPseudonym(int table_ref, std::string_view value, const ColumnForm& form, bool binary) {
  ECLUSE_TRY(std::optional<std::string> id, CanonicalId(form.type, value, form.binary));
  if (!id) return NotAsPlanned("a pseudonym column holds no identifier");
  uint8_t bits[16];
  keys_->Pseudonym(role_, plan_->tables.at(static_cast<size_t>(table_ref)).space, *id, bits);
  size_t start = bytes_.size();
  bytes_.append(4, '\0');
  ECLUSE_OK(AppendPseudonym(bytes_, bits, form.type, binary));
  StoreU32(bytes_.data() + start, static_cast<uint32_t>(bytes_.size() - start - 4));
  return {};
}

// Rows of one person follow one another, and their columns do.
Result<const ValueKeys::Found*> RowBatch::OwnKeyOf(std::string_view space, std::string_view id) {
  KeyedSubject person;
  keys_->SubjectKey(space, id, person.data());
  if (own_of_ == person) return &own_;
  if (keys_->value_keys() == nullptr) return NotAsPlanned("nobody keeps the keys of people's values");
  own_of_.reset();
  ECLUSE_TRY(auto found, keys_->value_keys()->Find({&person, 1}));
  own_ = std::move(found[0]);
  own_of_ = person;
  return &own_;
}

// The id behind a pseudonym of a compartment. Mostly it is the row's own, which its people are read from as well.
Status RowBatch::AddLinked(size_t column) {
  const SealedOutput& output = plan_->sealed[column];
  const SealedCell& cell = plan_->cells[static_cast<size_t>(output.cell)];
  const std::string subject = HexEncode(AsBytes(*values_[column]));
  ECLUSE_TRY(const std::string_view id, table_keys_.IdOf(static_cast<size_t>(cell.table_ref), subject));
  if (output.mask.kind == Mask::Kind::pseudonym)
    return AddPseudonym(cell.table_ref, id, {cell.type.oid, false}, sealed_forms_.binary[column]);
  return AddMasked(column, id);
}

// Opened for the person that the row's own hidden column names, masked, and in the form the client asked for.
Status RowBatch::AddOpened(size_t column) {
  const SealedOutput& output = plan_->sealed[column];
  const SealedCell& cell = plan_->cells[static_cast<size_t>(output.cell)];
  const auto table = static_cast<size_t>(cell.table_ref);
  if (column >= sealed_forms_.binary.size()) return NotAsPlanned("a sealed column of unknown form");
  if (cell.search.link) return AddLinked(column);
  const auto& subject = values_[static_cast<size_t>(plan_->visible_columns + output.hidden)];
  if (!subject || subject->empty() || subject->contains(kSubjectSeparator))
    return NotAsPlanned("a sealed value of nobody, or of several people");
  ECLUSE_TRY(const CompartmentKeys* keys, table_keys_.Of(table));
  ECLUSE_TRY(const std::string_view of, table_keys_.IdOf(table, *subject));
  person_.assign(plan_->tables[table].space).append(":").append(of);
  Cell place{register_, table_names_[table], cell.column, person_};
  bool erased = false;
  if (UnderOwnKey(*values_[column])) {
    ECLUSE_TRY(const ValueKeys::Found* own, OwnKeyOf(plan_->tables[table].space, of));
    erased = own->erased;
    if (!own->key.empty()) place.own = &own->key;
  }
  auto canonical = OpenLeft(*keys, place, erased, *values_[column]);
  if (!canonical && canonical.error().rule == kUnknownKey) {  // the key may be newer than the batch
    ECLUSE_TRY(keys, table_keys_.Renew(table));
    canonical = OpenLeft(*keys, place, erased, *values_[column]);
  }
  if (!canonical) return std::unexpected(std::move(canonical).error());
  if (!*canonical) {  // what is left of somebody who was erased shows nothing
    AppendU32(bytes_, UINT32_MAX);
    return {};
  }
  return AddMasked(column, **canonical);
}

Status RowBatch::AddMasked(size_t column, std::string_view canonical) {
  const SealedOutput& output = plan_->sealed[column];
  const SealedCell& cell = plan_->cells[static_cast<size_t>(output.cell)];
  const auto masked = MaskedValue(cell.type, canonical, output.mask, sealed_forms_.zone);
  if (!masked) {
    AppendU32(bytes_, UINT32_MAX);
    return {};
  }
  ECLUSE_TRY(const std::string form, ValueForm(cell.type, *masked, sealed_forms_.binary[column], sealed_forms_.style));
  AppendU32(bytes_, static_cast<uint32_t>(form.size()));
  bytes_ += form;
  return {};
}

Status RowBatch::Add(std::string_view payload, const std::vector<ColumnForm>& forms, bool visible) {
  pg::Values values;
  if (!pg::ReadDataRow(payload, &values)) return NotAsPlanned("a malformed row");
  size_t shown = static_cast<size_t>(plan_->visible_columns);
  if (values.size() != shown + plan_->hidden.size()) return NotAsPlanned("a row of another width");
  Row row;
  row.begin = bytes_.size();
  row.first_person = static_cast<uint32_t>(people_.size());
  auto value = values.begin();
  const char* first_value = values.bytes().data();
  const bool opened = visible && !plan_->sealed.empty();
  bool replaced = !plan_->pseudonym.empty() || opened;
  if (opened) values_.assign(values.begin(), values.end());
  if (visible) {
    bytes_.push_back('D');
    bytes_.append(4, '\0');
    AppendU16(bytes_, static_cast<uint16_t>(shown));
  }
  const char* end_of_shown = first_value;
  for (size_t i = 0; i < shown; ++i, ++value) {
    pg::Values::Value v = *value;
    end_of_shown += 4 + (v ? v->size() : 0);
    if (!visible || !replaced) continue;
    if (!v)
      AppendU32(bytes_, UINT32_MAX);
    else if (opened && plan_->sealed[i].cell >= 0) {
      ECLUSE_OK(AddOpened(i));
    } else if (!plan_->pseudonym.empty() && plan_->pseudonym[i] >= 0) {
      if (i >= forms.size()) return NotAsPlanned("a pseudonym column of unknown type");
      ECLUSE_OK(AddPseudonym(plan_->pseudonym[i], *v, forms[i], forms[i].binary));
    } else {
      AppendU32(bytes_, static_cast<uint32_t>(v->size()));
      bytes_.append(*v);
    }
  }
  if (visible) {
    if (!replaced) bytes_.append(first_value, end_of_shown);
    StoreU32(bytes_.data() + row.begin + 1, static_cast<uint32_t>(bytes_.size() - row.begin - 1));
  }
  for (uint32_t h = 0; h < plan_->hidden.size(); ++h) {
    const HiddenColumn& hidden = plan_->hidden[h];
    pg::Values::Value v = *value;
    ++value;
    if (hidden.kind == HiddenColumn::Kind::subjects) {
      uint32_t count = 0;
      if (v && !v->empty()) ECLUSE_OK(AddPeople(h, *v, &count));
      if (count < plan_->min_subjects) row.enough_people = false;
      continue;
    }
    ECLUSE_TRY(int64_t number, HiddenNumber(v));
    if (hidden.kind == HiddenColumn::Kind::spread) {
      if (std::popcount(static_cast<uint64_t>(number)) < plan_->min_subjects) row.enough_bits = false;
    } else if (number < plan_->min_subjects) {
      row.enough_people = false;
    }
  }
  row.end = bytes_.size();
  row.last_person = static_cast<uint32_t>(people_.size());
  rows_.push_back(row);
  return {};
}

}  // namespace ecluse
