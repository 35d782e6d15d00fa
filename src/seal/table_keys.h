// What the tables of one statement are sealed under, taken when it is first needed; and whom their rows name.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"
#include "plan/plan.h"
#include "vault/keys.h"
#include "vault/link.h"

namespace ecluse {

// Of one statement or batch, on one thread. The plan and the ring must outlive it. Tables are indices into
// Plan::tables.
class TableKeys {
 public:
  TableKeys(const Plan& plan, const KeyRing& keys, std::string_view register_name)
      : plan_(&plan), keys_(&keys), register_(register_name), of_(plan.tables.size()) {}

  // Both live until the next call of Renew() or Clear(). 58030 as SealingKeys() says it.
  Result<const CompartmentKeys*> Of(size_t table);
  Result<const Links*> LinksOf(size_t table);
  // What the ring holds by now: keys may be newer.
  Result<const CompartmentKeys*> Renew(size_t table);
  void Clear();

  // Whom a `__subject` of the table names: itself, or, where the table's people are linked(), the id behind the
  // pseudonym that it is in hexadecimal digits. 58030 as OpenLink() says it, also for other text. Lives as long as
  // `subject`, and no longer than until the next call. Rows of one person that follow one another are opened once.
  Result<std::string_view> IdOf(size_t table, std::string_view subject);

 private:
  struct Taken {
    std::shared_ptr<const CompartmentKeys> keys;
    std::optional<Links> links;
  };
  const Plan* plan_;
  const KeyRing* keys_;
  std::string register_;
  std::vector<Taken> of_;
  size_t opened_table_ = 0;
  std::string opened_of_, opened_;  // the pseudonym that was opened last, and its id
};

}  // namespace ecluse
