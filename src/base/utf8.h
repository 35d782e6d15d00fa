// UTF-8 as Unicode 15, table 3-7, has it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace ecluse {

struct Utf8Character {
  uint32_t code = 0;  // U+FFFD where the bytes are not well formed
  size_t size = 1;    // bytes read
  bool good = false;
};

// The first character of a text that is not empty.
Utf8Character NextUtf8(std::string_view text);

// How many characters a well-formed text has.
size_t CountUtf8(std::string_view text);

// True where all of `text` is well formed.
bool IsUtf8(std::string_view text);

}  // namespace ecluse
