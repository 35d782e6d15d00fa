// A row of JSON lines. Pure.
#pragma once

#include <functional>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "seal/load_file.h"

namespace ecluse {

// The members of one JSON object as values of `columns`, whose index `find` gives by name, or -1: strings without their
// escapes, numbers as they are spelled, true and false as these words; for columns of json any value as JSON, without
// white space. Refuses what is no object, a member that is no column or stands there twice, and an array or object for
// a column that is not json. The Error holds nothing of the row.
Result<RowValues> ReadJsonRow(std::string_view row, const std::vector<FileColumn>& columns,
                              const std::function<int(std::string_view name)>& find);

}  // namespace ecluse
