// Any bytes as a startup message and as a row of messages: nothing outside them is read, what is accepted is written
// back to the same bytes, and what was cut off was not accepted before.
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/check.h"
#include "pgwire/codec.h"
#include "pgwire/scram.h"

namespace {

using namespace ecluse;
using namespace ecluse::pg;

volatile size_t sink;

void Touch(std::string_view bytes) {
  size_t sum = 0;
  for (char c : bytes) sum += static_cast<unsigned char>(c);
  sink = sum;
}

std::vector<Values::Value> Walk(const Values& values) {
  std::vector<Values::Value> list(values.begin(), values.end());
  CHECK(list.size() == values.size());
  for (const Values::Value& value : list) {
    if (value) Touch(*value);
  }
  return list;
}

std::vector<int16_t> Walk(const Formats& formats) {
  std::vector<int16_t> list;
  for (size_t i = 0; i < formats.size(); ++i) list.push_back(formats.size() == 1 ? formats.Of(0) : formats.Of(i));
  return list;
}

std::vector<uint32_t> Walk(const Oids& oids) {
  std::vector<uint32_t> list;
  for (size_t i = 0; i < oids.size(); ++i) list.push_back(oids[i]);
  return list;
}

// What was read, written again, must be the payload it was read from.
void Same(std::string_view payload, std::string_view written) {
  Frame frame;
  CHECK(NextFrame(written, written.size(), &frame) == FrameState::frame);
  CHECK(frame.payload == payload);
}

void ClientMessages(std::string_view payload) {
  std::string out;
  std::string_view text;
  if (ReadQuery(payload, &text)) {
    WriteQuery(out, text);
    Same(payload, out);
    out.clear();
  }
  if (ParseMessage parse; ReadParse(payload, &parse)) {
    WriteParse(out, parse.name, parse.text, Walk(parse.types));
    Same(payload, out);
    out.clear();
  }
  if (BindMessage bind; ReadBind(payload, &bind)) {
    WriteBind(out, bind.portal, bind.statement, Walk(bind.parameter_formats), Walk(bind.parameters),
              Walk(bind.result_formats));
    Same(payload, out);
    out.clear();
  }
  if (TargetMessage target; ReadTarget(payload, &target)) {
    WriteDescribe(out, target.kind, target.name);
    Same(payload, out);
    out.clear();
  }
  if (ExecuteMessage execute; ReadExecute(payload, &execute)) {
    WriteExecute(out, execute.portal, execute.max_rows);
    Same(payload, out);
  }
  SaslInitialMessage initial;
  if (ReadSaslInitial(payload, &initial) && initial.data) Touch(*initial.data);
  uint32_t function = 0;
  ReadFunctionCall(payload, &function);
}

void BackendMessages(std::string_view payload) {
  std::string out;
  if (Values row; ReadDataRow(payload, &row)) {
    WriteDataRow(out, Walk(row));
    Same(payload, out);
    out.clear();
  }
  if (FieldReader reader; ReadRowDescription(payload, &reader)) {
    std::vector<FieldDescription> fields;
    FieldDescription field;
    while (reader.Next(&field)) fields.push_back(field);
    CHECK(fields.size() == reader.size());
    WriteRowDescription(out, fields);
    Same(payload, out);
    out.clear();
  }
  if (Oids types; ReadParameterDescription(payload, &types)) {
    WriteParameterDescription(out, Walk(types));
    Same(payload, out);
    out.clear();
  }
  if (CopyResponse copy; ReadCopyResponse(payload, &copy)) {
    WriteCopyResponse(out, 'G', copy.format, Walk(copy.columns));
    Same(payload, out);
    out.clear();
  }
  if (ErrorFields fields; ReadErrorFields(payload, &fields)) {
    for (int letter = 0; letter < 256; ++letter) Touch(fields[static_cast<char>(letter)]);
  }
  if (AuthenticationMessage message; ReadAuthentication(payload, &message)) HasSaslMechanism(message.data, "SCRAM");
  if (BackendKey key; ReadBackendKey(payload, &key)) Touch(key.key);
  if (Notification notification; ReadNotification(payload, &notification)) Touch(notification.text);
  ProtocolVersionMessage version;
  ReadProtocolVersion(payload, &version);
  std::string_view name, value;
  if (ReadParameterStatus(payload, &name, &value)) Touch(value);
  if (ReadCommandComplete(payload, &name)) TagRows(name);
  char status = 0;
  ReadReady(payload, &status);
}

void Scram(std::string_view message) {
  ScramServer server(ScramVerifier::Mock("name", "secret"), std::string(kScramSha256), false, "", "servernonce");
  size_t split = message.size() / 2;
  if (server.First(message)) (void)server.Final("c=biws,r=x,p=y");
  ScramServer again(ScramVerifier::Mock("name", "secret"), std::string(kScramSha256), false, "", "servernonce");
  if (again.First("n,,n=,r=abc")) (void)again.Final(message.substr(split));
  (void)ScramVerifier::Parse(message);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string_view bytes(reinterpret_cast<const char*>(data), size);
  StartupFrame startup;
  if (NextStartupFrame(bytes, &startup) == FrameState::frame) {
    CHECK(startup.size <= size);
    CHECK(NextStartupFrame(bytes.substr(0, startup.size - 1), &startup) == FrameState::need_more);
    ParameterReader parameters(startup.parameters);
    std::string_view name, value;
    while (parameters.Next(&name, &value)) Touch(value);
    Touch(startup.key);
  }
  std::string_view rest = bytes;
  Frame frame;
  while (NextFrame(rest, 1 << 20, &frame) == FrameState::frame) {
    CHECK(frame.whole.size() == frame.payload.size() + 5);
    Frame cut;
    CHECK(NextFrame(rest.substr(0, frame.whole.size() - 1), 1 << 20, &cut) == FrameState::need_more);
    ClientMessages(frame.payload);
    BackendMessages(frame.payload);
    rest.remove_prefix(frame.whole.size());
  }
  ClientMessages(bytes);
  BackendMessages(bytes);
  Scram(bytes);
  return 0;
}
