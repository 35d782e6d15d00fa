#include "plan/allow.h"

#include <algorithm>
#include <array>
#include <string>
#include <unordered_set>

namespace ecluse::allow {
namespace {

using Names = std::unordered_set<std::string_view>;

const Names& Aggregates() {
  static const Names names{"count",
                           "sum",
                           "avg",
                           "min",
                           "max",
                           "string_agg",
                           "array_agg",
                           "bool_and",
                           "bool_or",
                           "every",
                           "bit_and",
                           "bit_or",
                           "bit_xor",
                           "stddev",
                           "stddev_pop",
                           "stddev_samp",
                           "variance",
                           "var_pop",
                           "var_samp",
                           "corr",
                           "covar_pop",
                           "covar_samp",
                           "regr_avgx",
                           "regr_avgy",
                           "regr_count",
                           "regr_intercept",
                           "regr_r2",
                           "regr_slope",
                           "regr_sxx",
                           "regr_sxy",
                           "regr_syy",
                           "json_agg",
                           "jsonb_agg",
                           "json_object_agg",
                           "jsonb_object_agg",
                           "percentile_cont",
                           "percentile_disc",
                           "mode",
                           "range_agg",
                           "range_intersect_agg"};
  return names;
}

const Names& WindowFunctions() {
  static const Names names{"row_number", "rank", "dense_rank",  "ntile",      "percent_rank", "cume_dist",
                           "lag",        "lead", "first_value", "last_value", "nth_value"};
  return names;
}

const Names& Functions() {
  static const Names names{
      // 9.3 mathematics
      "abs", "cbrt", "ceil", "ceiling", "degrees", "div", "exp", "factorial", "floor", "gcd", "lcm", "ln", "log",
      "log10", "min_scale", "mod", "pi", "power", "pow", "radians", "round", "scale", "sign", "sqrt", "trim_scale",
      "trunc", "width_bucket", "random", "acos", "acosd", "asin", "asind", "atan", "atand", "atan2", "atan2d", "cos",
      "cosd", "cot", "cotd", "sin", "sind", "tan", "tand", "sinh", "cosh", "tanh", "asinh", "acosh", "atanh",
      "numeric_inc",
      // 9.4 and 9.5 strings and bytes
      "ascii", "bit_length", "btrim", "char_length", "character_length", "chr", "concat", "concat_ws", "format",
      "initcap", "left", "length", "lower", "lpad", "ltrim", "md5", "normalize", "is_normalized", "octet_length",
      "overlay", "parse_ident", "position", "quote_ident", "quote_literal", "quote_nullable", "regexp_count",
      "regexp_instr", "regexp_like", "regexp_match", "regexp_matches", "regexp_replace", "regexp_split_to_array",
      "regexp_split_to_table", "regexp_substr", "repeat", "replace", "reverse", "right", "rpad", "rtrim", "split_part",
      "starts_with", "string_to_array", "string_to_table", "strpos", "substr", "substring", "to_ascii", "to_hex",
      "translate", "unistr", "upper", "bit_count", "get_bit", "get_byte", "set_bit", "set_byte", "sha224", "sha256",
      "sha384", "sha512", "encode", "decode", "convert_from", "convert_to", "like_escape", "similar_to_escape",
      "similar_escape", "textcat", "textlen", "text",
      // 9.8 formatting
      "to_char", "to_date", "to_number", "to_timestamp",
      // 9.9 dates and times
      "age", "clock_timestamp", "date_bin", "date_part", "date_trunc", "extract", "isfinite", "justify_days",
      "justify_hours", "justify_interval", "make_date", "make_interval", "make_time", "make_timestamp",
      "make_timestamptz", "now", "statement_timestamp", "timeofday", "transaction_timestamp", "timezone", "overlaps",
      "date", "time", "timestamp", "timestamptz", "interval",
      // 9.10 enums, 9.11 geometry (constructors and measures used with points)
      "enum_first", "enum_last", "enum_range", "area", "center", "diameter", "height", "width", "point", "box",
      "circle",
      // 9.12 networks
      "abbrev", "broadcast", "family", "host", "hostmask", "masklen", "netmask", "network", "set_masklen",
      "inet_same_family", "inet_merge", "macaddr8_set7bit",
      // 9.14 uuid
      "gen_random_uuid",
      // 9.16 JSON
      "to_json", "to_jsonb", "array_to_json", "json_build_array", "jsonb_build_array", "json_build_object",
      "jsonb_build_object", "json_object", "jsonb_object", "json_array_elements", "jsonb_array_elements",
      "json_array_elements_text", "jsonb_array_elements_text", "json_array_length", "jsonb_array_length", "json_each",
      "jsonb_each", "json_each_text", "jsonb_each_text", "json_extract_path", "jsonb_extract_path",
      "json_extract_path_text", "jsonb_extract_path_text", "json_object_keys", "jsonb_object_keys", "json_strip_nulls",
      "jsonb_strip_nulls", "jsonb_set", "jsonb_set_lax", "jsonb_insert", "jsonb_path_exists", "jsonb_path_match",
      "jsonb_path_query", "jsonb_path_query_array", "jsonb_path_query_first", "jsonb_pretty", "json_typeof",
      "jsonb_typeof", "row_to_json",
      // 9.19 arrays
      "array_append", "array_cat", "array_dims", "array_fill", "array_length", "array_lower", "array_ndims",
      "array_position", "array_positions", "array_prepend", "array_remove", "array_replace", "array_to_string",
      "array_upper", "cardinality", "trim_array", "unnest",
      // 9.20 ranges
      "isempty", "lower_inc", "upper_inc", "lower_inf", "upper_inf", "range_merge", "multirange", "int4range",
      "int8range", "numrange", "tsrange", "tstzrange", "daterange", "int4multirange", "int8multirange", "nummultirange",
      "tsmultirange", "tstzmultirange", "datemultirange",
      // 9.18 and 9.25 conditional and sets
      "num_nulls", "num_nonnulls", "generate_series", "generate_subscripts",
      // casts in function notation
      "int2", "int4", "int8", "float4", "float8", "numeric", "bool", "varchar", "bpchar", "uuid",
      // 9.26 session: what drivers ask, none of it about data
      "version", "current_database", "pg_client_encoding", "pg_typeof", "pg_size_pretty", "pg_backend_pid",
      "pg_encoding_to_char", "pg_is_in_recovery", "pg_column_compression", "pg_char_to_encoding", "getdatabaseencoding",
      "txid_current_if_assigned", "pg_input_is_valid", "inet_server_port"};
  return names;
}

const Names& CatalogFunctions() {
  static const Names names{"format_type",
                           "_pg_expandarray",
                           "_pg_char_max_length",
                           "_pg_truetypid",
                           "_pg_truetypmod",
                           "pg_get_keywords",
                           "aclexplode",
                           "acldefault",
                           "array_in",
                           "array_out",
                           "pg_options_to_table",
                           "oidvectortypes",
                           "inet_server_addr",
                           "pg_postmaster_start_time"};
  return names;
}

const Names& Types() {
  static const Names names{"bool",           "int2",          "int4",         "int8",
                           "float4",         "float8",        "numeric",      "text",
                           "varchar",        "bpchar",        "char",         "name",
                           "bytea",          "date",          "time",         "timetz",
                           "timestamp",      "timestamptz",   "interval",     "uuid",
                           "json",           "jsonb",         "jsonpath",     "bit",
                           "varbit",         "inet",          "cidr",         "macaddr",
                           "macaddr8",       "money",         "point",        "line",
                           "lseg",           "box",           "path",         "polygon",
                           "circle",         "int4range",     "int8range",    "numrange",
                           "tsrange",        "tstzrange",     "daterange",    "int4multirange",
                           "int8multirange", "nummultirange", "tsmultirange", "tstzmultirange",
                           "datemultirange", "oid",           "int2vector",   "oidvector",
                           "unknown"};
  return names;
}

}  // namespace

bool Aggregate(std::string_view name) { return Aggregates().contains(name); }
bool WindowFunction(std::string_view name) { return WindowFunctions().contains(name); }
bool Ranking(std::string_view name) {
  return name == "row_number" || name == "rank" || name == "dense_rank" || name == "ntile";
}
bool Function(std::string_view name) { return Functions().contains(name) || Aggregate(name) || WindowFunction(name); }
bool SetReturning(std::string_view name) {
  static const Names names{"generate_series",
                           "generate_subscripts",
                           "unnest",
                           "regexp_matches",
                           "regexp_split_to_table",
                           "string_to_table",
                           "json_array_elements",
                           "jsonb_array_elements",
                           "json_array_elements_text",
                           "jsonb_array_elements_text",
                           "json_each",
                           "jsonb_each",
                           "json_each_text",
                           "jsonb_each_text",
                           "json_object_keys",
                           "jsonb_object_keys",
                           "jsonb_path_query"};
  return names.contains(name);
}
bool CatalogFunction(std::string_view name) { return CatalogFunctions().contains(name); }

bool Operator(std::string_view name) {
  static const Names names{"+",   "-",   "*",    "/",   "%",    "^",    "|/",  "||/", "@",  "&",   "|",   "#",
                           "~",   "<<",  ">>",   "=",   "<>",   "!=",   "<",   ">",   "<=", ">=",  "||",  "~~",
                           "~~*", "!~~", "!~~*", "~*",  "!~",   "!~*",  "->",  "->>", "#>", "#>>", "@>",  "<@",
                           "?",   "?|",  "?&",   "#-",  "@?",   "&&",   "-|-", "&<",  "&>", "<<=", ">>=", "<<|",
                           "|>>", "^@",  "~=",   "<->", "~>=~", "~<=~", "~>~", "~<~"};
  return names.contains(name);
}

bool Type(std::string_view name) { return Types().contains(name); }

bool NameType(std::string_view name) {
  return name == "regclass" || name == "regproc" || name == "regprocedure" || name == "regtype" || name == "regrole" ||
         name == "regnamespace" || name == "regoper" || name == "regoperator" || name == "regconfig" ||
         name == "regdictionary" || name == "regcollation";
}

RecordColumns Columns(std::string_view function) {
  static constexpr std::array<std::string_view, 2> kEach{"key", "value"};
  static constexpr std::array<std::string_view, 2> kExpand{"x", "n"};
  static constexpr std::array<std::string_view, 5> kKeywords{"word", "catcode", "barelabel", "catdesc", "baredesc"};
  static constexpr std::array<std::string_view, 4> kAcl{"grantor", "grantee", "privilege_type", "is_grantable"};
  static constexpr std::array<std::string_view, 2> kOptions{"option_name", "option_value"};
  static constexpr std::array<std::string_view, 1> kValue{"value"};
  if (function == "json_each" || function == "jsonb_each" || function == "json_each_text" ||
      function == "jsonb_each_text") {
    return {kEach.data(), kEach.size()};
  }
  if (function == "json_array_elements" || function == "jsonb_array_elements" ||
      function == "json_array_elements_text" || function == "jsonb_array_elements_text") {
    return {kValue.data(), kValue.size()};
  }
  if (function == "_pg_expandarray") return {kExpand.data(), kExpand.size()};
  if (function == "pg_get_keywords") return {kKeywords.data(), kKeywords.size()};
  if (function == "aclexplode") return {kAcl.data(), kAcl.size()};
  if (function == "pg_options_to_table") return {kOptions.data(), kOptions.size()};
  return {};
}

}  // namespace ecluse::allow
