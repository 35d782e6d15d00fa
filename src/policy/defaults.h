// What holds where a policy says nothing.
#pragma once

#include <string>

namespace ecluse {

// As a piece of YAML with comments, for `ecluse check --defaults`. Valid by itself inside a policy.
std::string PolicyDefaults();

}  // namespace ecluse
