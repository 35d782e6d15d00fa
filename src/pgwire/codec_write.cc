#include "pgwire/codec.h"

namespace ecluse::pg {
namespace {

constexpr uint32_t kCancelCode = 80877102, kSslCode = 80877103;

void WriteStrings(std::string& out, char type, std::string_view first, std::string_view second) {
  MessageWriter message(out, type);
  message.String(first);
  message.String(second);
  message.End();
}

void WriteOneString(std::string& out, char type, std::string_view text) {
  MessageWriter message(out, type);
  message.String(text);
  message.End();
}

void WriteBytes(std::string& out, char type, std::string_view bytes) {
  MessageWriter message(out, type);
  message.Bytes(bytes);
  message.End();
}

void WriteTarget(std::string& out, char type, char kind, std::string_view name) {
  MessageWriter message(out, type);
  message.Byte(kind);
  message.String(name);
  message.End();
}

void WriteFormats(MessageWriter& message, std::span<const int16_t> formats) {
  message.U16(static_cast<uint16_t>(formats.size()));
  for (int16_t format : formats) message.I16(format);
}

void WriteField(MessageWriter& message, char letter, std::string_view text) {
  message.Byte(letter);
  message.String(text);
}

}  // namespace

void WriteEmpty(std::string& out, char type) {
  char bytes[5] = {type, 0, 0, 0, 4};
  out.append(bytes, 5);
}

void WriteReady(std::string& out, char status) {
  char bytes[6] = {'Z', 0, 0, 0, 5, status};
  out.append(bytes, 6);
}

void WriteCommandComplete(std::string& out, std::string_view tag) { WriteOneString(out, 'C', tag); }

void WriteParameterStatus(std::string& out, std::string_view name, std::string_view value) {
  WriteStrings(out, 'S', name, value);
}

void WriteBackendKey(std::string& out, uint32_t process, std::string_view key) {
  MessageWriter message(out, 'K');
  message.U32(process);
  message.Bytes(key);
  message.End();
}

void WriteParameterDescription(std::string& out, std::span<const uint32_t> types) {
  MessageWriter message(out, 't');
  message.U16(static_cast<uint16_t>(types.size()));
  for (uint32_t type : types) message.U32(type);
  message.End();
}

void WriteRowDescription(std::string& out, std::span<const FieldDescription> fields) {
  MessageWriter message(out, 'T');
  message.U16(static_cast<uint16_t>(fields.size()));
  for (const FieldDescription& field : fields) {
    message.String(field.name);
    message.U32(field.table);
    message.I16(field.column);
    message.U32(field.type);
    message.I16(field.type_size);
    message.I32(field.modifier);
    message.I16(field.format);
  }
  message.End();
}

void WriteDataRow(std::string& out, std::span<const Values::Value> values) {
  MessageWriter message(out, 'D');
  message.U16(static_cast<uint16_t>(values.size()));
  for (const Values::Value& value : values) message.Value(value);
  message.End();
}

void WriteCopyResponse(std::string& out, char type, int8_t format, std::span<const int16_t> columns) {
  MessageWriter message(out, type);
  message.Byte(static_cast<char>(format));
  WriteFormats(message, columns);
  message.End();
}

void WriteAuthentication(std::string& out, int32_t code, std::string_view data) {
  MessageWriter message(out, 'R');
  message.I32(code);
  message.Bytes(data);
  message.End();
}

void WriteNegotiateProtocolVersion(std::string& out, int32_t minor, std::span<const std::string_view> options) {
  MessageWriter message(out, 'v');
  message.I32(minor);
  message.U32(static_cast<uint32_t>(options.size()));
  for (std::string_view option : options) message.String(option);
  message.End();
}

void WriteError(std::string& out, std::string_view severity, const Error& error) {
  MessageWriter message(out, 'E');
  WriteField(message, 'S', severity);
  WriteField(message, 'V', severity);
  WriteField(message, 'C', error.sqlstate.empty() ? sqlstate::kInternal : std::string_view(error.sqlstate));
  WriteField(message, 'M', error.message);
  if (!error.hint.empty()) WriteField(message, 'H', error.hint);
  if (error.position > 0) WriteField(message, 'P', std::to_string(error.position));
  // The rule that refused, where PostgreSQL names its own routine: psql shows it with \set VERBOSITY verbose.
  if (!error.rule.empty()) WriteField(message, 'R', error.rule);
  message.Byte('\0');
  message.End();
}

void WriteNotice(std::string& out, std::string_view severity, std::string_view code, std::string_view message,
                 std::string_view hint) {
  MessageWriter notice(out, 'N');
  WriteField(notice, 'S', severity);
  WriteField(notice, 'V', severity);
  WriteField(notice, 'C', code);
  WriteField(notice, 'M', message);
  if (!hint.empty()) WriteField(notice, 'H', hint);
  notice.Byte('\0');
  notice.End();
}

void WriteStartup(std::string& out, std::span<const std::pair<std::string_view, std::string_view>> parameters,
                  uint16_t minor) {
  size_t start = out.size();
  AppendU32(out, 0);
  AppendU32(out, (3u << 16) | minor);
  for (const auto& [name, value] : parameters) {
    out.append(name).push_back('\0');
    out.append(value).push_back('\0');
  }
  out.push_back('\0');
  StoreU32(out.data() + start, static_cast<uint32_t>(out.size() - start));
}

void WriteSslRequest(std::string& out) {
  AppendU32(out, 8);
  AppendU32(out, kSslCode);
}

void WriteCancelRequest(std::string& out, uint32_t process, std::string_view key) {
  AppendU32(out, static_cast<uint32_t>(12 + key.size()));
  AppendU32(out, kCancelCode);
  AppendU32(out, process);
  out.append(key);
}

void WriteQuery(std::string& out, std::string_view text) { WriteOneString(out, 'Q', text); }

void WriteParse(std::string& out, std::string_view name, std::string_view text, std::span<const uint32_t> types) {
  MessageWriter message(out, 'P');
  message.String(name);
  message.String(text);
  message.U16(static_cast<uint16_t>(types.size()));
  for (uint32_t type : types) message.U32(type);
  message.End();
}

void WriteBind(std::string& out, std::string_view portal, std::string_view statement,
               std::span<const int16_t> parameter_formats, std::span<const Values::Value> parameters,
               std::span<const int16_t> result_formats) {
  MessageWriter message(out, 'B');
  message.String(portal);
  message.String(statement);
  WriteFormats(message, parameter_formats);
  message.U16(static_cast<uint16_t>(parameters.size()));
  for (const Values::Value& value : parameters) message.Value(value);
  WriteFormats(message, result_formats);
  message.End();
}

void WriteDescribe(std::string& out, char kind, std::string_view name) { WriteTarget(out, 'D', kind, name); }
void WriteClose(std::string& out, char kind, std::string_view name) { WriteTarget(out, 'C', kind, name); }

void WriteExecute(std::string& out, std::string_view portal, int32_t max_rows) {
  MessageWriter message(out, 'E');
  message.String(portal);
  message.I32(max_rows);
  message.End();
}

void WriteCopyData(std::string& out, std::string_view data) { WriteBytes(out, 'd', data); }
void WriteCopyFail(std::string& out, std::string_view reason) { WriteOneString(out, 'f', reason); }

void WriteSaslInitial(std::string& out, std::string_view mechanism, std::string_view data) {
  MessageWriter message(out, 'p');
  message.String(mechanism);
  message.I32(static_cast<int32_t>(data.size()));
  message.Bytes(data);
  message.End();
}

void WriteSaslResponse(std::string& out, std::string_view data) { WriteBytes(out, 'p', data); }

Error Malformed(std::string_view what) {
  return Error{std::string(sqlstate::kProtocolViolation),
               "the gate does not understand this " + std::string(what) + " message",
               "The session ends here. Check the driver, and whether something between it and the gate alters bytes.",
               "wire.malformed",
               {},
               0};
}

}  // namespace ecluse::pg
