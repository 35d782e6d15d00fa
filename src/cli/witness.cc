// ecluse ledger witness: cosigns other ledgers' checkpoints, over HTTP.
#include "tlog/witness.h"

#include <fmt/format.h>

#include <boost/asio.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>
#include <charconv>
#include <csignal>
#include <cstdio>
#include <filesystem>
#include <memory>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/random.h"
#include "cli/commands.h"

namespace ecluse {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = beast::http;
using asio::awaitable;

struct WitnessOptions {
  std::string state, name, listen = "127.0.0.1:7380";
  std::vector<std::string> logs;
};

constexpr auto kAnswerWithin = std::chrono::seconds(10);  // a request, or the wait for the next one
constexpr size_t kConnections = 256;
constexpr size_t kBody = 2 * limits::kNote;

// ---- What it remembers: <state>/key, <state>/vkey, and a note for each log under the hash of its origin ----

// Held as long as the witness runs: two on one folder would cosign two trees.
Result<std::unique_ptr<File>> LockState(const WitnessOptions& options) {
  ECLUSE_OK(PreparePrivateFolder(RealFiles(), options.state));
  ECLUSE_TRY(auto lock, RealFiles().Open(options.state + "/lock", OpenMode::lock));
  ECLUSE_TRY(bool alone, lock->TryLock());
  if (!alone)
    return Fail(sqlstate::kIo, "another witness uses this folder", "stop it, or give this one a folder of its own",
                "witness.lock", options.state);
  return lock;
}

Result<SigningKey> OpenKey(const WitnessOptions& options) {
  FileSystem& files = RealFiles();
  const std::string path = options.state + "/key";
  ECLUSE_TRY(auto present, files.Find(path));
  if (!present) {
    for (const auto& file : std::filesystem::directory_iterator(options.state)) {
      if (file.path().extension() == ".checkpoint")
        return Fail(sqlstate::kIo, options.state + " remembers checkpoints, and its key is gone",
                    "bring the key back, or make a new witness, of another name, in another folder", "witness.key");
    }
    uint8_t seed[SigningKey::kSeed];
    RandomBytes(seed);
    ECLUSE_OK(ReplaceFile(files, path, "ecluse witness v1\n" + options.name + "\n" + HexEncode(seed) + "\n"));
  }
  ECLUSE_TRY(std::string text, ReadWholeFile(files, path, limits::kNote));
  const std::string begin = "ecluse witness v1\n" + options.name + "\n";
  const auto seed = text.starts_with(begin) && text.ends_with('\n')
                        ? HexDecode(std::string_view(text).substr(begin.size(), text.size() - begin.size() - 1))
                        : std::nullopt;
  if (!seed || seed->size() != SigningKey::kSeed)
    return Fail(sqlstate::kIo, path + " is not the key of the witness " + options.name,
                "give the name that it was made with (--name), or another folder (--state)", "witness.key");
  SigningKey key(options.name, SignatureType::cosignature,
                 Secret(std::string_view(reinterpret_cast<const char*>(seed->data()), seed->size())));
  ECLUSE_OK(ReplaceFile(files, options.state + "/vkey", key.verifier().Text() + "\n"));
  return key;
}

std::string PathOf(const WitnessOptions& options, const std::string& origin) {
  return options.state + "/" + HexEncode(Sha256(origin)) + ".checkpoint";
}

Result<std::unique_ptr<Witness>> OpenWitness(const WitnessOptions& options) {
  ECLUSE_TRY(SigningKey key, OpenKey(options));
  std::vector<VerifierKey> logs;
  for (const std::string& log : options.logs) {
    auto text = ReadWholeFile(RealFiles(), log, limits::kNote);  // the key itself, or a file that holds it
    ECLUSE_TRY(VerifierKey verifier, ParseVerifierKey(text ? *text : log));
    logs.push_back(std::move(verifier));
  }
  auto witness = std::make_unique<Witness>(std::move(key), logs, [options](const auto& origin, const auto& note) {
    Status kept = ReplaceFile(RealFiles(), PathOf(options, origin), note);
    if (!kept) Log().error("{} ({})", kept.error().message, kept.error().operator_detail);
    return kept;
  });
  for (const VerifierKey& log : logs) {
    const std::string path = PathOf(options, log.name);
    ECLUSE_TRY(auto present, RealFiles().Find(path));
    if (!present) continue;
    ECLUSE_TRY(std::string note, ReadWholeFile(RealFiles(), path, limits::kNote));
    ECLUSE_OK(witness->Recall(note));
  }
  return witness;
}

// ---- HTTP ----

std::optional<uint16_t> ParsePort(std::string_view text) {
  uint16_t port = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), port);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return port;
}

WitnessAnswer AnswerTo(Witness& witness, const http::request<http::string_body>& request) {
  if (request.target() != "/add-checkpoint") return {404, "a witness answers POST /add-checkpoint, and nothing else\n"};
  if (request.method() != http::verb::post) return {405, "a checkpoint is sent by POST\n"};
  return witness.Add(request.body(), static_cast<uint64_t>(SystemClock().WallMicros() / 1'000'000));
}

awaitable<void> Converse(beast::tcp_stream stream, Witness& witness, std::shared_ptr<size_t> open) {
  struct Count {
    std::shared_ptr<size_t> open;
    ~Count() { --*open; }
  } count{std::move(open)};
  beast::flat_buffer buffer(kBody + 16 * 1024);
  while (true) {
    http::request_parser<http::string_body> parser;
    parser.body_limit(kBody);
    stream.expires_after(kAnswerWithin);
    auto [error, bytes] = co_await http::async_read(stream, buffer, parser, asio::as_tuple(asio::use_awaitable));
    (void)bytes;
    WitnessAnswer answer;
    if (error == http::error::body_limit) {
      answer = {413, "that is too large for a checkpoint\n"};
    } else if (error) {
      co_return;
    } else {
      answer = AnswerTo(witness, parser.get());
    }
    http::response<http::string_body> response(static_cast<http::status>(answer.status), 11);
    response.set(http::field::content_type, beast::string_view(answer.type.data(), answer.type.size()));
    if (answer.status == 405) response.set(http::field::allow, "POST");
    response.keep_alive(!error && parser.get().keep_alive());
    response.body() = std::move(answer.body);
    response.prepare_payload();
    stream.expires_after(kAnswerWithin);
    auto [unsent, sent] = co_await http::async_write(stream, response, asio::as_tuple(asio::use_awaitable));
    (void)sent;
    if (unsent || !response.keep_alive()) co_return;
  }
}

awaitable<void> Accept(asio::ip::tcp::acceptor& acceptor, Witness& witness) {
  auto open = std::make_shared<size_t>(0);
  while (true) {
    auto [error, socket] = co_await acceptor.async_accept(asio::as_tuple(asio::use_awaitable));
    if (error == asio::error::operation_aborted) co_return;
    if (error) {
      asio::steady_timer pause(acceptor.get_executor(), std::chrono::milliseconds(100));
      co_await pause.async_wait(asio::as_tuple(asio::use_awaitable));
      continue;
    }
    if (*open >= kConnections) continue;  // closed at once
    ++*open;
    asio::co_spawn(acceptor.get_executor(), Converse(beast::tcp_stream(std::move(socket)), witness, open),
                   asio::detached);
  }
}

Status Serve(const WitnessOptions& options) {
  if (!IsKeyName(options.name))
    return Fail(sqlstate::kInvalidParameter, "a witness's name has no spaces, no + and no control characters",
                "for instance --name witness.example/interior", "witness.name");
  const size_t colon = options.listen.rfind(':');
  const auto port =
      colon == std::string::npos ? std::nullopt : ParsePort(std::string_view(options.listen).substr(colon + 1));
  boost::system::error_code error;
  const auto address = asio::ip::make_address(options.listen.substr(0, std::min(colon, options.listen.size())), error);
  if (!port || error)
    return Fail(sqlstate::kInvalidParameter, "--listen is an address and a port", "for instance 127.0.0.1:7380",
                "witness.listen");
  ECLUSE_TRY(auto lock, LockState(options));
  ECLUSE_TRY(auto witness, OpenWitness(options));
  asio::io_context context(1);
  asio::ip::tcp::acceptor acceptor(context);
  const asio::ip::tcp::endpoint endpoint(address, *port);
  acceptor.open(endpoint.protocol(), error);
  if (!error) acceptor.set_option(asio::ip::tcp::acceptor::reuse_address(true), error);
  if (!error) acceptor.bind(endpoint, error);
  if (!error) acceptor.listen(asio::socket_base::max_listen_connections, error);
  if (error)
    return Fail(sqlstate::kInvalidParameter, fmt::format("cannot listen on {}: {}", options.listen, error.message()),
                "give an address of this machine and a free port; 0 finds one", "witness.listen");
  asio::signal_set signals(context, SIGTERM, SIGINT);
  signals.async_wait([&](auto, int) { context.stop(); });
  asio::co_spawn(context, Accept(acceptor, *witness), asio::detached);
  std::printf("ready http=%s:%u vkey=%s\n", address.to_string().c_str(), acceptor.local_endpoint().port(),
              witness->verifier().Text().c_str());
  std::fflush(stdout);
  context.run();
  return {};
}

}  // namespace

void AddWitness(CommandLine& line, CLI::App* ledger) {
  auto options = std::make_shared<WitnessOptions>();
  CLI::App* app = ledger->add_subcommand("witness", "Cosign the checkpoints of other registers' ledgers");
  app->add_option("--state", options->state, "a folder for its key and for what it saw last; made where missing")
      ->required();
  app->add_option("--name", options->name, "the witness's name, for instance witness.example/interior")->required();
  app->add_option("--log", options->logs, "the verifier key of a ledger, or a file that holds it; may be repeated")
      ->required();
  app->add_option("--listen", options->listen, "address and port; port 0 picks a free one")->capture_default_str();
  app->footer(
      "Speaks c2sp.org/tlog-witness, POST /add-checkpoint: a checkpoint that goes on from the last one is remembered "
      "on\n"
      "disk and cosigned, any other refused. Requests carry their own proof, so no TLS is needed for them to be true;\n"
      "put a proxy in front where they cross networks. The folder must never be put back from a copy.\n\n"
      "Example:\n  ecluse ledger witness --state /var/lib/ecluse-witness --name witness.example/interior --log vkey "
      "\\\n"
      "    --listen 0.0.0.0:7380");
  app->callback([&line, options] {
    Status served = Serve(*options);
    if (!served) line.exit_status = Complain("ledger", served.error());
  });
}

}  // namespace ecluse
