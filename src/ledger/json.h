// Writing canonical JSON (RFC 8785): what the ledger hashes must have one spelling. Members are written by the caller
// in canonical order; these functions write the values.
#pragma once

#include <boost/json/fwd.hpp>
#include <cstdint>
#include <string>
#include <string_view>

namespace ecluse {

// A string literal. Bytes that are not well-formed UTF-8 become U+FFFD: JSON has no way to hold them.
void AppendJsonString(std::string& out, std::string_view text);
// How many bytes AppendJsonString() writes, quotes included.
size_t JsonStringSize(std::string_view text);
// A number; clamped to ±(2^53 - 1), which every reader of JSON keeps exactly.
void AppendJsonInteger(std::string& out, int64_t value);
// The order of member names: by UTF-16 code units (RFC 8785, 3.2.3).
bool JsonNameLess(std::string_view a, std::string_view b);
// The longest start of `text` of at most `bytes` bytes that ends between two characters.
std::string_view CutUtf8(std::string_view text, size_t bytes);

// Of JSON that was parsed: the text that `in` has under `name`; empty where it has none. Points into `in`.
std::string_view TextOf(const boost::json::object& in, std::string_view name);

}  // namespace ecluse
