// What the verifier knows of the parse tree: each kind of node, and of each the fields that may be set.
#pragma once

#include <string_view>

namespace ecluse {

// True for a kind that may stand in a statement; `Node` is known as the wrapper of all others.
bool KnownKind(std::string_view kind);
// True for a field of such a kind whose meaning the planner has looked at. A field that is set and not known refuses
// the statement: nothing in a tree may be passed on unread.
bool KnownField(std::string_view kind, std::string_view field);

}  // namespace ecluse
