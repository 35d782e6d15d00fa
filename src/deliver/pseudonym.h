// How a person's pseudonym looks in a column: stable for one role, of the column's own type, and nothing else.
#pragma once

#include <cstdint>
#include <string>

#include "base/result.h"
#include "policy/role_schema.h"

namespace ecluse {

// Appends the value, without its length, of a pseudonym column to `out`: 22 characters of base64url for text types, a
// version 8 uuid (RFC 9562, section 5.8) for uuid, a positive 63-bit number for int8. Fails for any other type: a
// policy that passed Compile() has none.
Status AppendPseudonym(std::string& out, const uint8_t bits[16], Oid type, bool binary);

}  // namespace ecluse
