// Masks as SQL: what stands in a role's view in place of a column.
#pragma once

#include <expected>
#include <optional>
#include <string>

#include "policy/catalog.h"
#include "policy/policy.h"

namespace ecluse {

// PostgreSQL's oids of the types that masks and subjects are about (catalog/pg_type.dat; fixed for ever).
namespace oid {
inline constexpr Oid kBool = 16, kBytea = 17, kInt8 = 20, kInt2 = 21, kInt4 = 23, kText = 25, kJson = 114,
                     kFloat4 = 700, kFloat8 = 701, kInet = 869, kBpchar = 1042, kVarchar = 1043, kDate = 1082,
                     kTime = 1083, kTimestamp = 1114, kTimestamptz = 1184, kInterval = 1186, kTimetz = 1266,
                     kNumeric = 1700, kUuid = 2950, kJsonb = 3802;
}  // namespace oid

struct MaskedColumn {
  std::string expression;  // over the quoted column name
  Oid type = 0;            // of the expression: the column's own, or what its domain is over
  std::string type_name;
};

// What is wrong with `mask` over a sealed column of that type; nothing where it fits.
std::optional<std::string> SealedMaskMisfit(const std::string& name, const ValueType& type, const Mask& mask);
// The role is shown something that depends on the value, so that its view has the sealed column itself.
bool ShowsSealed(const Mask& mask);
// What stands in the view in place of a sealed column of which nothing is shown.
std::string SealedConstant(const ValueType& type, const Mask& mask);

// The expression of `mask` over `column`, made of immutable functions only, so that no session setting moves what it
// shows. `zone` is the time zone in which timestamps with time zone are cut to years and months. The error says why the
// mask does not fit and which do.
std::expected<MaskedColumn, std::string> MaskColumn(const CatalogColumn& column, const Mask& mask,
                                                    const std::string& zone);

}  // namespace ecluse
