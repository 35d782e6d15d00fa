#include "policy/masks.h"

#include "policy/database.h"
#include "policy/sealed_columns.h"

namespace ecluse {
namespace {

bool IsString(Oid type) { return type == oid::kText || type == oid::kVarchar || type == oid::kBpchar; }

// The constant a redacted column shows; empty where the type has none.
std::string Constant(const CatalogColumn& column) {
  if (column.category == 'A') return "'{}'";
  switch (column.base_type) {
    case oid::kText:
    case oid::kVarchar:
    case oid::kBpchar:
      return "'redacted'";
    case oid::kInt2:
    case oid::kInt4:
    case oid::kInt8:
    case oid::kNumeric:
    case oid::kFloat4:
    case oid::kFloat8:
      return "0";
    case oid::kBool:
      return "false";
    case oid::kBytea:
      return "''";
    case oid::kDate:
      return "'1900-01-01'";
    case oid::kTimestamp:
      return "'1900-01-01 00:00:00'";
    case oid::kTimestamptz:
      return "'1900-01-01 00:00:00+00'";
    case oid::kTime:
      return "'00:00:00'";
    case oid::kTimetz:
      return "'00:00:00+00'";
    case oid::kInterval:
      return "'0'";
    case oid::kUuid:
      return "'00000000-0000-0000-0000-000000000000'";
    case oid::kJson:
    case oid::kJsonb:
      return "'null'";
    case oid::kInet:
      return "'0.0.0.0'";
    default:
      return "";
  }
}

// Cut in numeric, which neither overflows nor rounds, and held at the type's least value.
std::string Rounded(const CatalogColumn& column, int64_t step, const std::string& name) {
  const std::string n = std::to_string(step);
  const std::string exact = name + "::numeric - mod(mod(" + name + "::numeric, " + n + ") + " + n + ", " + n + ")";
  // greatest() takes NULL for nothing.
  auto least = [&](const std::string& bound) {
    return "CASE WHEN " + name + " IS NOT NULL THEN greatest(" + exact + ", " + bound + ") END";
  };
  switch (column.base_type) {
    case oid::kInt2:
      return least("-32768");
    case oid::kInt4:
      return least("-2147483648");
    case oid::kInt8:
      return least("-9223372036854775808");
    case oid::kNumeric:
      return "trim_scale(" + exact + ")";  // the digits behind the point would tell
    case oid::kFloat4:
    case oid::kFloat8:
      return "(floor(" + name + "::double precision / " + n + ") * " + n + " + 0)::" + column.base_type_name;  // not -0
    default:
      return "";
  }
}

std::string Truncated(const CatalogColumn& column, const std::string& unit, const std::string& zone,
                      const std::string& name) {
  switch (column.base_type) {
    case oid::kDate:
      // Beyond what a timestamp holds there is nothing to cut with: NULL rather than an error that tells of the row.
      return "CASE WHEN " + name + " BETWEEN '4713-01-01 BC'::date AND '294276-12-31'::date OR NOT isfinite(" + name +
             ") THEN date_trunc('" + unit + "', " + name + "::timestamp without time zone)::date END";
    case oid::kTimestamp:
      return "CASE WHEN " + name + " >= '4713-01-01 BC'::timestamp without time zone OR NOT isfinite(" + name +
             ") THEN date_trunc('" + unit + "', " + name + ") END";
    case oid::kTimestamptz:
      return "CASE WHEN " + name +
             " BETWEEN '4713-01-03 00:00:00+00 BC'::timestamp with time zone AND '294276-12-29 00:00:00+00'::timestamp "
             "with time zone OR NOT isfinite(" +
             name + ") THEN timezone(" + QuoteText(zone) + ", date_trunc('" + unit + "', timezone(" + QuoteText(zone) +
             ", " + name + "))) END";
    default:
      return "";
  }
}

}  // namespace

bool ShowsSealed(const Mask& mask) { return mask.kind != Mask::Kind::hidden && mask.kind != Mask::Kind::redacted; }

std::optional<std::string> SealedMaskMisfit(const std::string& name, const ValueType& type, const Mask& mask) {
  CatalogColumn declared;
  declared.name = name;
  declared.type = declared.base_type = type.oid;
  declared.type_name = declared.base_type_name = TypeText(type);
  auto masked = MaskColumn(declared, mask, "UTC");
  return masked ? std::nullopt : std::optional(masked.error());
}

std::string SealedConstant(const ValueType& type, const Mask& mask) {
  CatalogColumn declared;
  declared.base_type = type.oid;
  const std::string constant = mask.kind == Mask::Kind::redacted ? Constant(declared) : "NULL";
  return "(" + constant + ")::" + TypeText(type);
}

std::expected<MaskedColumn, std::string> MaskColumn(const CatalogColumn& column, const Mask& mask,
                                                    const std::string& zone) {
  const std::string quoted = QuoteName(column.name);
  const std::string name = column.type == column.base_type ? quoted : "(" + quoted + "::" + column.base_type_name + ")";
  auto base = [&](std::string expression) {
    return MaskedColumn{"(" + std::move(expression) + ")::" + column.base_type_name, column.base_type,
                        column.base_type_name};
  };
  auto misfit = [&](std::string_view fits) {
    return std::unexpected(column.name + " is " + column.type_name + ", which the mask " + mask.Text() +
                           " does not fit; it is for " + std::string(fits));
  };
  switch (mask.kind) {
    case Mask::Kind::clear:
      return MaskedColumn{quoted, column.type, column.type_name};
    case Mask::Kind::hidden:
      return base("NULL");
    case Mask::Kind::redacted: {
      std::string constant = Constant(column);
      if (constant.empty()) return misfit("types with a constant of their own; hide the column instead");
      return base(constant);
    }
    case Mask::Kind::initial:
      if (!IsString(column.base_type)) return misfit("text");
      return base("left(" + name + "::text, 1)");
    case Mask::Kind::last4:
      if (!IsString(column.base_type)) return misfit("text");
      // A short value would be shown whole.
      return base("CASE WHEN length(" + name + "::text) >= 8 THEN right(" + name + "::text, 4) WHEN " + name +
                  " IS NOT NULL THEN '' END");
    case Mask::Kind::year:
    case Mask::Kind::month: {
      std::string cut = Truncated(column, mask.kind == Mask::Kind::year ? "year" : "month", zone, name);
      if (cut.empty()) return misfit("dates and timestamps");
      return base(cut);
    }
    case Mask::Kind::range: {
      std::string rounded = Rounded(column, mask.step, name);
      if (rounded.empty()) return misfit("numbers");
      if (column.base_type == oid::kNumeric) return MaskedColumn{rounded, oid::kNumeric, "numeric"};
      return base(rounded);
    }
    case Mask::Kind::pseudonym:
      if (column.type != oid::kText && column.type != oid::kVarchar && column.type != oid::kUuid &&
          column.type != oid::kInt8) {
        return misfit("text, character varying, uuid and bigint");
      }
      // The gate puts the pseudonym in at delivery: a view's definition is no place for a key.
      return MaskedColumn{quoted, column.type, column.type_name};
  }
  return misfit("nothing");
}

}  // namespace ecluse
