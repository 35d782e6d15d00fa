#include "deliver/pseudonym.h"

#include <array>
#include <cstring>

#include "base/bytes.h"

namespace ecluse {

Status AppendPseudonym(std::string& out, const uint8_t bits[16], Oid type, bool binary) {
  constexpr Oid kInt8 = 20, kText = 25, kVarchar = 1043, kUuid = 2950;
  switch (type) {
    case kText:
    case kVarchar:
      out += Base64UrlEncode(std::span(bits, 16));
      return {};
    case kInt8: {
      uint64_t value = LoadU64(reinterpret_cast<const char*>(bits)) & 0x7fff'ffff'ffff'ffffULL;
      if (binary)
        AppendU64(out, value);
      else
        out += std::to_string(value);
      return {};
    }
    case kUuid: {
      std::array<uint8_t, 16> uuid;
      std::memcpy(uuid.data(), bits, 16);
      uuid[6] = static_cast<uint8_t>((uuid[6] & 0x0f) | 0x80);
      uuid[8] = static_cast<uint8_t>((uuid[8] & 0x3f) | 0x80);
      if (binary) {
        out.append(reinterpret_cast<const char*>(uuid.data()), 16);
        return {};
      }
      std::string hex = HexEncode(uuid);
      for (size_t at : {20, 16, 12, 8}) hex.insert(at, 1, '-');
      out += hex;
      return {};
    }
    default:
      return Fail(sqlstate::kInternal, "a pseudonym cannot be put into a column of this type",
                  "Give the column the mask clear or hidden, and run `ecluse apply` again.", "deliver.pseudonym-type",
                  "type oid " + std::to_string(type));
  }
}

}  // namespace ecluse
