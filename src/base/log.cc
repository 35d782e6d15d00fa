#include "base/log.h"

#include <fcntl.h>
#include <spdlog/pattern_formatter.h>
#include <spdlog/sinks/base_sink.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <memory>
#include <mutex>

namespace ecluse {
namespace {

class ErrorStream final : public spdlog::sinks::base_sink<std::mutex> {
 public:
  // The duplicate is closed on exec: programs the gate starts do not inherit its log.
  ErrorStream() : descriptor_(fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3)) {
    set_formatter_(std::make_unique<spdlog::pattern_formatter>("%Y-%m-%dT%H:%M:%S.%fZ %l %v",
                                                               spdlog::pattern_time_type::utc, "\n"));
  }
  ~ErrorStream() override {
    if (descriptor_ >= 0) close(descriptor_);
  }

 protected:
  void sink_it_(const spdlog::details::log_msg& message) override {
    if (descriptor_ < 0) return;
    spdlog::memory_buf_t line;
    formatter_->format(message, line);
    std::replace(line.begin(), line.end() - 1, '\n', ' ');
    const char* at = line.data();
    size_t left = line.size();
    while (left > 0) {
      ssize_t n = write(descriptor_, at, left);
      if (n < 0 && errno == EINTR) continue;
      if (n <= 0) return;
      at += n;
      left -= static_cast<size_t>(n);
    }
  }
  void flush_() override {}

 private:
  int descriptor_;
};

// Length of the well-formed UTF-8 sequence at the start of `text` (Unicode 15, table 3-7), or 0.
size_t SequenceLength(std::string_view text) {
  auto byte = [&](size_t i) { return i < text.size() ? static_cast<uint8_t>(text[i]) : 0; };
  auto follows = [&](size_t i) { return (byte(i) & 0xC0) == 0x80; };
  uint8_t first = byte(0);
  if (first < 0x80) return 1;
  if (first >= 0xC2 && first <= 0xDF) return follows(1) ? 2 : 0;
  if (first >= 0xE0 && first <= 0xEF) {
    if (!follows(1) || !follows(2)) return 0;
    if (first == 0xE0 && byte(1) < 0xA0) return 0;
    if (first == 0xED && byte(1) > 0x9F) return 0;
    return 3;
  }
  if (first >= 0xF0 && first <= 0xF4) {
    if (!follows(1) || !follows(2) || !follows(3)) return 0;
    if (first == 0xF0 && byte(1) < 0x90) return 0;
    if (first == 0xF4 && byte(1) > 0x8F) return 0;
    return 4;
  }
  return 0;
}

void AppendEscape(std::string& out, uint8_t byte) {
  static constexpr char kDigits[] = "0123456789abcdef";
  out += "\\x";
  out += kDigits[byte >> 4];
  out += kDigits[byte & 15];
}

}  // namespace

spdlog::logger& Log() {
  // Never destroyed: threads may log until the very end of the process.
  static auto* logger = new spdlog::logger("ecluse", std::make_shared<ErrorStream>());
  return *logger;
}

std::string Printable(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  while (!text.empty()) {
    size_t n = SequenceLength(text);
    auto first = static_cast<uint8_t>(text[0]);
    bool c1_control = n == 2 && first == 0xC2 && static_cast<uint8_t>(text[1]) < 0xA0;
    bool separator = n == 3 && (text.starts_with("\xE2\x80\xA8") || text.starts_with("\xE2\x80\xA9"));
    if (n == 0 || first < 0x20 || first == 0x7F || c1_control || separator) {
      n = std::max<size_t>(n, 1);
      for (size_t i = 0; i < n; ++i) AppendEscape(out, static_cast<uint8_t>(text[i]));
    } else if (first == '\\') {
      out += "\\\\";
    } else {
      out += text.substr(0, n);
    }
    text.remove_prefix(n);
  }
  return out;
}

}  // namespace ecluse
