// Fills an empty database with the demonstration register.
#pragma once

#include <functional>
#include <string>

#include "base/result.h"
#include "cli/demo_register.h"

namespace ecluse::demo {

// What is being done, for a line of progress. Called from loading threads, one at a time.
using Progress = std::function<void(const std::string& doing, int64_t done, int64_t of)>;

// Creates schemas, tables, rows, keys and indexes over `threads` connections to `url`, whose role owns the database.
// Holds a few megabytes, whatever the size. A failure leaves a database to be dropped.
Status LoadRegister(const std::string& url, const Shape& shape, int threads, const Progress& progress);

}  // namespace ecluse::demo
