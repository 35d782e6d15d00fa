// The words the demonstration register is made of. None of them belongs to a real person or place.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace ecluse::demo {

struct Offence {
  std::string_view code;  // of a nomenclature that does not exist
  std::string_view label;
  std::string_view kind;  // crime, délit, contravention
  int max_months;         // of prison
};

std::span<const Offence> Offences();

// Given names as people of that sex ('F' or 'M') bear them.
std::span<const std::string_view> GivenNames(char sex);

// Invented: syllables put together. The same number always gives the same; numbers below FamilyNames() all differ.
size_t FamilyNames();
std::string FamilyName(size_t number);

size_t Towns();
std::string TownName(size_t number);    // all differ below Towns()
std::string TownCode(size_t number);    // five digits that no commune bears
std::string Department(size_t number);  // "D01" to "D20"

std::string_view Street(uint64_t number);
std::string_view Service(uint64_t number);
std::string_view Camera(uint64_t number);

}  // namespace ecluse::demo
