#include "plan/tree.h"

namespace ecluse {
namespace {

using google::protobuf::Message;

int OwnLocation(const Message& message) {
  const auto* field = message.GetDescriptor()->FindFieldByName("location");
  if (field == nullptr || field->cpp_type() != google::protobuf::FieldDescriptor::CPPTYPE_INT32) return -1;
  const int location = message.GetReflection()->GetInt32(message, field);
  return location > 0 ? location : -1;  // 0 is also what a field without a value says
}

bool NothingOutside(const Message& message, size_t begin, size_t end) {
  const int location = OwnLocation(message);
  if (location > 0 && (static_cast<size_t>(location) < begin || static_cast<size_t>(location) >= end)) return false;
  return AllChildren(message, [&](const auto&, const Message& child) { return NothingOutside(child, begin, end); });
}

}  // namespace

int AnyLocation(const Message& message) {
  int location = OwnLocation(message);
  if (location > 0) return location;
  AllChildren(message, [&](const auto&, const Message& child) {
    location = AnyLocation(child);
    return location <= 0;
  });
  return location;
}

bool StandsIn(const Message& message, size_t begin, size_t end) {
  return AnyLocation(message) > 0 && NothingOutside(message, begin, end);
}

void Flatten(const pgq::Node& condition, std::vector<const pgq::Node*>& parts) {
  if (condition.has_bool_expr() && condition.bool_expr().boolop() == pgq::AND_EXPR) {
    for (const pgq::Node& part : condition.bool_expr().args()) Flatten(part, parts);
  } else {
    parts.push_back(&condition);
  }
}

}  // namespace ecluse
