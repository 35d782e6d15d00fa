#include "pgwire/startup.h"

#include <algorithm>
#include <vector>

#include "base/bytes.h"
#include "pgwire/codec.h"

namespace ecluse {
namespace asio = boost::asio;

namespace {

// What the client's first messages asked for.
struct Asked {
  std::string user;
  std::map<std::string, std::string> settings;
  bool negotiate = false;                    // a newer minor or protocol options
  std::vector<std::string> unknown_options;  // `_pq_.*`
};

// Splits `options` at spaces, a backslash keeping the next character as it is (PostgreSQL manual, "options").
std::vector<std::string> SplitOptions(std::string_view options) {
  std::vector<std::string> words;
  bool in_word = false;
  for (size_t i = 0; i < options.size(); ++i) {
    char c = options[i];
    if (c == ' ' || c == '\t' || c == '\n' || c == '\r') {
      in_word = false;
      continue;
    }
    if (!in_word) words.emplace_back();
    in_word = true;
    if (c == '\\' && i + 1 < options.size()) c = options[++i];
    words.back().push_back(c);
  }
  return words;
}

Status TakeOptions(std::string_view options, std::map<std::string, std::string>& settings) {
  std::vector<std::string> words = SplitOptions(options);
  for (size_t i = 0; i < words.size(); ++i) {
    std::string setting;
    if (words[i] == "-c" && i + 1 < words.size()) {
      setting = words[++i];
    } else if (words[i].starts_with("-c") || words[i].starts_with("--")) {
      setting = words[i].substr(2);
    }
    size_t equals = setting.find('=');
    if (equals == 0 || equals == std::string::npos) {
      return Fail(sqlstate::kInvalidParameter, "the gate does not take the startup option \"" + words[i] + "\"",
                  "Options are settings, written -c name=value.", "wire.options");
    }
    std::string name = AsciiLower(setting.substr(0, equals));
    std::replace(name.begin(), name.end(), '-', '_');
    settings[name] = setting.substr(equals + 1);
  }
  return {};
}

// PostgreSQL compares encoding names by their letters and digits alone.
bool IsUtf8(std::string_view encoding) {
  std::string plain;
  for (char c : AsciiLower(encoding)) {
    if ((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9')) plain.push_back(c);
  }
  return plain == "utf8" || plain == "unicode" || plain == "sqlascii";
}

Status TakeParameter(std::string_view name, std::string_view value, Asked& asked) {
  if (name == "user") {
    asked.user = value;
  } else if (name == "database") {
    // The gate stands before one, whatever it is called here.
  } else if (name == "options") {
    return TakeOptions(value, asked.settings);
  } else if (name == "replication") {
    std::string text = AsciiLower(value);
    if (text == "false" || text == "off" || text == "no" || text == "0") return {};
    return Fail(sqlstate::kNotAllowed, "replication does not pass the gate",
                "It copies whole tables without saying about whom. Query the tables instead.", "wire.replication");
  } else if (name.starts_with("_pq_.")) {
    asked.negotiate = true;
    asked.unknown_options.emplace_back(name);
  } else {
    asked.settings[AsciiLower(name)] = value;
  }
  return {};
}

Result<Asked> TakeStartup(const pg::StartupFrame& frame) {
  Asked asked;
  asked.negotiate = frame.minor > 0;
  pg::ParameterReader parameters(frame.parameters);
  std::string_view name, value;
  while (parameters.Next(&name, &value)) {
    if (Status taken = TakeParameter(name, value, asked); !taken) return std::unexpected(std::move(taken).error());
  }
  if (asked.user.empty()) {
    return Fail(sqlstate::kUnknownUser, "no user name was given", "Say who connects, for example psql -U alice.",
                "wire.no-user");
  }
  if (asked.user.size() > limits::kIdentifier) {
    return Fail(sqlstate::kUnknownUser, "the user name is longer than 63 bytes", "Check the name.", "wire.no-user");
  }
  if (auto encoding = asked.settings.find("client_encoding"); encoding != asked.settings.end()) {
    if (!IsUtf8(encoding->second)) {
      return Fail(sqlstate::kInvalidParameter,
                  "the gate does not speak the client encoding \"" + encoding->second + "\"",
                  "Connect with client_encoding=UTF8.", "wire.encoding");
    }
  }
  return asked;
}

asio::awaitable<Refused> Refuse(Stream* stream, Error error) {
  pg::WriteError(stream->out(), "FATAL", error);
  co_await stream->Flush();
  co_return Refused{std::move(error)};
}

// Waits for one whole message that has a type byte.
asio::awaitable<Result<pg::Frame>> NextMessage(Stream* stream) {
  pg::Frame frame;
  while (true) {
    switch (stream->TryNext(&frame)) {
      case pg::FrameState::frame:
        co_return frame;
      case pg::FrameState::violation:
        co_return std::unexpected(pg::Malformed("authentication"));
      case pg::FrameState::need_more:
        break;
    }
    if (Io io = co_await stream->Fill(); io != Io::ok) co_return std::unexpected(IoError(io, *stream, "the client"));
  }
}

// Answers requests for encryption until the startup or cancel message is there. The frame's views live in the stream.
asio::awaitable<Result<pg::StartupFrame>> Open(Stream* stream, const StartupOptions* options) {
  bool asked_ssl = false, asked_gss = false;
  while (true) {
    pg::StartupFrame frame;
    pg::FrameState state = pg::NextStartupFrame(stream->buffered(), &frame);
    if (state == pg::FrameState::violation) co_return std::unexpected(pg::Malformed("startup"));
    if (state == pg::FrameState::need_more) {
      if (Io io = co_await stream->Fill(); io != Io::ok) co_return std::unexpected(IoError(io, *stream, "the client"));
      continue;
    }
    stream->Consume(frame.size);
    bool ssl = frame.kind == pg::StartupFrame::Kind::ssl, gss = frame.kind == pg::StartupFrame::Kind::gssenc;
    if (!ssl && !gss) co_return frame;
    if (stream->encrypted() || (ssl ? asked_ssl : asked_gss))
      co_return std::unexpected(pg::Malformed("second SSLRequest"));
    (ssl ? asked_ssl : asked_gss) = true;
    bool accept = ssl && options->tls != nullptr;
    if (accept && !stream->buffered().empty()) {
      co_return Fail(sqlstate::kProtocolViolation, "bytes arrived before TLS was agreed on",
                     "They would be taken for protected ones. Something between the client and the gate adds them.",
                     "wire.tls-early-bytes");
    }
    stream->out().push_back(accept ? 'S' : 'N');
    if (Io io = co_await stream->Flush(); io != Io::ok) co_return std::unexpected(IoError(io, *stream, "the client"));
    if (!accept) continue;
    if (Status upgraded = co_await stream->AcceptTls(options->tls); !upgraded) {
      co_return std::unexpected(std::move(upgraded).error());
    }
  }
}

// Runs SCRAM; its last message and AuthenticationOk stay unsent for the session to send with what follows.
asio::awaitable<Result<Principal>> Authenticate(Stream* stream, const StartupOptions* options,
                                                const std::string* user) {
  Result<ScramVerifier> verifier = options->authenticator->Begin(*user, options->address);
  if (!verifier) co_return std::unexpected(std::move(verifier).error());
  std::string end_point = stream->channel_binding();
  bool plus = !end_point.empty();
  std::string mechanisms;
  if (plus) mechanisms.append(kScramSha256Plus).push_back('\0');
  mechanisms.append(kScramSha256).append(2, '\0');
  pg::WriteAuthentication(stream->out(), 10, mechanisms);
  if (Io io = co_await stream->Flush(); io != Io::ok) co_return std::unexpected(IoError(io, *stream, "the client"));

  ECLUSE_CO_TRY(pg::Frame initial_frame, co_await NextMessage(stream));
  pg::SaslInitialMessage initial;
  if (initial_frame.type != 'p' || !pg::ReadSaslInitial(initial_frame.payload, &initial) || !initial.data ||
      (initial.mechanism != kScramSha256 && !(plus && initial.mechanism == kScramSha256Plus))) {
    co_return std::unexpected(pg::Malformed("SASLInitialResponse"));
  }
  ScramServer scram(*verifier, std::string(initial.mechanism), plus, std::move(end_point), ScramNonce());
  ECLUSE_CO_TRY(std::string server_first, scram.First(*initial.data));
  pg::WriteAuthentication(stream->out(), 11, server_first);
  if (Io io = co_await stream->Flush(); io != Io::ok) co_return std::unexpected(IoError(io, *stream, "the client"));

  ECLUSE_CO_TRY(pg::Frame final_frame, co_await NextMessage(stream));
  if (final_frame.type != 'p') co_return std::unexpected(pg::Malformed("SASLResponse"));
  ECLUSE_CO_TRY(ScramServer::Outcome outcome, scram.Final(final_frame.payload));
  Result<Principal> principal =
      options->authenticator->Finish(*user, options->address, *verifier, outcome.authenticated);
  if (!principal) co_return std::unexpected(std::move(principal).error());
  pg::WriteAuthentication(stream->out(), 12, outcome.server_final);
  pg::WriteAuthentication(stream->out(), 0);
  co_return std::move(*principal);
}

}  // namespace

asio::awaitable<Arrival> Greet(Stream* stream, StartupOptions options) {
  stream->SetDeadline(std::chrono::steady_clock::now() + options.time);
  stream->set_frame_cap(limits::kAuthMessage);
  Result<pg::StartupFrame> first = co_await Open(stream, &options);
  if (!first) co_return co_await Refuse(stream, std::move(first).error());
  if (first->kind == pg::StartupFrame::Kind::cancel) {
    co_return CancelAsked{first->process, std::string(first->key)};
  }
  Result<Asked> asked = TakeStartup(*first);
  if (!asked) co_return co_await Refuse(stream, std::move(asked).error());
  if (!stream->encrypted() && !options.allow_cleartext) {
    Error error{std::string(sqlstate::kUnknownUser),
                "the gate takes encrypted connections only",
                "Connect with sslmode=require, or better verify-full.",
                "wire.cleartext",
                {},
                0};
    co_return co_await Refuse(stream, std::move(error));
  }
  if (asked->negotiate) {
    std::vector<std::string_view> names(asked->unknown_options.begin(), asked->unknown_options.end());
    pg::WriteNegotiateProtocolVersion(stream->out(), 0, names);
  }
  Result<Principal> principal = co_await Authenticate(stream, &options, &asked->user);
  if (!principal) co_return co_await Refuse(stream, std::move(principal).error());
  stream->SetDeadline(Stream::kNoDeadline);
  stream->set_frame_cap(limits::kClientMessage);
  co_return Authenticated{std::move(*principal), std::move(asked->settings)};
}

}  // namespace ecluse
