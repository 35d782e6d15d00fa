#include "seal/load_json.h"

#include <boost/json/basic_parser_impl.hpp>
#include <string>

#include "base/limits.h"
#include "ledger/json.h"

namespace ecluse {
namespace {

namespace json = boost::json;
using json::error_code;
using json::string_view;

// What boost.json's parser tells of one document, and what is made of it. Where a function returns false `wrong` says
// why.
struct Members {
  static constexpr size_t max_object_size = SIZE_MAX;
  static constexpr size_t max_array_size = SIZE_MAX;
  static constexpr size_t max_key_size = SIZE_MAX;
  static constexpr size_t max_string_size = SIZE_MAX;

  struct Level {
    bool array = false, any = false;  // something stands in it already
  };

  Members(const std::vector<FileColumn>& of, const std::function<int(std::string_view)>& by)
      : columns(of), find(by), found(of.size()) {}

  const std::vector<FileColumn>& columns;
  const std::function<int(std::string_view name)>& find;
  std::vector<std::optional<std::optional<std::string>>> found;  // by column; absent where no member was
  int column = -1;                                               // of the member that is being read
  std::string text;                                              // of the string, key or number that is being read
  std::string nested;                                            // of a value that is kept as JSON
  std::vector<Level> open;
  const char* wrong = nullptr;

  bool No(const char* why, error_code& code) {
    wrong = why;
    code = json::error::syntax;
    return false;
  }
  bool json_column() const { return columns[static_cast<size_t>(column)].json; }

  // Before each value and each key.
  bool Begin(bool key, error_code& code) {
    if (open.empty()) return No("the line is no JSON object", code);
    Level& level = open.back();
    if (open.size() > 1 && (key || level.array)) {
      if (std::exchange(level.any, true)) nested += ',';
    }
    return true;
  }
  // Behind each value: `plain` is it as a column that is not json takes it, `as_json` as it stands in JSON.
  bool Value(std::optional<std::string> plain, std::string_view as_json) {
    if (open.size() > 1)
      nested += as_json;
    else if (json_column() && plain)
      found[static_cast<size_t>(column)] = std::string(as_json);
    else
      found[static_cast<size_t>(column)] = std::move(plain);
    return true;
  }
  bool Open(char sign, error_code& code) {
    if (sign == '{' && open.empty()) {
      open.push_back({});
      return true;
    }
    if (!Begin(false, code)) return false;
    if (!json_column()) return No("an array or object stands where its column is not json", code);
    nested += sign;
    open.push_back({sign == '[', false});
    return true;
  }
  bool Close(char sign) {
    open.pop_back();
    if (open.empty()) return true;
    nested += sign;
    if (open.size() == 1) found[static_cast<size_t>(column)] = std::exchange(nested, {});
    return true;
  }
  bool Number(string_view rest, error_code& code) {
    text += std::string_view(rest);
    if (!Begin(false, code)) return false;
    const std::string number = std::exchange(text, {});
    return Value(number, number);
  }

  bool on_document_begin(error_code&) { return true; }
  bool on_document_end(error_code&) { return true; }
  bool on_object_begin(error_code& code) { return Open('{', code); }
  bool on_object_end(size_t, error_code&) { return Close('}'); }
  bool on_array_begin(error_code& code) { return Open('[', code); }
  bool on_array_end(size_t, error_code&) { return Close(']'); }
  bool on_key_part(string_view part, size_t, error_code&) {
    text += std::string_view(part);
    return true;
  }
  bool on_key(string_view rest, size_t, error_code& code) {
    text += std::string_view(rest);
    if (!Begin(true, code)) return false;
    const std::string key = std::exchange(text, {});
    if (open.size() > 1) {
      AppendJsonString(nested, key);
      nested += ':';
      return true;
    }
    column = find(key);
    if (column < 0) return No("a member is no column that can be loaded", code);
    if (found[static_cast<size_t>(column)]) return No("a member stands there twice", code);
    return true;
  }
  bool on_string_part(string_view part, size_t, error_code&) {
    text += std::string_view(part);
    return true;
  }
  bool on_string(string_view rest, size_t, error_code& code) {
    text += std::string_view(rest);
    if (!Begin(false, code)) return false;
    std::string quoted;
    if (json_column()) AppendJsonString(quoted, text);
    return Value(std::exchange(text, {}), quoted);
  }
  bool on_number_part(string_view part, error_code&) {
    text += std::string_view(part);
    return true;
  }
  bool on_int64(int64_t, string_view rest, error_code& code) { return Number(rest, code); }
  bool on_uint64(uint64_t, string_view rest, error_code& code) { return Number(rest, code); }
  bool on_double(double, string_view rest, error_code& code) { return Number(rest, code); }
  bool on_bool(bool is, error_code& code) {
    return Begin(false, code) && Value(is ? "true" : "false", is ? "true" : "false");
  }
  bool on_null(error_code& code) { return Begin(false, code) && Value(std::nullopt, "null"); }
  bool on_comment_part(string_view, error_code&) { return true; }
  bool on_comment(string_view, error_code&) { return true; }
};

}  // namespace

Result<RowValues> ReadJsonRow(std::string_view row, const std::vector<FileColumn>& columns,
                              const std::function<int(std::string_view name)>& find) {
  const auto refuse = [](const char* why) { return Fail("22P04", why); };
  json::parse_options options;
  options.max_depth = limits::kSealedJsonDepth + 1;
  json::basic_parser<Members> parser(options, columns, find);
  error_code code;
  const size_t read = parser.write_some(false, row.data(), row.size(), code);
  Members& members = parser.handler();
  if (members.wrong != nullptr) return refuse(members.wrong);
  if (code || !parser.done() || read != row.size()) return refuse("the line is no JSON object");
  RowValues out;
  for (size_t i = 0; i < columns.size(); ++i) {
    if (!members.found[i]) continue;
    out.columns.push_back(static_cast<int>(i));
    out.values.push_back(std::move(*members.found[i]));
  }
  return out;
}

}  // namespace ecluse
