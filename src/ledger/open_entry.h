// Opening what an entry seals.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "ledger/entry.h"
#include "ledger/render.h"
#include "vault/keys.h"

namespace ecluse {

// What `sealed`, the member of that name, seals, for an entry of this origin and salt: its `quoted` in the place of
// what that seals, or, where it does not open, of why. Fails where the rest does not open with these keys.
Result<std::string> OpenSealed(std::string_view sealed, const EntryOrigin& origin, std::string_view salt,
                               KeyRing& keys);

// The JSON object an entry seals; empty where it seals nothing. Fails where it does not open with these keys.
Result<std::string> OpenSealed(std::string_view json, KeyRing& keys);

// The day, since 1970, under whose key an entry seals what it seals; nullopt where it seals nothing.
std::optional<int64_t> SealedOnDay(std::string_view json);

// `opened` with every token of its `subjects` replaced by what `name_of` says, where it says something.
std::string WithNames(const std::string& opened,
                      const std::function<std::optional<std::string>(const SubjectToken&)>& name_of);

}  // namespace ecluse
