#include "pgwire/startup.h"

#include <gtest/gtest.h>
#include <sys/socket.h>

#include <cstdlib>
#include <filesystem>

#include "base/limits.h"
#include "base/test_coroutine.h"

namespace ecluse {
namespace {

namespace asio = boost::asio;
using namespace std::chrono_literals;
using namespace std::string_literals;
using namespace std::string_view_literals;

class OnlyAlice : public Authenticator {
 public:
  Result<ScramVerifier> Begin(const std::string& user, const std::string&) override {
    if (user == "lockedout") return Fail("28000", "too many failed logins", "Wait.");
    if (user == "alice") return ScramVerifier::Make("pencil", "0123456789abcdef", 4096);
    return ScramVerifier::Mock(user, "secret");
  }
  Result<Principal> Finish(const std::string& user, const std::string&, const ScramVerifier&, bool proof) override {
    if (!proof || user != "alice") return Fail("28P01", "the name or the password is wrong", "Check both.");
    return Principal{user, "north", {"officer"}, "officer", {}};
  }
};

class StartupTest : public testing::Test {
 protected:
  StartupTest() {
    int fds[2];
    EXPECT_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    for (int i = 0; i < 2; ++i) {
      Stream::Socket socket(io);
      socket.assign(asio::generic::stream_protocol(AF_UNIX, 0), fds[i]);
      (i == 0 ? server : client) = std::make_unique<Stream>(std::move(socket));
    }
    client->set_frame_cap(100'000);
    options.authenticator = &alice;
    options.allow_cleartext = true;
    options.address = "local";
  }

  static void SetUpTestSuite() {
    std::string pattern = (std::filesystem::temp_directory_path() / "ecluse-tls-XXXXXX").string();
    folder = mkdtemp(pattern.data());
    std::string command = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -keyout " + folder +
                          "/key.pem -out " + folder + "/cert.pem >/dev/null 2>&1";
    ASSERT_EQ(std::system(command.c_str()), 0);
  }
  static void TearDownTestSuite() { std::filesystem::remove_all(folder); }
  void OfferTls() {
    auto context = TlsContext::Server(folder + "/cert.pem", folder + "/key.pem");
    ASSERT_TRUE(context) << context.error().message;
    options.tls = *context;
  }
  void Start() { asio::co_spawn(io, Serve(server.get(), options, &arrival), asio::detached); }
  static asio::awaitable<void> Serve(Stream* stream, StartupOptions given, std::optional<Arrival>* arrival) {
    *arrival = co_await Greet(stream, std::move(given));
    co_await stream->Flush();
  }

  static inline std::string folder;
  asio::io_context io;
  OnlyAlice alice;
  StartupOptions options;
  std::unique_ptr<Stream> server, client;
  std::optional<Arrival> arrival;
};

std::string StartupBytes(std::string_view body, uint16_t minor = 0) {
  std::string out;
  AppendU32(out, static_cast<uint32_t>(body.size() + 8));
  AppendU32(out, (3u << 16) | minor);
  return out.append(body);
}

asio::awaitable<std::string> Receive(Stream* stream) {
  pg::Frame frame;
  while (stream->TryNext(&frame) == pg::FrameState::need_more) {
    if (co_await stream->Fill() != Io::ok) co_return "gone";
  }
  co_return std::string(frame.whole);
}

// The client's whole conversation: "ok", or the SQLSTATE of the refusal.
asio::awaitable<void> Converse(Stream* stream, std::string startup, std::string password, bool split,
                               std::string* outcome, std::vector<std::string>* seen) {
  if (split) {
    for (char c : startup) {
      stream->out().push_back(c);
      co_await stream->Flush();
      co_await asio::post(co_await asio::this_coro::executor, asio::use_awaitable);
    }
  } else {
    stream->out() += startup;
    co_await stream->Flush();
  }
  std::string binding = stream->channel_binding();
  std::optional<ScramClient> scram;
  while (true) {
    std::string message = co_await Receive(stream);
    if (seen != nullptr) seen->push_back(message);
    pg::Frame frame;
    if (pg::NextFrame(message, 100'000, &frame) != pg::FrameState::frame) {
      *outcome = message;
      co_return;
    }
    pg::ErrorFields fields;
    pg::AuthenticationMessage authentication;
    if (frame.type == 'E' && pg::ReadErrorFields(frame.payload, &fields)) {
      *outcome = fields.code();
      co_return;
    }
    if (frame.type != 'R' || !pg::ReadAuthentication(frame.payload, &authentication)) continue;
    if (authentication.code == 10) {
      scram.emplace(password, binding, pg::HasSaslMechanism(authentication.data, kScramSha256Plus), ScramNonce());
      pg::WriteSaslInitial(stream->out(), scram->mechanism(), scram->First());
    } else if (authentication.code == 11) {
      pg::WriteSaslResponse(stream->out(), *scram->Final(authentication.data));
    } else if (authentication.code == 12) {
      EXPECT_TRUE(scram->Verify(authentication.data));
    } else {
      *outcome = authentication.code == 0 ? "ok" : "?";
      co_return;
    }
    co_await stream->Flush();
  }
}

TEST_F(StartupTest, AGoodPasswordOpensASession) {
  Start();
  std::string outcome;
  RunCoroutine(io, Converse(client.get(),
                            StartupBytes("user\0alice\0database\0reg\0application_name\0psql\0client_encoding\0UTF8\0"
                                         "options\0-c TimeZone=UTC --statement-timeout=5 -cDateStyle=ISO,\\ MDY\0\0"sv),
                            "pencil", false, &outcome, nullptr));
  EXPECT_EQ(outcome, "ok");
  ASSERT_TRUE(arrival && std::holds_alternative<Authenticated>(*arrival));
  const auto& session = std::get<Authenticated>(*arrival);
  EXPECT_EQ(session.principal.name, "alice");
  std::map<std::string, std::string> expected = {{"application_name", "psql"},
                                                 {"client_encoding", "UTF8"},
                                                 {"timezone", "UTC"},
                                                 {"statement_timeout", "5"},
                                                 {"datestyle", "ISO, MDY"}};
  EXPECT_EQ(session.settings, expected);
}

TEST_F(StartupTest, EveryByteInAPacketOfItsOwn) {
  Start();
  std::string outcome;
  RunCoroutine(io, Converse(client.get(), StartupBytes("user\0alice\0\0"sv), "pencil", true, &outcome, nullptr));
  EXPECT_EQ(outcome, "ok");
  EXPECT_EQ(std::get<Authenticated>(*arrival).principal.name, "alice");
}

TEST_F(StartupTest, AWrongPasswordDoesNot) {
  Start();
  std::string outcome;
  RunCoroutine(io, Converse(client.get(), StartupBytes("user\0alice\0\0"sv), "pen", false, &outcome, nullptr));
  EXPECT_EQ(outcome, "28P01");
  EXPECT_TRUE(std::holds_alternative<Refused>(*arrival));
}

// What is refused at startup, with its SQLSTATE.
class RefusalTest : public StartupTest, public testing::WithParamInterface<std::pair<std::string, std::string>> {};

TEST_P(RefusalTest, IsRefusedInWords) {
  options.allow_cleartext = GetParam().second != "28000" || GetParam().first.find("alice") == std::string::npos;
  Start();
  std::string outcome;
  RunCoroutine(io, Converse(client.get(), GetParam().first, "pencil", false, &outcome, nullptr));
  EXPECT_EQ(outcome, GetParam().second);
  ASSERT_TRUE(std::holds_alternative<Refused>(*arrival));
  EXPECT_FALSE(std::get<Refused>(*arrival).reason.hint.empty());
}

INSTANTIATE_TEST_SUITE_P(
    Startup, RefusalTest,
    testing::Values(std::pair{StartupBytes("user\0alice\0\0"sv), "28000"s},  // in clear, which is not allowed here
                    std::pair{StartupBytes("database\0x\0\0"sv), "28000"s},
                    std::pair{StartupBytes("user\0lockedout\0\0"sv), "28000"s},
                    std::pair{StartupBytes("user\0alice\0replication\0database\0\0"sv), "42501"s},
                    std::pair{StartupBytes("user\0alice\0client_encoding\0LATIN1\0\0"sv), "22023"s},
                    std::pair{StartupBytes("user\0alice\0options\0-f x\0\0"sv), "22023"s},
                    std::pair{StartupBytes("user\0alice\0options\0-c =x\0\0"sv), "22023"s},
                    std::pair{"\0\0\0\4"s, "08P01"s}, std::pair{"\xff\xff\xff\xff"s, "08P01"s},
                    std::pair{"GET / HTTP/1.1\r\n\r\n"s, "08P01"s}));

TEST_F(StartupTest, NewerMinorsAreNegotiatedOnce) {
  Start();
  std::string outcome;
  std::vector<std::string> seen;
  RunCoroutine(io, Converse(client.get(), StartupBytes("user\0alice\0_pq_.one\0x\0_pq_.two\0y\0\0"sv, 2), "pencil",
                            false, &outcome, &seen));
  EXPECT_EQ(outcome, "ok");
  EXPECT_EQ(seen[0], "v\0\0\0\x1e\0\0\0\0\0\0\0\2_pq_.one\0_pq_.two\0"s);
  EXPECT_EQ(std::count_if(seen.begin(), seen.end(), [](const std::string& m) { return m[0] == 'v'; }), 1);
  EXPECT_TRUE(std::get<Authenticated>(*arrival).settings.empty());
}

asio::awaitable<void> AskEncryption(Stream* stream, std::string request, char* answer) {
  stream->out() += request;
  co_await stream->Flush();
  co_await stream->Fill();
  *answer = stream->buffered().empty() ? '-' : stream->buffered()[0];
  if (*answer != '-') stream->Consume(1);
}

constexpr std::string_view kSsl = "\0\0\0\x08\x04\xd2\x16\x2f"sv, kGss = "\0\0\0\x08\x04\xd2\x16\x30"sv;

TEST_F(StartupTest, EncryptionThatIsNotOfferedIsDeclinedAndTheSessionGoesOn) {
  Start();
  char answer = 0;
  RunCoroutine(io, AskEncryption(client.get(), std::string(kGss), &answer));
  EXPECT_EQ(answer, 'N');
  RunCoroutine(io, AskEncryption(client.get(), std::string(kSsl), &answer));
  EXPECT_EQ(answer, 'N');
  std::string outcome;
  RunCoroutine(io, Converse(client.get(), StartupBytes("user\0alice\0\0"sv), "pencil", false, &outcome, nullptr));
  EXPECT_EQ(outcome, "ok");
}

TEST_F(StartupTest, AskingTwiceIsAViolation) {
  Start();
  std::string outcome;
  char answer = 0;
  RunCoroutine(io, AskEncryption(client.get(), std::string(kSsl), &answer));
  RunCoroutine(io, Converse(client.get(), std::string(kSsl), "", false, &outcome, nullptr));
  EXPECT_EQ(outcome, "08P01");
}

asio::awaitable<void> TlsSession(Stream* stream, bool offer_seen, std::string* outcome) {
  char answer = 0;
  co_await AskEncryption(stream, std::string(kSsl), &answer);
  EXPECT_EQ(answer, 'S');
  auto context = TlsContext::Client(false, "");
  Status upgraded = co_await stream->ConnectTls(*context, "");
  EXPECT_TRUE(upgraded) << upgraded.error().message;
  if (!upgraded) co_return;
  (void)offer_seen;
  co_await Converse(stream, StartupBytes("user\0alice\0\0"sv), "pencil", false, outcome, nullptr);
}

TEST_F(StartupTest, TlsWithChannelBinding) {
  OfferTls();
  options.allow_cleartext = false;
  Start();
  std::string outcome;
  RunCoroutine(io, TlsSession(client.get(), true, &outcome));
  EXPECT_EQ(outcome, "ok");
  EXPECT_TRUE(server->encrypted());
  EXPECT_EQ(server->channel_binding().size(), 32u);
  EXPECT_EQ(server->channel_binding(), client->channel_binding());
}

TEST_F(StartupTest, BytesBufferedBeforeTlsAreNeverTakenForProtectedOnes) {
  OfferTls();
  Start();
  std::string outcome;
  // CVE-2021-23214: a startup message injected in clear behind the SSLRequest.
  RunCoroutine(io, Converse(client.get(), std::string(kSsl) + StartupBytes("user\0alice\0\0"sv), "pencil", false,
                            &outcome, nullptr));
  EXPECT_EQ(outcome, "08P01");
  ASSERT_TRUE(std::holds_alternative<Refused>(*arrival));
  EXPECT_EQ(std::get<Refused>(*arrival).reason.rule, "wire.tls-early-bytes");
}

TEST_F(StartupTest, CancelRequestsComeBackWithTheirKey) {
  Start();
  std::string bytes;
  pg::WriteCancelRequest(bytes, 9, std::string(32, 'k'));
  std::string outcome;
  asio::co_spawn(io, Converse(client.get(), bytes, "", false, &outcome, nullptr), asio::detached);
  io.restart();
  io.run_for(100ms);
  ASSERT_TRUE(arrival && std::holds_alternative<CancelAsked>(*arrival));
  EXPECT_EQ(std::get<CancelAsked>(*arrival).process, 9u);
  EXPECT_EQ(std::get<CancelAsked>(*arrival).key, std::string(32, 'k'));
  server->Close();
  io.restart();
  io.run_for(100ms);
}

asio::awaitable<void> Drip(Stream* stream, std::string bytes, std::string* outcome) {
  for (char c : bytes) {
    stream->out().push_back(c);
    if (co_await stream->Flush() != Io::ok) break;
    co_await Pause(10ms);
  }
  *outcome = co_await Receive(stream);
}

TEST_F(StartupTest, WhoeverTakesTooLongIsShownOut) {
  options.time = 100ms;
  Start();
  std::string outcome;
  auto start = std::chrono::steady_clock::now();
  RunCoroutine(io,
               Drip(client.get(), StartupBytes("user\0alice\0application_name\0a long enough one\0\0"sv), &outcome));
  EXPECT_EQ(outcome[0], 'E');
  EXPECT_NE(outcome.find("in time"), std::string::npos) << outcome;
  EXPECT_LT(std::chrono::steady_clock::now() - start, 5s);
  ASSERT_TRUE(arrival && std::holds_alternative<Refused>(*arrival));
}

TEST_F(StartupTest, ABadTlsFileIsNamed) {
  auto missing = TlsContext::Server(folder + "/none.pem", folder + "/key.pem");
  ASSERT_FALSE(missing);
  EXPECT_NE(missing.error().message.find("none.pem"), std::string::npos);
  EXPECT_FALSE(TlsContext::Server(folder + "/cert.pem", folder + "/cert.pem"));
  EXPECT_FALSE(TlsContext::Client(true, folder + "/none.pem"));
}

}  // namespace
}  // namespace ecluse
