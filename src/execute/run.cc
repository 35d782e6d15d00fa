#include "execute/run.h"

#include <fmt/format.h>

namespace ecluse {
namespace {

std::string BindPayload(std::span<const int16_t> formats, std::span<const pg::Values::Value> values) {
  std::string out;
  pg::WriteBind(out, {}, {}, formats, values, {});
  return out.substr(5);
}

}  // namespace

bool IsWrite(const Plan& plan) {
  if (plan.kind == Plan::Kind::write || plan.kind == Plan::Kind::copy_in) return true;
  return plan.kind == Plan::Kind::rows &&
         (plan.command_tag.starts_with("INSERT") || plan.command_tag.starts_with("UPDATE") ||
          plan.command_tag.starts_with("DELETE"));
}

BoundValues ValuesOf(const pg::BindMessage& message) {
  BoundValues values;
  values.reserve(message.parameters.size());
  size_t i = 0;
  for (pg::Values::Value value : message.parameters) values.push_back({value, message.parameter_formats.Of(i++) == 1});
  return values;
}

Status ResultFormats(const Plan& plan, const std::vector<int16_t>& asked, std::vector<int16_t>* formats) {
  if (plan.visible_columns < 0 || plan.hidden.empty()) {
    *formats = asked;
    return {};
  }
  size_t shown = static_cast<size_t>(plan.visible_columns);
  formats->assign(shown + plan.hidden.size(), 0);
  if (asked.size() == 1) {
    std::fill_n(formats->begin(), shown, asked[0]);
  } else if (asked.size() == shown) {
    std::copy(asked.begin(), asked.end(), formats->begin());
  } else if (!asked.empty()) {
    return Fail(sqlstate::kProtocolViolation,
                fmt::format("bind message has {} result formats but query has {} columns", asked.size(), shown),
                "Give one format for all columns, or one for each.", "protocol.result-formats");
  }
  for (size_t i = 0; i < plan.sealed.size(); ++i) {
    if (plan.sealed[i].cell >= 0) (*formats)[i] = 1;  // envelopes are opened as they are
  }
  return {};
}

int16_t FormatOf(const std::vector<int16_t>& asked, size_t i) {
  if (asked.size() == 1) return asked[0];
  return i < asked.size() ? asked[i] : 0;
}

void AppendBind(std::string& out, std::string_view portal, std::string_view statement, const pg::BindMessage& message,
                std::span<const int16_t> formats) {
  pg::MessageWriter writer(out, 'B');
  writer.String(portal);
  writer.String(statement);
  writer.U16(static_cast<uint16_t>(message.parameter_formats.size()));
  writer.Bytes(message.parameter_formats.bytes());
  writer.U16(static_cast<uint16_t>(message.parameters.size()));
  writer.Bytes(message.parameters.bytes());
  writer.U16(static_cast<uint16_t>(formats.size()));
  for (int16_t format : formats) writer.I16(format);
  writer.End();
}

std::string TextParameters(const std::vector<std::optional<std::string_view>>& values) {
  return BindPayload({}, values);
}

std::string SelectParameters(const pg::BindMessage& message, const std::vector<int>& numbers) {
  BoundValues all = ValuesOf(message);
  std::vector<int16_t> formats;
  std::vector<pg::Values::Value> values;
  for (int number : numbers) {
    const BoundValue value =
        number >= 1 && static_cast<size_t>(number) <= all.size() ? all[static_cast<size_t>(number - 1)] : BoundValue();
    formats.push_back(value.binary ? 1 : 0);
    values.push_back(value.bytes);
  }
  return BindPayload(formats, values);
}

std::string CopyBind(const pg::BindMessage& message) {
  std::string out;
  AppendBind(out, {}, {}, message, {});
  return out.substr(5);
}

std::string CommandTag(const Plan& plan, std::string_view tag, int64_t shown) {
  if (plan.kind == Plan::Kind::fetch) return fmt::format("{} {}", plan.swallow ? "MOVE" : "FETCH", shown);
  if (plan.kind != Plan::Kind::rows || IsWrite(plan)) return std::string(tag);
  return fmt::format("{} {}", tag.substr(0, tag.find(' ')), shown);
}

}  // namespace ecluse
