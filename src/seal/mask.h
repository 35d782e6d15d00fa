// Masks of sealed columns, which the gate applies to what it has opened: the database, which applies all others, sees
// no value of them.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "policy/policy.h"
#include "vault/value_form.h"

namespace ecluse {

// What a role sees of `canonical` under `mask`, in canonical form: the same as policy/masks.h has the database make of
// it. nullopt: NULL. `zone` is where timestamps with time zone are cut to years and months, as ICU names it. The mask
// fits the type (SealedMaskMisfit).
std::optional<std::string> MaskedValue(const ValueType& type, std::string_view canonical, const Mask& mask,
                                       const std::string& zone);

}  // namespace ecluse
