// One value of a sealed column: its envelope, its tokens, and back; for statements and for whole tables. Pure: no I/O.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "policy/role_schema.h"
#include "policy/sealed_columns.h"
#include "vault/keys.h"
#include "vault/link.h"
#include "vault/sealed_value.h"

namespace ecluse {

// The keys of a compartment, for one statement or batch; 58030 where the ring holds none.
Result<std::shared_ptr<const CompartmentKeys>> SealingKeys(const KeyRing& keys, std::string_view compartment);

// The id behind a pseudonym of a table in a compartment. 58030 where it does not open, as OpenCell() says it.
Result<std::string> OpenLink(const Links& links, std::string_view table, std::string_view pseudonym);

// People's own keys, of a statement or batch: nobody's where the table has none.
class OwnKeys {
 public:
  // Those of everybody among `subjects` (`space:id`), made where they have none.
  static Result<OwnKeys> Take(const KeyRing& keys, std::span<const std::string> subjects);
  // Those that are there; who was erased is told by Erased().
  static Result<OwnKeys> Find(const KeyRing& keys, std::span<const std::string> subjects);

  const Secret* Of(std::string_view subject) const;
  bool Erased(std::string_view subject) const;

 private:
  struct Key {
    std::string subject;
    Secret key;
    bool erased = false;
  };
  const Key* Find(std::string_view subject) const;
  std::vector<Key> all_;  // by subject
};

// Refuses a value that is written for nobody.
std::unexpected<Error> NoSubject();

// The token of a canonical value.
// 22008: one that is outside of what a range index holds.
Result<std::optional<std::string>> TokenOf(const BlindIndex& index, const ValueType& type, const Sealing& search,
                                           TokenColumn::Kind kind, unsigned level, std::string_view canonical);

// The envelope of a value as it was given, of type `given`, as PostgreSQL would store it in a column of type `stored`.
Result<std::string> EnvelopeOf(const CompartmentKeys& keys, const Cell& cell, const ValueType& stored, Oid given,
                               std::string_view bytes, bool binary);

// What the envelope holds, in canonical form. 58030 where it does not open: it was altered, belongs to another person,
// column or register, is under a key of its person's own that `cell` does not have, or (rule kUnknownKey) its key is
// not among these. The error names the column and the key, and nothing of the value.
Result<std::string> OpenCell(const CompartmentKeys& keys, const Cell& cell, std::string_view envelope);
inline constexpr std::string_view kUnknownKey = "seal.key";

// The same of somebody who was `erased` once: nullopt where it was sealed before.
Result<std::optional<std::string>> OpenLeft(const CompartmentKeys& keys, const Cell& cell, bool erased,
                                            std::string_view envelope);

// An envelope of nothing that nobody can open, in the place of a value of somebody who was erased where there has to be
// one. `cell.own` is of no matter.
std::string NobodysEnvelope(const CompartmentKeys& keys, Cell cell);

// The envelope of a canonical value, opened again to see that it does: for those who put it in the place of the only
// other copy.
Result<std::string> SealCell(const CompartmentKeys& keys, const Cell& cell, std::string_view canonical);

// Puts in the place of a value, text or NULL, its envelope as PostgreSQL would store it in a column of type `type`, and
// appends a token for each of `columns`: all as text of a bytea, NULL for NULL.
Status SealText(const CompartmentKeys& keys, const BlindIndex& index, const Cell& cell, const ValueType& type,
                const Sealing& search, const std::vector<TokenColumn>& columns, std::optional<std::string>* value,
                std::vector<std::optional<std::string>>* tokens);

// Bytes as PostgreSQL prints a bytea.
std::string ByteaText(std::string_view bytes);

}  // namespace ecluse
