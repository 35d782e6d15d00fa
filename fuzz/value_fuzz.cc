// Values for sealed columns, any bytes in any form: an answer comes, and what is canonical comes out as it went in. Of
// texts their spelling and their sound. The first byte chooses type, form and modifier.
#include <cstdint>
#include <cstdlib>
#include <iterator>
#include <string>
#include <string_view>

#include "vault/folding.h"
#include "vault/value_form.h"

namespace {

using namespace ecluse;
using namespace ecluse::type_oid;

constexpr uint32_t kTypes[] = {kBool, kBytea,     kInt8,        kInt2,    kInt4, kText, kVarchar,
                               kDate, kTimestamp, kTimestamptz, kNumeric, kUuid, kJsonb};

void Require(bool held) {
  if (!held) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const std::string_view bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
  ValueType type{kTypes[(data[0] & 0x3F) % std::size(kTypes)]};
  if ((data[0] & 0x40) != 0) type.modifier = type.oid == kNumeric ? (6 << 16 | 2) + 4 : type.oid == kVarchar ? 9 : 3;
  const bool binary = (data[0] & 0x80) != 0;
  const auto canonical = CanonicalValue(type, bytes, binary);
  if (canonical) {
    for (const bool sent : {false, true}) {
      const auto form = ValueForm(type, *canonical, sent, {});
      Require(form && CanonicalValue(type, *form, sent) == *canonical);
    }
  }
  const auto folded = Fold(bytes);
  if (folded) Require(Fold(*folded) == *folded);
  if (const auto sound = SoundOf(bytes)) Require(folded.has_value() && sound->size() <= 2 * folded->size() + 8);
  return 0;
}
