// What the parts of sealed.cc share. Internal to plan/.
#pragma once

#include "plan/analyzer.h"

namespace ecluse {

// The type by that name, of those that may be sealed; 0 for others and for names with a modifier.
Oid SealableType(const pgq::TypeName& name);
// A value of type `given` is compared with, and stored in, a column of that type as one of its own.
bool SealedAlike(Oid given, Oid column);
// The constant NULL, whatever it is cast to.
bool IsNullConstant(const pgq::Node& node);
// Where some part of it stands in the text; -1 where the tree does not say.
int AnyLocation(const google::protobuf::Message& message);

inline constexpr std::string_view kSealedValueHint =
    "Write a constant or a parameter of the column's own type, cast to nothing else; NULL is one too.";

}  // namespace ecluse
