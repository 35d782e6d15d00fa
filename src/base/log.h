// The operator's log: one line an event to standard error, through spdlog.
#pragma once

#include <string_view>

#include <spdlog/spdlog.h>

namespace ecluse {

// Levels: debug, info, warning, error. Control characters in arguments must be escaped with Printable().
inline auto& Log() { return *spdlog::default_logger_raw(); }

// `text` with control characters and invalid UTF-8 escaped, so that a client cannot forge log lines.
std::string Printable(std::string_view text);

}  // namespace ecluse
