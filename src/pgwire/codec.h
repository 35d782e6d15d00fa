// PostgreSQL's message formats (PostgreSQL manual, "Frontend/Backend Protocol", 3.0), pure: bytes in, messages out. No
// I/O, no state, no allocation when reading. Views point into the bytes that were given and live as long as they do.
//
// A Read* function is true only where the payload is exactly one well-formed message: every count and length checked,
// every string terminated, nothing left over. What it wrote into `out` is meaningless where it is false.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "base/bytes.h"
#include "base/result.h"

namespace ecluse::pg {

// ---- Framing ----

struct Frame {
  char type = 0;
  std::string_view payload;  // after the length
  std::string_view whole;    // type, length and payload: what a relay forwards
};

enum class FrameState { frame, need_more, violation };

// Looks for one typed message at the start of `buffer`. `cap` is the largest payload accepted. On need_more, `*needed`
// (where given) is how many bytes the whole message takes, or 5 while even that is unknown. A length below 4 or above
// the cap is a violation as soon as it can be seen, before anything is kept for it.
FrameState NextFrame(std::string_view buffer, size_t cap, Frame* frame, size_t* needed = nullptr);

// What a client says first, which has no type byte.
struct StartupFrame {
  enum class Kind { startup, ssl, gssenc, cancel };
  Kind kind = Kind::startup;
  uint16_t minor = 0;           // of startup: the 3.x asked for
  std::string_view parameters;  // of startup: name and value pairs, each ended by NUL; read with ParameterReader
  uint32_t process = 0;         // of cancel
  std::string_view key;         // of cancel: 4 to limits::kCancelKey bytes
  size_t size = 0;              // bytes of the whole message
};

// The same for the first message. Violations: a length outside 8..limits::kStartupMessage, an unknown request code, a
// major version other than 3, parameters that are not pairs of strings ended by one NUL.
FrameState NextStartupFrame(std::string_view buffer, StartupFrame* frame);

// Walks startup parameters that NextStartupFrame accepted.
class ParameterReader {
 public:
  explicit ParameterReader(std::string_view parameters) : rest_(parameters) {}
  bool Next(std::string_view* name, std::string_view* value);

 private:
  std::string_view rest_;
};

// ---- Lists inside messages ----

// Values of Bind and DataRow: NULL or bytes. Made by a Read* function, which has checked all of it. Cheap to copy.
class Values {
 public:
  using Value = std::optional<std::string_view>;
  class Iterator {
   public:
    using value_type = Value;
    using reference = Value;
    using pointer = void;
    using difference_type = std::ptrdiff_t;
    using iterator_category = std::input_iterator_tag;
    explicit Iterator(const char* at) : at_(at) {}
    Value operator*() const;
    Iterator& operator++();
    Iterator operator++(int) {
      Iterator before = *this;
      ++*this;
      return before;
    }
    bool operator==(const Iterator&) const = default;

   private:
    const char* at_;
  };

  Values() = default;
  Values(uint16_t count, std::string_view bytes) : count_(count), bytes_(bytes) {}
  size_t size() const { return count_; }
  Iterator begin() const { return Iterator(bytes_.data()); }
  Iterator end() const { return Iterator(bytes_.data() + bytes_.size()); }
  std::string_view bytes() const { return bytes_; }  // the values as they stand in the message, lengths included

 private:
  uint16_t count_ = 0;
  std::string_view bytes_;
};

// Format codes: 0 text, 1 binary (nothing else passes Read*).
class Formats {
 public:
  Formats() = default;
  explicit Formats(std::string_view bytes) : bytes_(bytes) {}
  size_t size() const { return bytes_.size() / 2; }
  // The format of value `i`, by the rule of Bind: none given is text, one given is for all.
  int16_t Of(size_t i) const {
    if (bytes_.empty()) return 0;
    return static_cast<int16_t>(LoadU16(bytes_.data() + (size() == 1 ? 0 : 2 * i)));
  }
  std::string_view bytes() const { return bytes_; }

 private:
  std::string_view bytes_;
};

class Oids {
 public:
  Oids() = default;
  explicit Oids(std::string_view bytes) : bytes_(bytes) {}
  size_t size() const { return bytes_.size() / 4; }
  uint32_t operator[](size_t i) const { return LoadU32(bytes_.data() + 4 * i); }

 private:
  std::string_view bytes_;
};

// ---- From clients ----

struct ParseMessage {
  std::string_view name;
  std::string_view text;
  Oids types;
};
struct BindMessage {
  std::string_view portal;
  std::string_view statement;
  Formats parameter_formats;  // 0, 1 or as many as parameters
  Values parameters;
  Formats result_formats;  // 0, 1 or as many as the result has columns, which only the caller can check
};
struct TargetMessage {  // Describe and Close
  char kind = 'S';      // 'S' statement, 'P' portal
  std::string_view name;
};
struct ExecuteMessage {
  std::string_view portal;
  int32_t max_rows = 0;  // 0 or below: all
};
struct SaslInitialMessage {
  std::string_view mechanism;
  std::optional<std::string_view> data;
};

bool ReadQuery(std::string_view payload, std::string_view* text);
bool ReadParse(std::string_view payload, ParseMessage* out);
bool ReadBind(std::string_view payload, BindMessage* out);
bool ReadTarget(std::string_view payload, TargetMessage* out);  // Describe, Close
bool ReadExecute(std::string_view payload, ExecuteMessage* out);
bool ReadCopyFail(std::string_view payload, std::string_view* reason);
bool ReadSaslInitial(std::string_view payload, SaslInitialMessage* out);
bool ReadPassword(std::string_view payload, std::string_view* password);
// Sync, Flush, Terminate, CopyDone and the backend's ParseComplete, BindComplete, CloseComplete, NoData,
// EmptyQueryResponse, PortalSuspended: nothing inside.
inline bool ReadEmpty(std::string_view payload) { return payload.empty(); }
// FunctionCall, read only so far that it can be refused: the object id.
bool ReadFunctionCall(std::string_view payload, uint32_t* function);
// CopyData is its payload: any bytes. SASLResponse likewise.

// ---- From PostgreSQL ----

struct FieldDescription {
  std::string_view name;
  uint32_t table = 0;
  int16_t column = 0;
  uint32_t type = 0;
  int16_t type_size = 0;
  int32_t modifier = -1;
  int16_t format = 0;
};
// Walks the fields of a RowDescription that ReadRowDescription accepted.
class FieldReader {
 public:
  FieldReader() = default;
  FieldReader(uint16_t count, std::string_view bytes) : count_(count), rest_(bytes) {}
  size_t size() const { return count_; }
  bool Next(FieldDescription* out);
  bool AtEnd() const { return rest_.empty(); }

 private:
  uint16_t count_ = 0;
  std::string_view rest_;
};

// Fields of ErrorResponse and NoticeResponse, by their letter
// ('S','V','C','M','D','H','P','p','q','W','s','t','c','d','n', 'F','L','R'); empty where absent. Letters we do not
// know are passed over, as the protocol asks.
class ErrorFields {
 public:
  std::string_view operator[](char letter) const;
  std::string_view severity() const { return (*this)['V'].empty() ? (*this)['S'] : (*this)['V']; }
  std::string_view code() const { return (*this)['C']; }
  std::string_view message() const { return (*this)['M']; }

 private:
  friend bool ReadErrorFields(std::string_view payload, ErrorFields* out);
  std::array<std::string_view, 58> fields_;  // 'A'..'z'
};

struct CopyResponse {
  int8_t format = 0;  // 0 text, 1 binary
  Formats columns;
};
struct BackendKey {
  uint32_t process = 0;
  std::string_view key;  // 4 to limits::kCancelKey bytes
};
struct Notification {
  uint32_t process = 0;
  std::string_view channel;
  std::string_view text;
};
struct AuthenticationMessage {
  int32_t code = 0;       // 0 Ok, 3 cleartext, 5 MD5, 10 SASL, 11 SASLContinue, 12 SASLFinal
  std::string_view data;  // what follows the code
};
struct ProtocolVersionMessage {
  int32_t minor = 0;
  uint32_t options = 0;  // how many were not recognised
};

bool ReadRowDescription(std::string_view payload, FieldReader* out);
bool ReadDataRow(std::string_view payload, Values* out);
bool ReadCommandComplete(std::string_view payload, std::string_view* tag);
bool ReadErrorFields(std::string_view payload, ErrorFields* out);
bool ReadParameterStatus(std::string_view payload, std::string_view* name, std::string_view* value);
bool ReadBackendKey(std::string_view payload, BackendKey* out);
bool ReadReady(std::string_view payload, char* status);  // 'I', 'T' or 'E'
bool ReadParameterDescription(std::string_view payload, Oids* out);
bool ReadCopyResponse(std::string_view payload, CopyResponse* out);  // In, Out and Both
bool ReadNotification(std::string_view payload, Notification* out);
bool ReadAuthentication(std::string_view payload, AuthenticationMessage* out);
// Whether `mechanism` is among those that the data of AuthenticationSASL lists.
bool HasSaslMechanism(std::string_view data, std::string_view mechanism);
bool ReadProtocolVersion(std::string_view payload, ProtocolVersionMessage* out);

// The number of rows at the end of a command tag ("SELECT 5", "INSERT 0 3"), or -1 where it has none.
int64_t TagRows(std::string_view tag);

// ---- Writing, both directions: each appends whole messages to `out` ----

// A message written piece by piece: the length is filled in by End(). Nothing else may be appended to `out` in between
// but this message's payload.
class MessageWriter {
 public:
  MessageWriter(std::string& out, char type) : out_(out), start_(out.size() + 1) {
    out_.push_back(type);
    out_.append(4, '\0');
  }
  void I16(int16_t v) { AppendU16(out_, static_cast<uint16_t>(v)); }
  void I32(int32_t v) { AppendU32(out_, static_cast<uint32_t>(v)); }
  void U16(uint16_t v) { AppendU16(out_, v); }
  void U32(uint32_t v) { AppendU32(out_, v); }
  void Byte(char c) { out_.push_back(c); }
  void Bytes(std::string_view bytes) { out_.append(bytes); }
  // `text` up to its first NUL, and a NUL: what follows a NUL could be read as another field.
  void String(std::string_view text) {
    out_.append(text.substr(0, text.find('\0')));
    out_.push_back('\0');
  }
  void Value(std::optional<std::string_view> value) {
    if (!value) return I32(-1);
    I32(static_cast<int32_t>(value->size()));
    out_.append(*value);
  }
  void End() { StoreU32(out_.data() + start_, static_cast<uint32_t>(out_.size() - start_)); }

 private:
  std::string& out_;
  size_t start_;
};

// Messages without content: 'S' Sync, 'H' Flush, 'X' Terminate, 'c' CopyDone; '1' ParseComplete, '2' BindComplete,
// '3' CloseComplete, 'n' NoData, 'I' EmptyQueryResponse, 's' PortalSuspended.
void WriteEmpty(std::string& out, char type);

// To clients.
void WriteReady(std::string& out, char status);
void WriteCommandComplete(std::string& out, std::string_view tag);
void WriteParameterStatus(std::string& out, std::string_view name, std::string_view value);
void WriteBackendKey(std::string& out, uint32_t process, std::string_view key);
void WriteParameterDescription(std::string& out, std::span<const uint32_t> types);
void WriteRowDescription(std::string& out, std::span<const FieldDescription> fields);
void WriteDataRow(std::string& out, std::span<const Values::Value> values);
void WriteCopyResponse(std::string& out, char type, int8_t format, std::span<const int16_t> columns);  // 'G' 'H' 'W'
void WriteAuthentication(std::string& out, int32_t code, std::string_view data = {});
void WriteNegotiateProtocolVersion(std::string& out, int32_t minor, std::span<const std::string_view> options);
// ErrorResponse of what a client may see of `error`: never operator_detail. Severity "ERROR" or "FATAL".
void WriteError(std::string& out, std::string_view severity, const Error& error);
void WriteNotice(std::string& out, std::string_view severity, std::string_view code, std::string_view message,
                 std::string_view hint = {});

// To PostgreSQL (and, in tests, to ourselves).
void WriteStartup(std::string& out, std::span<const std::pair<std::string_view, std::string_view>> parameters,
                  uint16_t minor = 0);
void WriteSslRequest(std::string& out);
void WriteCancelRequest(std::string& out, uint32_t process, std::string_view key);
void WriteQuery(std::string& out, std::string_view text);
void WriteParse(std::string& out, std::string_view name, std::string_view text, std::span<const uint32_t> types);
void WriteBind(std::string& out, std::string_view portal, std::string_view statement,
               std::span<const int16_t> parameter_formats, std::span<const Values::Value> parameters,
               std::span<const int16_t> result_formats);
void WriteDescribe(std::string& out, char kind, std::string_view name);
void WriteExecute(std::string& out, std::string_view portal, int32_t max_rows);
void WriteClose(std::string& out, char kind, std::string_view name);
void WriteCopyData(std::string& out, std::string_view data);
void WriteCopyFail(std::string& out, std::string_view reason);
void WriteSaslInitial(std::string& out, std::string_view mechanism, std::string_view data);
void WriteSaslResponse(std::string& out, std::string_view data);

// The Error of a message that was not understood: 08P01, which ends the session.
Error Malformed(std::string_view what);

}  // namespace ecluse::pg
