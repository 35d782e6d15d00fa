// Who is asking: the same type for every door and every kind of credential.
#pragma once

#include <set>
#include <string>

namespace ecluse {

struct Principal {
  std::string name;  // the account
  std::string organisation;
  std::set<std::string> roles;
  std::string default_role;  // the role a session starts in
  std::string credential;    // what it was authenticated against: the StoredKey of RFC 5802
};

}  // namespace ecluse
