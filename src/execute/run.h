// What a Plan asks of PostgreSQL, as messages of the extended protocol. Pure: no I/O.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "pgwire/codec.h"
#include "plan/plan.h"

namespace ecluse {

// One parameter as it arrived in Bind, or one literal lifted out of a text. Views into the caller's buffer.
struct BoundValue {
  std::optional<std::string_view> bytes;  // absent: NULL
  bool binary = false;
};
using BoundValues = std::vector<BoundValue>;

// People may be in what the statement, or the one inside it, gives.
inline bool Guards(const Plan& plan) { return plan.guarded || (plan.inner && plan.inner->guarded); }

// Changes rows: its effects must not be committed before they are charged.
bool IsWrite(const Plan& plan);

// The values of a Bind, as delivery reads them. Views into the message.
BoundValues ValuesOf(const pg::BindMessage& message);

// The formats to ask PostgreSQL for: the client's for the columns it sees (none, one for all, or one each: 08P01
// otherwise), text for the hidden ones. With nothing hidden the client's formats pass as they are.
Status ResultFormats(const Plan& plan, const std::vector<int16_t>& asked, std::vector<int16_t>* formats);

// The format of column `i` by the format codes of a Bind: none, one for all, or one each.
int16_t FormatOf(const std::vector<int16_t>& asked, size_t i);

// Appends a Bind of `portal` to `statement` with the parameters of `message` as they came.
void AppendBind(std::string& out, std::string_view portal, std::string_view statement, const pg::BindMessage& message,
                std::span<const int16_t> formats);

// The payload of a Bind: with text parameters; with some of another Bind's, by their 1-based numbers.
std::string TextParameters(const std::vector<std::optional<std::string_view>>& values);
std::string SelectParameters(const pg::BindMessage& message, const std::vector<int>& numbers);
// The payload of a Bind as it came, so that it can be sent again.
std::string CopyBind(const pg::BindMessage& message);

// The command tag for the client: PostgreSQL's for writes, else counting `shown` rows.
std::string CommandTag(const Plan& plan, std::string_view tag, int64_t shown);

}  // namespace ecluse
