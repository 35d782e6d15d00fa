// People's ids in tables of a compartment: pseudonyms that the linking key makes and undoes (docs/vault_format.md,
// Pseudonyms of a compartment).
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/secret.h"

namespace ecluse {

// The pseudonyms of one register's people of one space. Immutable, so safe for any number of threads. OpenSSL's
// contexts with expanded keys live only inside a call.
class Links {
 public:
  // `link` is the compartment's linking key.
  Links(const Secret& link, std::string_view register_name, std::string_view space);

  // AES-256-SIV (RFC 5297) of the id: the same for the same id, at most limits::kSubjectId bytes and no zero byte.
  std::string Of(std::string_view id) const;
  // The id; nullopt where another key, register or space made it, or a byte of it was altered.
  std::optional<std::string> IdOf(std::string_view pseudonym) const;

 private:
  Secret key_;
};

// Ids are padded with zero bytes to a multiple of it, so that a pseudonym does not tell how long a number is.
inline constexpr size_t kLinkBlock = 20;
inline constexpr size_t kLinkTag = 16;

}  // namespace ecluse
