#include "server/errors.h"

#include <fmt/format.h>

#include "base/log.h"

namespace ecluse {
namespace {

struct FixedText {
  std::string_view prefix;  // of the SQLSTATE
  std::string_view message;
  std::string_view hint;
};

// The longest prefix that fits comes first.
constexpr FixedText kFixed[] = {
    {"0A000", "this cannot be done over tables about people",
     "Ask whoever runs the gate: its log says what PostgreSQL said."},
    {"21", "a sub-select used as a value gave more than one row", "Limit it to one row, or use IN or EXISTS."},
    {"22", "a value cannot be computed or converted", "Check casts, divisions and number formats in the statement."},
    {"23", "a constraint of the table does not allow this",
     "Check that the row does not exist yet and that what it refers to does."},
    {"25006", "this transaction only reads", "Begin one that may write."},
    {"25P02", "current transaction is aborted, commands ignored until end of transaction block",
     "Send ROLLBACK first."},
    {"25", "the transaction is not in a state in which this can be done", "Send ROLLBACK and begin again."},
    {"34", "the cursor does not exist", "Declare it again: cursors end with their transaction."},
    {"40", "the transaction met another one and was given up", "Run the transaction again."},
    {"42501", "the database does not allow this to the role",
     "Ask whoever runs the gate to run `ecluse check` and `ecluse apply`."},
    {"42P01", "a table of this statement is not as the policy was applied to it",
     "Ask whoever runs the gate to run `ecluse apply`."},
    {"42703", "a column of this statement is not as the policy was applied to it",
     "Ask whoever runs the gate to run `ecluse apply`."},
    {"42", "the statement does not fit the types of its columns",
     "Add casts, or compare with values of the column's own type."},
    {"44", "the row would lie outside what this role may see", "Write only rows that the role's condition holds."},
    {"53", "PostgreSQL has run out of a resource", "Try again, or ask for less at once."},
    {"54", "the statement is too complex", "Split it."},
    {"55", "something the statement needs is in use", "Try again."},
    {"57014", "canceling statement due to user request or timeout",
     "Narrow the statement, or raise statement_timeout."},
    {"57", "PostgreSQL ended the statement", "Connect again."},
};

void AppendField(pg::MessageWriter& writer, char letter, std::string_view value) {
  if (value.empty()) return;
  writer.Byte(letter);
  writer.String(value);
}

void ReplaceAll(std::string& text, std::string_view what, std::string_view with) {
  if (what.empty()) return;
  for (size_t at = text.find(what); at != std::string::npos; at = text.find(what, at + with.size()))
    text.replace(at, what.size(), with);
}

}  // namespace

std::string WithoutSchema(std::string_view text, std::string_view login) {
  std::string out(text);
  ReplaceAll(out, fmt::format("\"{}\".", login), "");
  ReplaceAll(out, fmt::format("{}.", login), "");
  return out;
}

void PassError(std::string& out, std::string_view payload, std::string_view login, bool same_text) {
  pg::ErrorFields fields;
  if (!pg::ReadErrorFields(payload, &fields)) return;
  pg::MessageWriter writer(out, 'E');
  for (char letter : std::string_view("SVCMDHPpqWstcdnFLR")) {
    if (!same_text && (letter == 'P' || letter == 'p' || letter == 'q')) continue;
    bool prose = letter == 'M' || letter == 'D' || letter == 'H' || letter == 'W' || letter == 'q';
    if (letter == 's' && fields[letter] == login) continue;
    AppendField(writer, letter, prose ? WithoutSchema(fields[letter], login) : std::string(fields[letter]));
  }
  writer.Byte('\0');
  writer.End();
}

Error GuardedError(const pg::ErrorFields& fields, bool at_parse, std::string_view login) {
  Error error;
  error.sqlstate = fields.code();
  error.rule = "deliver.error";
  if (at_parse && fields.code().starts_with("42") && fields.code() != "42501") {
    error.message = WithoutSchema(fields.message(), login);
    return error;
  }
  for (const FixedText& fixed : kFixed) {
    if (!fields.code().starts_with(fixed.prefix)) continue;
    error.message = fixed.message;
    error.hint = fixed.hint;
    return error;
  }
  error.message = "PostgreSQL could not run this statement";
  error.hint = "Ask whoever runs the gate: its log says why.";
  return error;
}

bool EndsTransaction(const Plan& plan) {
  return plan.kind == Plan::Kind::commit || plan.kind == Plan::Kind::rollback || plan.kind == Plan::Kind::savepoint ||
         plan.kind == Plan::Kind::empty;
}

Error AbortedTransaction() {
  return {"25P02",
          "current transaction is aborted, commands ignored until end of transaction block",
          "Send ROLLBACK first.",
          "protocol.aborted",
          {},
          0};
}

std::string DescribeError(std::string_view payload) {
  pg::ErrorFields fields;
  if (!pg::ReadErrorFields(payload, &fields)) return "an error that cannot be read";
  std::string text = fmt::format("{} {}: {}", fields.severity(), fields.code(), fields.message());
  if (!fields['D'].empty()) text += fmt::format(" DETAIL: {}", fields['D']);
  if (!fields['W'].empty()) text += fmt::format(" CONTEXT: {}", fields['W']);
  return Printable(text);
}

}  // namespace ecluse
