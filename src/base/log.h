// The operator's log: one line an event, through spdlog.
//
// Written to a duplicate of standard error taken at the first use, one write(2) a line: a library that redirects or
// closes descriptor 2 for a while neither loses nor splits lines. Line: UTC time, level, text. Thread-safe. A line that
// cannot be written (the reader of a pipe went away) is lost; the log never stops the gate.
#pragma once

#include <spdlog/spdlog.h>

#include <string>
#include <string_view>

namespace ecluse {

// Levels: debug, info, warning, error. Control characters in arguments must be escaped with Printable(); a line break
// that comes through all the same is written as a space, so that an event stays one line.
spdlog::logger& Log();

// `text` with control characters and invalid UTF-8 escaped as \xNN and the backslash doubled, so that a client cannot
// forge log lines.
std::string Printable(std::string_view text);

}  // namespace ecluse
