// Result<T>: the value, or an Error whose public and private parts never mix.
#pragma once

#include <expected>
#include <string>
#include <string_view>
#include <utility>

namespace ecluse {

// Why something was not done. The client may see `sqlstate`, `message`, `hint` and `position`; `operator_detail` goes
// to the operator's log and nowhere else. There is no function that copies one into the other.
struct Error {
  std::string sqlstate;         // five characters, PostgreSQL manual appendix A
  std::string message;          // what is wrong, for the client
  std::string hint;             // what to do, for the client; may be empty
  std::string rule;             // the stable name of the rule that refused ("plan.whole-row"), for ledger and tests
  std::string operator_detail;  // for the operator only: paths, upstream texts, values
  int position = 0;             // 1-based character in the client's own text; 0 where there is none
};

template <typename T>
using Result = std::expected<T, Error>;
using Status = Result<void>;

// SQLSTATEs the gate itself answers with (PostgreSQL manual appendix A).
namespace sqlstate {
inline constexpr std::string_view kProtocolViolation = "08P01";
inline constexpr std::string_view kNotSupported = "0A000";  // cannot be counted
inline constexpr std::string_view kInvalidParameter = "22023";
inline constexpr std::string_view kUnknownUser = "28000";
inline constexpr std::string_view kWrongPassword = "28P01";
inline constexpr std::string_view kNotAllowed = "42501";
inline constexpr std::string_view kSyntax = "42601";
inline constexpr std::string_view kUndefinedColumn = "42703";
inline constexpr std::string_view kAmbiguousColumn = "42702";
inline constexpr std::string_view kUndefinedTable = "42P01";
inline constexpr std::string_view kUndefinedFunction = "42883";
inline constexpr std::string_view kTooManyConnections = "53300";
inline constexpr std::string_view kBudget = "53400";
inline constexpr std::string_view kTooComplex = "54001";
inline constexpr std::string_view kProgramLimit = "54000";
inline constexpr std::string_view kSessionOver = "57P05";
inline constexpr std::string_view kShutdown = "57P01";
inline constexpr std::string_view kIo = "58030";  // ledger or keys not available
inline constexpr std::string_view kInternal = "XX000";
}  // namespace sqlstate

// Builds the failure arm of a Result.
inline std::unexpected<Error> Fail(std::string_view sqlstate, std::string message, std::string hint = {},
                                   std::string rule = {}, std::string operator_detail = {}) {
  return std::unexpected(Error{std::string(sqlstate), std::move(message), std::move(hint), std::move(rule),
                               std::move(operator_detail), 0});
}

// ECLUSE_TRY(x, expr): x = *expr, or return its Error. The CO_ form is for coroutines.
#define ECLUSE_CONCAT_INNER(a, b) a##b
#define ECLUSE_CONCAT(a, b) ECLUSE_CONCAT_INNER(a, b)
#define ECLUSE_TRY_IMPL(tmp, target, expr, ret)          \
  auto tmp = (expr);                                     \
  if (!tmp) ret std::unexpected(std::move(tmp).error()); \
  target = std::move(*tmp)
#define ECLUSE_TRY(target, expr) ECLUSE_TRY_IMPL(ECLUSE_CONCAT(try_result_, __LINE__), target, expr, return)
#define ECLUSE_CO_TRY(target, expr) ECLUSE_TRY_IMPL(ECLUSE_CONCAT(try_result_, __LINE__), target, expr, co_return)
#define ECLUSE_CHECK_OK_IMPL(tmp, expr, ret) \
  if (auto tmp = (expr); !tmp) ret std::unexpected(std::move(tmp).error())
#define ECLUSE_OK(expr) ECLUSE_CHECK_OK_IMPL(ECLUSE_CONCAT(try_status_, __LINE__), expr, return)
#define ECLUSE_CO_OK(expr) ECLUSE_CHECK_OK_IMPL(ECLUSE_CONCAT(try_status_, __LINE__), expr, co_return)

}  // namespace ecluse
