// The rows of a table on its way: what is made of each is gathered beside it, in batches.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "seal/moving.h"
#include "vault/keys.h"
#include "vault/link.h"
#include "vault/sealed_value.h"

namespace ecluse {

// Not thread-safe; what it is made of must outlive it. `keys` are those of the table's compartment.
class TableSealer {
 public:
  TableSealer(Database& owner, const MovingTable& table, const KeyRing& ring, const CompartmentKeys& keys,
              const SealOptions& options);

  // Gathers what all rows lack that have a value which is not moved yet, from the first on; `done` counts those that
  // were written. `locked`: under the lock of the change, without progress. Refuses values and ids that cannot be
  // sealed, or do not open, with the row's place.
  Status Pass(uint64_t* done, bool locked);

 private:
  Result<std::vector<RowBatches::Written>> Move(const RowBatches& rows, int count) const;
  Result<std::string> Linked(const Moving& column, const std::string& subject, std::string_view place) const;
  Result<std::optional<std::string>> Opened(const Moving& column, const Cell& cell, bool erased,
                                            std::string_view text) const;
  std::unexpected<Error> OfErased(const std::string& column, std::string_view place) const;

  Database& owner_;
  const MovingTable& table_;
  const std::string name_;
  const KeyRing& ring_;
  const CompartmentKeys& keys_;
  const SealOptions& options_;
  std::vector<BlindIndex> indexes_;
  const Links links_;  // of the pseudonyms that are made or opened
};

}  // namespace ecluse
