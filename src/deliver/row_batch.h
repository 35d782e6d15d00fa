// Rows on their way to a client, held until the entry that tells of them is durable: what the client may see of each,
// and whom each is about. Pure: no I/O, no counting.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"
#include "ledger/entry.h"
#include "plan/plan.h"
#include "seal/table_keys.h"
#include "vault/keys.h"
#include "vault/value_form.h"
#include "vault/value_keys.h"

namespace ecluse {

// The type and format in which one visible column leaves; needed only where it holds pseudonyms.
struct ColumnForm {
  Oid type = 0;
  bool binary = false;
};

// How opened values leave, and what their masks go by; needed only where plan.sealed is not empty.
struct SealedForms {
  std::string zone;  // of the role's masks
  TimeStyle style;
  std::vector<bool> binary;  // for each visible column, as the client asked
};

class RowBatch {
 public:
  // A person in a row. The id is at [id_offset, id_offset + id_size) of ids().
  struct Person {
    int table_ref = 0;
    uint32_t hidden = 0;  // which of plan.hidden
    uint32_t id_offset = 0;
    uint32_t id_size = 0;
  };
  // Ranges into bytes(), people() and keys(), the latter two in parallel.
  struct Row {
    size_t begin = 0, end = 0;
    uint32_t first_person = 0, last_person = 0;  // half-open
    bool enough_bits = true;                     // every `spread` has plan.min_subjects bits
    bool enough_people = true;                   // every `subjects` and `people` counts plan.min_subjects
  };

  // `plan` and `keys` must outlive the batch. `role` names whose pseudonyms are made.
  RowBatch(const Plan& plan, const KeyRing& keys, std::string_view register_name, std::string_view role)
      : plan_(&plan), keys_(&keys), register_(register_name), role_(role), table_keys_(plan, keys, register_name) {}

  // Takes the payload of one DataRow whose last plan.hidden.size() columns are the hidden ones, in text. `forms` has
  // one element for each visible column, or none where plan.pseudonym is empty. With `visible` false nothing is kept
  // but the people: rows that are charged and swallowed. An Error means the row is not what the plan promised: nothing
  // of the result may be released any more.
  Status Add(std::string_view payload, const std::vector<ColumnForm>& forms, bool visible = true);

  void SetSealedForms(SealedForms forms);

  const std::vector<Row>& rows() const { return rows_; }
  const std::vector<Person>& people() const { return people_; }
  const std::vector<SubjectKey>& keys() const { return subject_keys_; }
  std::string_view id(const Person& person) const { return {ids_.data() + person.id_offset, person.id_size}; }
  // DataRow messages of the visible columns, one for each row that is shown, in order.
  std::string_view bytes() const { return bytes_; }
  // What the batch holds in memory, near enough to bound it.
  size_t size() const { return bytes_.size() + ids_.size() + people_.size() * (sizeof(Person) + sizeof(SubjectKey)); }
  bool empty() const { return rows_.empty(); }
  // True once enough is held for one ledger entry (limits::kReleaseBatchRows, kReleaseBatchBytes).
  bool full() const;
  void Clear();

 private:
  Status AddPeople(uint32_t hidden, std::string_view joined, uint32_t* count);
  // Of an id that stands in one form, in its type's text or binary form.
  Status AddPseudonym(int table_ref, std::string_view value, const ColumnForm& form, bool binary);
  Status AddOpened(size_t column);
  Status AddMasked(size_t column, std::string_view canonical);
  Status AddLinked(size_t column);
  Result<const ValueKeys::Found*> OwnKeyOf(std::string_view space, std::string_view id);

  const Plan* plan_;
  const KeyRing* keys_;
  std::string register_, role_;
  TableKeys table_keys_;
  SealedForms sealed_forms_;
  std::vector<std::string> table_names_;                 // `schema.table` of each of plan.tables
  std::vector<std::optional<std::string_view>> values_;  // of the row that is being added
  std::string person_;                                   // `space:id`, reused from value to value
  std::optional<KeyedSubject> own_of_;                   // whose key `own_` is, from value to value
  ValueKeys::Found own_;
  std::vector<Row> rows_;
  std::vector<Person> people_;
  std::vector<SubjectKey> subject_keys_;
  std::string ids_, bytes_;
};

}  // namespace ecluse
