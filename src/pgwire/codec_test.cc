#include "pgwire/codec.h"

#include <gtest/gtest.h>

#include <functional>
#include <vector>

#include "base/limits.h"

namespace ecluse::pg {
namespace {

using namespace std::string_literals;
using namespace std::string_view_literals;

using Reader = std::function<bool(std::string_view)>;

// A payload that its reader accepts, for the tests that spoil it.
struct Sample {
  const char* name;
  std::string payload;
  Reader read;
};

template <typename Out>
Reader Into(bool (*read)(std::string_view, Out*)) {
  return [read](std::string_view payload) {
    Out out{};
    return read(payload, &out);
  };
}

std::vector<Sample> Samples() {
  std::vector<Sample> samples;
  auto add = [&](const char* name, std::string payload, Reader read) {
    samples.push_back({name, std::move(payload), std::move(read)});
  };
  add("Query", "select 1\0"s, Into(ReadQuery));
  add("Parse", "s1\0select $1\0\0\1\0\0\0\x17"s, Into(ReadParse));
  add("Bind", "p\0s\0\0\1\0\1\0\2\xff\xff\xff\xff\0\0\0\2hi\0\2\0\0\0\1"s, Into(ReadBind));
  add("Describe", "Sname\0"s, Into(ReadTarget));
  add("Execute", "p\0\0\0\0\5"s, Into(ReadExecute));
  add("CopyFail", "why\0"s, Into(ReadCopyFail));
  add("SASLInitialResponse", "SCRAM-SHA-256\0\0\0\0\3n,,"s, Into(ReadSaslInitial));
  add("FunctionCall", "\0\0\0\7\0\1\0\0\0\1\0\0\0\1x\0\0"s, Into(ReadFunctionCall));
  add("RowDescription", "\0\1id\0\0\0\0\1\0\2\0\0\0\x17\0\4\xff\xff\xff\xff\0\0"s, Into(ReadRowDescription));
  add("DataRow", "\0\3\0\0\0\1a\xff\xff\xff\xff\0\0\0\0"s, Into(ReadDataRow));
  add("CommandComplete", "SELECT 1\0"s, Into(ReadCommandComplete));
  add("ErrorResponse", "SERROR\0C42501\0Mno\0\0"s, Into(ReadErrorFields));
  add("ParameterStatus", "TimeZone\0UTC\0"s, [](std::string_view payload) {
    std::string_view name, value;
    return ReadParameterStatus(payload, &name, &value);
  });
  add("ReadyForQuery", "I", Into(ReadReady));
  add("ParameterDescription", "\0\2\0\0\0\x17\0\0\0\x19"s, Into(ReadParameterDescription));
  add("CopyOutResponse", "\0\0\2\0\0\0\0"s, Into(ReadCopyResponse));
  add("NotificationResponse", "\0\0\0\1ch\0text\0"s, Into(ReadNotification));
  add("NegotiateProtocolVersion", "\0\0\0\0\0\0\0\1_pq_.x\0"s, Into(ReadProtocolVersion));
  return samples;
}

TEST(Codec, EverySampleIsAcceptedWholeAndOnlyWhole) {
  for (const Sample& sample : Samples()) {
    EXPECT_TRUE(sample.read(sample.payload)) << sample.name;
    for (size_t cut = 0; cut < sample.payload.size(); ++cut) {
      EXPECT_FALSE(sample.read(std::string_view(sample.payload).substr(0, cut))) << sample.name << " cut at " << cut;
    }
    EXPECT_FALSE(sample.read(sample.payload + '\0')) << sample.name << " with a byte left over";
    EXPECT_FALSE(sample.read(sample.payload + "x")) << sample.name << " with a byte left over";
  }
}

TEST(Codec, FrameIsFoundAtEveryPacketBoundary) {
  std::string bytes = "Q\0\0\0\x0dselect 1\0S\0\0\0\4"s;
  for (size_t cut = 0; cut <= bytes.size(); ++cut) {
    Frame frame;
    size_t needed = 0;
    FrameState state = NextFrame(std::string_view(bytes).substr(0, cut), 100, &frame, &needed);
    if (cut < 14) {
      ASSERT_EQ(state, FrameState::need_more) << cut;
      EXPECT_EQ(needed, cut < 5 ? 5u : 14u);
      continue;
    }
    ASSERT_EQ(state, FrameState::frame) << cut;
    EXPECT_EQ(frame.type, 'Q');
    EXPECT_EQ(frame.payload, "select 1\0"sv);
    EXPECT_EQ(frame.whole.size(), 14u);
  }
}

TEST(Codec, LengthsThatLieAreViolationsBeforeAnythingArrives) {
  Frame frame;
  for (uint32_t length : {0u, 1u, 3u, 0x80000000u, 0xffffffffu, 105u}) {
    std::string bytes = "Q";
    AppendU32(bytes, length);
    EXPECT_EQ(NextFrame(bytes, 100, &frame), FrameState::violation) << length;
  }
  std::string most = "Q";
  AppendU32(most, 104);
  EXPECT_EQ(NextFrame(most, 100, &frame), FrameState::need_more);
  EXPECT_EQ(NextFrame("S\0\0\0\4"sv, 0, &frame), FrameState::frame);
}

std::string Startup(std::string_view body) {
  std::string out;
  AppendU32(out, static_cast<uint32_t>(body.size() + 4));
  return out.append(body);
}

TEST(Codec, StartupKinds) {
  StartupFrame frame;
  std::string startup = Startup("\0\3\0\0user\0ann\0database\0d\0\0"sv);
  ASSERT_EQ(NextStartupFrame(startup, &frame), FrameState::frame);
  EXPECT_EQ(frame.kind, StartupFrame::Kind::startup);
  EXPECT_EQ(frame.minor, 0);
  ParameterReader parameters(frame.parameters);
  std::string_view name, value;
  ASSERT_TRUE(parameters.Next(&name, &value));
  EXPECT_EQ(name, "user");
  EXPECT_EQ(value, "ann");
  ASSERT_TRUE(parameters.Next(&name, &value));
  EXPECT_EQ(name, "database");
  EXPECT_FALSE(parameters.Next(&name, &value));

  ASSERT_EQ(NextStartupFrame(Startup("\0\3\0\x02user\0a\0\0"sv), &frame), FrameState::frame);
  EXPECT_EQ(frame.minor, 2);
  ASSERT_EQ(NextStartupFrame("\0\0\0\x08\x04\xd2\x16\x2f"sv, &frame), FrameState::frame);
  EXPECT_EQ(frame.kind, StartupFrame::Kind::ssl);
  ASSERT_EQ(NextStartupFrame("\0\0\0\x08\x04\xd2\x16\x30"sv, &frame), FrameState::frame);
  EXPECT_EQ(frame.kind, StartupFrame::Kind::gssenc);
}

TEST(Codec, StartupSplitAnywhereAndLengthsThatLie) {
  std::string good = Startup("\0\3\0\0user\0ann\0\0"sv);
  StartupFrame frame;
  for (size_t cut = 0; cut < good.size(); ++cut) {
    EXPECT_EQ(NextStartupFrame(std::string_view(good).substr(0, cut), &frame), FrameState::need_more) << cut;
  }
  EXPECT_EQ(NextStartupFrame(good + "more", &frame), FrameState::frame);
  EXPECT_EQ(frame.size, good.size());
  for (uint32_t length : {0u, 4u, 7u, 10'001u, 0xffffffffu}) {
    std::string bytes;
    AppendU32(bytes, length);
    EXPECT_EQ(NextStartupFrame(bytes, &frame), FrameState::violation) << length;
  }
}

TEST(Codec, StartupThatIsMalformed) {
  StartupFrame frame;
  for (std::string_view body : {"\0\2\0\0user\0a\0\0"sv,        // protocol 2
                                "\x04\xd2\x16\x2fx"sv,          // SSLRequest with something after it
                                "\0\3\0\0user\0a\0"sv,          // no end
                                "\0\3\0\0user\0"sv,             // a name without a value
                                "\0\3\0\0user\0a\0\0\0"sv,      // a byte after the end
                                "\0\3\0\0user\0a\0\0x\0y\0"sv,  // parameters after the end
                                "\0\3\0\0"sv}) {
    EXPECT_EQ(NextStartupFrame(Startup(body), &frame), FrameState::violation) << testing::PrintToString(body);
  }
}

TEST(Codec, CancelKeysOfEveryLength) {
  for (size_t size : {0, 3, 4, 32, 256, 257}) {
    std::string bytes;
    WriteCancelRequest(bytes, 77, std::string(size, 'k'));
    StartupFrame frame;
    bool fits = size >= 4 && size <= limits::kCancelKey;
    ASSERT_EQ(NextStartupFrame(bytes, &frame), fits ? FrameState::frame : FrameState::violation) << size;
    if (!fits) continue;
    EXPECT_EQ(frame.kind, StartupFrame::Kind::cancel);
    EXPECT_EQ(frame.process, 77u);
    EXPECT_EQ(frame.key, std::string(size, 'k'));
  }
}

TEST(Codec, BindValuesAndFormats) {
  BindMessage bind;
  ASSERT_TRUE(ReadBind("p\0s\0\0\1\0\1\0\3\xff\xff\xff\xff\0\0\0\2hi\0\0\0\0\0\2\0\0\0\1"sv, &bind));
  EXPECT_EQ(bind.portal, "p");
  EXPECT_EQ(bind.statement, "s");
  std::vector<Values::Value> values(bind.parameters.begin(), bind.parameters.end());
  ASSERT_EQ(values.size(), 3u);
  EXPECT_FALSE(values[0]);
  EXPECT_EQ(values[1], "hi");
  EXPECT_EQ(values[2], "");
  EXPECT_EQ(bind.parameter_formats.Of(2), 1);  // one for all
  EXPECT_EQ(bind.result_formats.Of(0), 0);
  EXPECT_EQ(bind.result_formats.Of(1), 1);
  EXPECT_EQ(Formats().Of(5), 0);
}

TEST(Codec, BindThatDoesNotAddUp) {
  BindMessage bind;
  EXPECT_FALSE(ReadBind("\0\0\0\2\0\0\0\0\0\1\0\0\0\0\0\0"sv, &bind)) << "two formats for one parameter";
  EXPECT_FALSE(ReadBind("\0\0\0\0\0\1\xff\xff\xff\xfe\0\0"sv, &bind)) << "a length of -2";
  EXPECT_FALSE(ReadBind("\0\0\0\0\0\1\x7f\xff\xff\xff\0\0"sv, &bind)) << "a length past the end";
  EXPECT_FALSE(ReadBind("\0\0\0\0\xff\xff\0\0"sv, &bind)) << "65535 parameters that are not there";
  EXPECT_FALSE(ReadBind("\0\0\0\1\0\2\0\0\0\0"sv, &bind)) << "a format that does not exist";
}

TEST(Codec, NegativeCountsAndEmbeddedNuls) {
  ParseMessage parse;
  EXPECT_FALSE(ReadParse("s\0select 1\0\xff\xff"sv, &parse));
  std::string_view text;
  EXPECT_FALSE(ReadQuery("select\0 1\0"sv, &text)) << "a NUL inside the text";
  EXPECT_FALSE(ReadQuery(""sv, &text));
  FieldReader fields;
  EXPECT_FALSE(ReadRowDescription("\xff\xff"sv, &fields));
  TargetMessage target;
  EXPECT_FALSE(ReadTarget("Xname\0"sv, &target));
  char status = 0;
  EXPECT_FALSE(ReadReady("Q"sv, &status));
}

TEST(Codec, DataRowWalk) {
  Values row;
  ASSERT_TRUE(ReadDataRow("\0\3\0\0\0\1a\xff\xff\xff\xff\0\0\0\0"sv, &row));
  std::vector<Values::Value> values(row.begin(), row.end());
  EXPECT_EQ(values, (std::vector<Values::Value>{"a", std::nullopt, ""}));
  ASSERT_TRUE(ReadDataRow("\0\0"sv, &row));
  EXPECT_EQ(row.begin(), row.end());
}

TEST(Codec, FieldsRoundTrip) {
  std::vector<FieldDescription> fields = {{"id", 7, 1, 23, 4, -1, 0}, {"na\"me", 0, 0, 25, -1, 12, 1}};
  std::string bytes;
  WriteRowDescription(bytes, fields);
  Frame frame;
  ASSERT_EQ(NextFrame(bytes, 1000, &frame), FrameState::frame);
  FieldReader reader;
  ASSERT_TRUE(ReadRowDescription(frame.payload, &reader));
  ASSERT_EQ(reader.size(), 2u);
  for (const FieldDescription& field : fields) {
    FieldDescription read;
    ASSERT_TRUE(reader.Next(&read));
    EXPECT_EQ(read.name, field.name);
    EXPECT_EQ(read.table, field.table);
    EXPECT_EQ(read.column, field.column);
    EXPECT_EQ(read.type, field.type);
    EXPECT_EQ(read.type_size, field.type_size);
    EXPECT_EQ(read.modifier, field.modifier);
    EXPECT_EQ(read.format, field.format);
  }
}

TEST(Codec, ErrorFieldsByLetter) {
  ErrorFields fields;
  ASSERT_TRUE(ReadErrorFields("SFATAL\0VFATAL\0C57P01\0Mgone\0Hwait\0\0"sv, &fields));
  EXPECT_EQ(fields.severity(), "FATAL");
  EXPECT_EQ(fields.code(), "57P01");
  EXPECT_EQ(fields.message(), "gone");
  EXPECT_EQ(fields['H'], "wait");
  EXPECT_EQ(fields['D'], "");
  EXPECT_EQ(fields['\xff'], "");
  EXPECT_TRUE(ReadErrorFields("\x01x\0\0"sv, &fields)) << "unknown letters are passed over";
}

TEST(Codec, ErrorNeverCarriesTheOperatorsPart) {
  Error error{"42501", "not allowed", "ask", "rule.x", "SECRET-DETAIL", 9};
  std::string bytes;
  WriteError(bytes, "ERROR", error);
  EXPECT_EQ(bytes, "E\0\0\0\x37SERROR\0VERROR\0C42501\0Mnot allowed\0Hask\0P9\0Rrule.x\0\0"s);
  EXPECT_EQ(bytes.find("SECRET"), std::string::npos);
}

TEST(Codec, WritersCutAtNulSoThatNoFieldCanBeSmuggled) {
  std::string bytes;
  WriteParameterStatus(bytes, "a\0b"sv, "v");
  EXPECT_EQ(bytes,
            "S\0\0\0\x08"
            "a\0v\0"s);
}

TEST(Codec, WrittenBytes) {
  std::string out;
  WriteReady(out, 'T');
  WriteEmpty(out, '1');
  WriteCommandComplete(out, "BEGIN");
  WriteBackendKey(out, 258, "\1\2\3\4"sv);
  EXPECT_EQ(out,
            "Z\0\0\0\5T1\0\0\0\4"
            "C\0\0\0\x0a"
            "BEGIN\0"
            "K\0\0\0\x0c\0\0\1\2\1\2\3\4"s);
  out.clear();
  std::string_view options[] = {"_pq_.x"};
  WriteNegotiateProtocolVersion(out, 0, options);
  EXPECT_EQ(out, "v\0\0\0\x13\0\0\0\0\0\0\0\1_pq_.x\0"s);
  out.clear();
  std::pair<std::string_view, std::string_view> parameters[] = {{"user", "a"}};
  WriteStartup(out, parameters);
  EXPECT_EQ(out, "\0\0\0\x10\0\3\0\0user\0a\0\0"s);
  out.clear();
  WriteSslRequest(out);
  EXPECT_EQ(out, "\0\0\0\x08\x04\xd2\x16\x2f"s);
}

TEST(Codec, WhatClientsWriteIsWhatIsRead) {
  std::string out;
  uint32_t types[] = {23, 0};
  WriteParse(out, "s", "select $1", types);
  Frame frame;
  ASSERT_EQ(NextFrame(out, 1000, &frame), FrameState::frame);
  ParseMessage parse;
  ASSERT_TRUE(ReadParse(frame.payload, &parse));
  EXPECT_EQ(parse.text, "select $1");
  ASSERT_EQ(parse.types.size(), 2u);
  EXPECT_EQ(parse.types[0], 23u);

  out.clear();
  int16_t formats[] = {1};
  Values::Value values[] = {"x", std::nullopt};
  WriteBind(out, "", "s", formats, values, {});
  ASSERT_EQ(NextFrame(out, 1000, &frame), FrameState::frame);
  BindMessage bind;
  ASSERT_TRUE(ReadBind(frame.payload, &bind));
  EXPECT_EQ(bind.parameters.size(), 2u);

  out.clear();
  WriteSaslInitial(out, "SCRAM-SHA-256", "n,,");
  ASSERT_EQ(NextFrame(out, 1000, &frame), FrameState::frame);
  SaslInitialMessage initial;
  ASSERT_TRUE(ReadSaslInitial(frame.payload, &initial));
  EXPECT_EQ(initial.data, "n,,");
}

TEST(Codec, SaslMechanismsAreComparedWhole) {
  EXPECT_TRUE(HasSaslMechanism("SCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0"sv, "SCRAM-SHA-256"));
  EXPECT_FALSE(HasSaslMechanism("SCRAM-SHA-256-PLUS\0\0"sv, "SCRAM-SHA-256"));
  EXPECT_FALSE(HasSaslMechanism("SCRAM-SHA-256"sv, "SCRAM-SHA-256")) << "not ended";
}

TEST(Codec, TagRows) {
  EXPECT_EQ(TagRows("SELECT 5"), 5);
  EXPECT_EQ(TagRows("INSERT 0 3"), 3);
  EXPECT_EQ(TagRows("BEGIN"), -1);
  EXPECT_EQ(TagRows("COPY x"), -1);
  EXPECT_EQ(TagRows("SELECT 99999999999999999999"), -1);
}

}  // namespace
}  // namespace ecluse::pg
