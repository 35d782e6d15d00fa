// What the parts of sealed.cc share. Internal to plan/.
#pragma once

#include "plan/analyzer.h"
#include "plan/tree.h"

namespace ecluse {

// The type by that name, of those that may be sealed; 0 for others and for names with a modifier.
Oid SealableType(const pgq::TypeName& name);
// A value of type `given` is compared with, and stored in, a column of that type as one of its own.
bool SealedAlike(Oid given, Oid column);
// The constant NULL, whatever it is cast to.
bool IsNullConstant(const pgq::Node& node);

inline constexpr const char* kCrossHint =
    "Join them by AND in ON or WHERE, as a.owner_id = o.owner_id, and compare a column of one of the two tables with a "
    "constant or parameter in the same WHERE: o.owner_id = 42.";

inline constexpr std::string_view kSealedValueHint =
    "Write a constant or a parameter of the column's own type, cast to nothing else; NULL is one too.";

}  // namespace ecluse
