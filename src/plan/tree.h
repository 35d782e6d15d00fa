// Walking libpg_query's trees by reflection, and what they say of places in the text. Internal to plan/.
#pragma once

#include <vector>

#include "base/result.h"
#include "pg_query.pb.h"

namespace ecluse {

namespace pgq = pg_query;

// Calls visit(field, child) for every message inside `message`, one level down, until it answers false; whether none
// did.
template <typename Visit>
bool AllChildren(const google::protobuf::Message& message, const Visit& visit) {
  const auto* reflection = message.GetReflection();
  std::vector<const google::protobuf::FieldDescriptor*> fields;
  reflection->ListFields(message, &fields);
  for (const auto* field : fields) {
    if (field->cpp_type() != google::protobuf::FieldDescriptor::CPPTYPE_MESSAGE) continue;
    const int count = field->is_repeated() ? reflection->FieldSize(message, field) : 1;
    for (int i = 0; i < count; ++i) {
      if (!visit(*field, field->is_repeated() ? reflection->GetRepeatedMessage(message, field, i)
                                              : reflection->GetMessage(message, field)))
        return false;
    }
  }
  return true;
}

// The same with a Status, until the first error, which it returns.
template <typename Visit>
Status EachChild(const google::protobuf::Message& message, const Visit& visit) {
  Status status;
  AllChildren(message, [&](const auto& field, const auto& child) {
    status = visit(field, child);
    return status.has_value();
  });
  return status;
}

// Where some part of it stands in the text; -1 where the tree does not say.
int AnyLocation(const google::protobuf::Message& message);
// Some part of it says where it stands, and all that do stand in bytes [begin, end).
bool StandsIn(const google::protobuf::Message& message, size_t begin, size_t end);

// The parts of `a AND (b AND c)`.
void Flatten(const pgq::Node& condition, std::vector<const pgq::Node*>& parts);

}  // namespace ecluse
