#include "pgwire/codec.h"

#include <charconv>

#include "base/limits.h"

namespace ecluse::pg {
namespace {

constexpr uint32_t kCancelCode = 80877102, kSslCode = 80877103, kGssencCode = 80877104;

// Takes fields off the front of a payload; after the first that does not fit, everything fails.
class Cursor {
 public:
  explicit Cursor(std::string_view bytes) : rest_(bytes) {}

  bool U16(uint16_t* v) {
    if (rest_.size() < 2) return Bad();
    *v = LoadU16(rest_.data());
    rest_.remove_prefix(2);
    return true;
  }
  bool U32(uint32_t* v) {
    if (rest_.size() < 4) return Bad();
    *v = LoadU32(rest_.data());
    rest_.remove_prefix(4);
    return true;
  }
  bool I16(int16_t* v) {
    uint16_t u = 0;
    bool ok = U16(&u);
    *v = static_cast<int16_t>(u);
    return ok;
  }
  bool I32(int32_t* v) {
    uint32_t u = 0;
    bool ok = U32(&u);
    *v = static_cast<int32_t>(u);
    return ok;
  }
  bool Byte(char* c) {
    if (rest_.empty()) return Bad();
    *c = rest_.front();
    rest_.remove_prefix(1);
    return true;
  }
  bool String(std::string_view* text) {
    size_t nul = rest_.find('\0');
    if (nul == std::string_view::npos) return Bad();
    *text = rest_.substr(0, nul);
    rest_.remove_prefix(nul + 1);
    return true;
  }
  bool Bytes(size_t n, std::string_view* bytes) {
    if (rest_.size() < n) return Bad();
    *bytes = rest_.substr(0, n);
    rest_.remove_prefix(n);
    return true;
  }
  // A count, then that many format codes.
  bool FormatList(Formats* formats) {
    uint16_t count = 0;
    std::string_view bytes;
    if (!U16(&count) || !Bytes(2 * size_t{count}, &bytes)) return false;
    for (size_t i = 0; i < count; ++i) {
      if (LoadU16(bytes.data() + 2 * i) > 1) return Bad();
    }
    *formats = Formats(bytes);
    return true;
  }
  bool OidList(Oids* oids) {
    uint16_t count = 0;
    std::string_view bytes;
    if (!U16(&count) || !Bytes(4 * size_t{count}, &bytes)) return false;
    *oids = Oids(bytes);
    return true;
  }
  // A count, then that many values, each with a length that is -1 for NULL.
  bool ValueList(Values* values) {
    uint16_t count = 0;
    if (!U16(&count)) return false;
    const char* start = rest_.data();
    const char* end = start + rest_.size();
    const char* at = start;
    for (size_t i = 0; i < count; ++i) {
      if (end - at < 4) return Bad();
      auto length = static_cast<int32_t>(LoadU32(at));
      at += 4;
      if (length == -1) continue;
      if (length < 0 || end - at < length) return Bad();
      at += length;
    }
    *values = Values(count, {start, static_cast<size_t>(at - start)});
    rest_.remove_prefix(static_cast<size_t>(at - start));
    return true;
  }
  std::string_view rest() const { return rest_; }
  bool AtEnd() const { return rest_.empty(); }

 private:
  bool Bad() {
    rest_ = {};
    return false;
  }
  std::string_view rest_;
};

bool ValidParameters(std::string_view parameters) {
  Cursor in(parameters);
  while (true) {
    std::string_view name, value;
    if (!in.String(&name)) return false;
    if (name.empty()) return in.AtEnd();
    if (!in.String(&value)) return false;
  }
}

bool ReadOneString(std::string_view payload, std::string_view* text) {
  Cursor in(payload);
  return in.String(text) && in.AtEnd();
}

}  // namespace

FrameState NextFrame(std::string_view buffer, size_t cap, Frame* frame, size_t* needed) {
  if (needed != nullptr) *needed = 5;
  if (buffer.size() < 5) return FrameState::need_more;
  size_t length = LoadU32(buffer.data() + 1);
  if (length < 4 || length - 4 > cap) return FrameState::violation;
  if (needed != nullptr) *needed = length + 1;
  if (buffer.size() < length + 1) return FrameState::need_more;
  frame->type = buffer[0];
  frame->whole = buffer.substr(0, length + 1);
  frame->payload = buffer.substr(5, length - 4);
  return FrameState::frame;
}

FrameState NextStartupFrame(std::string_view buffer, StartupFrame* frame) {
  if (buffer.size() < 4) return FrameState::need_more;
  size_t length = LoadU32(buffer.data());
  if (length < 8 || length > limits::kStartupMessage) return FrameState::violation;
  if (buffer.size() < length) return FrameState::need_more;
  Cursor in(buffer.substr(4, length - 4));
  *frame = {};
  frame->size = length;
  uint32_t code = 0;
  in.U32(&code);
  if (code == kSslCode || code == kGssencCode) {
    frame->kind = code == kSslCode ? StartupFrame::Kind::ssl : StartupFrame::Kind::gssenc;
    return in.AtEnd() ? FrameState::frame : FrameState::violation;
  }
  if (code == kCancelCode) {
    frame->kind = StartupFrame::Kind::cancel;
    if (!in.U32(&frame->process)) return FrameState::violation;
    frame->key = in.rest();
    bool fits = frame->key.size() >= 4 && frame->key.size() <= limits::kCancelKey;
    return fits ? FrameState::frame : FrameState::violation;
  }
  if (code >> 16 != 3) return FrameState::violation;
  frame->minor = static_cast<uint16_t>(code & 0xffff);
  frame->parameters = in.rest();
  return ValidParameters(frame->parameters) ? FrameState::frame : FrameState::violation;
}

bool ParameterReader::Next(std::string_view* name, std::string_view* value) {
  Cursor in(rest_);
  if (!in.String(name) || name->empty() || !in.String(value)) return false;
  rest_ = in.rest();
  return true;
}

Values::Value Values::Iterator::operator*() const {
  auto length = static_cast<int32_t>(LoadU32(at_));
  if (length < 0) return std::nullopt;
  return std::string_view(at_ + 4, static_cast<size_t>(length));
}

Values::Iterator& Values::Iterator::operator++() {
  auto length = static_cast<int32_t>(LoadU32(at_));
  at_ += 4 + (length < 0 ? 0 : length);
  return *this;
}

bool ReadQuery(std::string_view payload, std::string_view* text) { return ReadOneString(payload, text); }

bool ReadParse(std::string_view payload, ParseMessage* out) {
  Cursor in(payload);
  return in.String(&out->name) && in.String(&out->text) && in.OidList(&out->types) && in.AtEnd();
}

bool ReadBind(std::string_view payload, BindMessage* out) {
  Cursor in(payload);
  if (!in.String(&out->portal) || !in.String(&out->statement) || !in.FormatList(&out->parameter_formats) ||
      !in.ValueList(&out->parameters) || !in.FormatList(&out->result_formats) || !in.AtEnd()) {
    return false;
  }
  return out->parameter_formats.size() <= 1 || out->parameter_formats.size() == out->parameters.size();
}

bool ReadTarget(std::string_view payload, TargetMessage* out) {
  Cursor in(payload);
  return in.Byte(&out->kind) && (out->kind == 'S' || out->kind == 'P') && in.String(&out->name) && in.AtEnd();
}

bool ReadExecute(std::string_view payload, ExecuteMessage* out) {
  Cursor in(payload);
  return in.String(&out->portal) && in.I32(&out->max_rows) && in.AtEnd();
}

bool ReadCopyFail(std::string_view payload, std::string_view* reason) { return ReadOneString(payload, reason); }

bool ReadSaslInitial(std::string_view payload, SaslInitialMessage* out) {
  Cursor in(payload);
  int32_t length = 0;
  if (!in.String(&out->mechanism) || !in.I32(&length)) return false;
  out->data.reset();
  if (length == -1) return in.AtEnd();
  std::string_view data;
  if (length < 0 || !in.Bytes(static_cast<size_t>(length), &data) || !in.AtEnd()) return false;
  out->data = data;
  return true;
}

bool ReadPassword(std::string_view payload, std::string_view* password) { return ReadOneString(payload, password); }

bool ReadFunctionCall(std::string_view payload, uint32_t* function) {
  Cursor in(payload);
  Formats formats;
  Values arguments;
  int16_t result_format = 0;
  return in.U32(function) && in.FormatList(&formats) && in.ValueList(&arguments) && in.I16(&result_format) &&
         in.AtEnd();
}

bool FieldReader::Next(FieldDescription* out) {
  Cursor in(rest_);
  bool ok = in.String(&out->name) && in.U32(&out->table) && in.I16(&out->column) && in.U32(&out->type) &&
            in.I16(&out->type_size) && in.I32(&out->modifier) && in.I16(&out->format);
  rest_ = in.rest();
  return ok;
}

bool ReadRowDescription(std::string_view payload, FieldReader* out) {
  Cursor in(payload);
  uint16_t count = 0;
  if (!in.U16(&count) || count > limits::kResultColumns) return false;
  FieldReader reader(count, in.rest());
  *out = reader;
  FieldDescription field;
  for (size_t i = 0; i < count; ++i) {
    if (!reader.Next(&field) || (field.format != 0 && field.format != 1)) return false;
  }
  return reader.AtEnd();
}

bool ReadDataRow(std::string_view payload, Values* out) {
  Cursor in(payload);
  return in.ValueList(out) && in.AtEnd();
}

bool ReadCommandComplete(std::string_view payload, std::string_view* tag) { return ReadOneString(payload, tag); }

std::string_view ErrorFields::operator[](char letter) const {
  if (letter < 'A' || letter > 'z') return {};
  return fields_[static_cast<size_t>(letter - 'A')];
}

bool ReadErrorFields(std::string_view payload, ErrorFields* out) {
  Cursor in(payload);
  *out = {};
  while (true) {
    char letter = 0;
    std::string_view text;
    if (!in.Byte(&letter)) return false;
    if (letter == '\0') return in.AtEnd();
    if (!in.String(&text)) return false;
    if (letter >= 'A' && letter <= 'z') out->fields_[static_cast<size_t>(letter - 'A')] = text;
  }
}

bool ReadParameterStatus(std::string_view payload, std::string_view* name, std::string_view* value) {
  Cursor in(payload);
  return in.String(name) && in.String(value) && in.AtEnd();
}

bool ReadBackendKey(std::string_view payload, BackendKey* out) {
  Cursor in(payload);
  if (!in.U32(&out->process)) return false;
  out->key = in.rest();
  return out->key.size() >= 4 && out->key.size() <= limits::kCancelKey;
}

bool ReadReady(std::string_view payload, char* status) {
  if (payload.size() != 1) return false;
  *status = payload[0];
  return *status == 'I' || *status == 'T' || *status == 'E';
}

bool ReadParameterDescription(std::string_view payload, Oids* out) {
  Cursor in(payload);
  return in.OidList(out) && in.AtEnd();
}

bool ReadCopyResponse(std::string_view payload, CopyResponse* out) {
  Cursor in(payload);
  char format = 0;
  if (!in.Byte(&format) || (format != 0 && format != 1)) return false;
  out->format = static_cast<int8_t>(format);
  return in.FormatList(&out->columns) && in.AtEnd();
}

bool ReadNotification(std::string_view payload, Notification* out) {
  Cursor in(payload);
  return in.U32(&out->process) && in.String(&out->channel) && in.String(&out->text) && in.AtEnd();
}

bool ReadAuthentication(std::string_view payload, AuthenticationMessage* out) {
  Cursor in(payload);
  if (!in.I32(&out->code)) return false;
  out->data = in.rest();
  return out->code != 0 || out->data.empty();
}

bool HasSaslMechanism(std::string_view data, std::string_view mechanism) {
  Cursor in(data);
  std::string_view name;
  while (in.String(&name) && !name.empty()) {
    if (name == mechanism) return true;
  }
  return false;
}

bool ReadProtocolVersion(std::string_view payload, ProtocolVersionMessage* out) {
  Cursor in(payload);
  if (!in.I32(&out->minor) || !in.U32(&out->options)) return false;
  std::string_view name;
  for (uint32_t i = 0; i < out->options; ++i) {
    if (!in.String(&name)) return false;
  }
  return in.AtEnd();
}

int64_t TagRows(std::string_view tag) {
  size_t space = tag.rfind(' ');
  if (space == std::string_view::npos) return -1;
  int64_t rows = 0;
  const char* end = tag.data() + tag.size();
  auto [at, error] = std::from_chars(tag.data() + space + 1, end, rows);
  return error == std::errc() && at == end && rows >= 0 ? rows : -1;
}

}  // namespace ecluse::pg
