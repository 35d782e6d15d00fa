#include "server/witness_client.h"

#include <fmt/format.h>

#include <atomic>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>
#include <boost/beast/ssl.hpp>
#include <thread>
#include <utility>
#include <vector>

#include "base/limits.h"
#include "base/log.h"
#include "tlog/decimal.h"

namespace ecluse {

namespace asio = boost::asio;

struct Resolving {
  std::atomic<bool> done = false;
  // Of whoever sees `done`.
  boost::system::error_code error;
  std::vector<asio::ip::tcp::endpoint> endpoints;
};

namespace {

namespace beast = boost::beast;
namespace http = beast::http;
using asio::awaitable;

constexpr auto kNoThrow = asio::as_tuple(asio::use_awaitable);
constexpr auto kLook = std::chrono::milliseconds(20);  // between looks whether a name server has answered
constexpr size_t kShown = 200;                         // bytes of what a witness said, in the log

std::unexpected<Error> Unreachable(std::string_view what, const boost::system::error_code& error) {
  return Fail(sqlstate::kIo, fmt::format("{}: {}", what, error.message()), "", "witness.reach");
}

// One request and its answer over a stream that is ready for them.
template <typename Stream>
awaitable<Result<WitnessReply>> Exchange(Stream& stream, const http::request<http::string_body>& request) {
  auto [unsent, sent] = co_await http::async_write(stream, request, kNoThrow);
  (void)sent;
  if (unsent) co_return Unreachable("cannot send to it", unsent);
  beast::flat_buffer buffer(2 * limits::kNote);
  http::response_parser<http::string_body> parser;
  parser.body_limit(limits::kNote);
  auto [error, bytes] = co_await http::async_read(stream, buffer, parser, kNoThrow);
  (void)bytes;
  if (error) co_return Unreachable("no answer that can be read", error);
  co_return WitnessReply{parser.get().result_int(), std::move(parser.get().body())};
}

// getaddrinfo(3) cannot be broken off, and Asio asks one name at a time: a thread for each that is being asked keeps
// one slow name server from holding up the others, or the gate's end.
std::shared_ptr<Resolving> Resolve(const std::string& host, uint16_t port) {
  auto resolving = std::make_shared<Resolving>();
  boost::system::error_code error;
  const auto address = asio::ip::make_address(host, error);
  if (!error) {
    resolving->endpoints.emplace_back(address, port);
    resolving->done = true;
    return resolving;
  }
  std::thread([resolving, host, port] {
    try {
      asio::io_context context;
      asio::ip::tcp::resolver resolver(context);
      for (const auto& found : resolver.resolve(host, std::to_string(port), resolving->error))
        resolving->endpoints.push_back(found.endpoint());
    } catch (const std::exception&) {  // no memory: asked again
      resolving->error = asio::error::no_memory;
    }
    resolving->done = true;
  }).detach();
  return resolving;
}

awaitable<Result<std::vector<asio::ip::tcp::endpoint>>> EndpointsOf(const PolicyWitness& witness,
                                                                    WitnessMemory& memory) {
  if (!memory.resolving) memory.resolving = Resolve(witness.host, witness.port);
  asio::steady_timer timer(co_await asio::this_coro::executor);
  const auto until = std::chrono::steady_clock::now() + limits::kWitnessAnswer;
  while (!memory.resolving->done) {
    if (std::chrono::steady_clock::now() > until)
      co_return Fail(sqlstate::kIo, "the name server does not say where it is", "", "witness.reach");
    timer.expires_after(kLook);
    co_await timer.async_wait(kNoThrow);
  }
  const std::shared_ptr<Resolving> found = std::exchange(memory.resolving, nullptr);
  if (found->error || found->endpoints.empty()) co_return Unreachable("its host is not known", found->error);
  co_return std::move(found->endpoints);
}

std::string Said(const WitnessReply& reply) {
  return fmt::format("it answers {}: {}", reply.status, Printable(reply.body.substr(0, kShown)));
}

}  // namespace

awaitable<Result<WitnessReply>> PostToWitness(const PolicyWitness& witness, WitnessMemory& memory, std::string body,
                                              asio::ssl::context& tls) {
  const auto executor = co_await asio::this_coro::executor;
  auto endpoints = co_await EndpointsOf(witness, memory);
  if (!endpoints) co_return std::unexpected(std::move(endpoints).error());
  boost::system::error_code named;
  const auto address = asio::ip::make_address(witness.host, named);
  http::request<http::string_body> request(http::verb::post, witness.target, 11);
  const std::string host = !named && address.is_v6() ? "[" + witness.host + "]" : witness.host;
  request.set(http::field::host, fmt::format("{}:{}", host, witness.port));
  request.set(http::field::content_type, "text/plain; charset=utf-8");
  request.set(http::field::connection, "close");
  request.body() = std::move(body);
  request.prepare_payload();
  const auto connect = [&](beast::tcp_stream& stream) -> awaitable<boost::system::error_code> {
    stream.expires_after(limits::kWitnessAnswer);  // for everything that follows
    auto [error, endpoint] = co_await stream.async_connect(*endpoints, kNoThrow);
    (void)endpoint;
    co_return error;
  };
  if (!witness.tls) {
    beast::tcp_stream stream(executor);
    if (auto error = co_await connect(stream)) co_return Unreachable("it cannot be reached", error);
    co_return co_await Exchange(stream, request);
  }
  beast::ssl_stream<beast::tcp_stream> stream(executor, tls);
  stream.set_verify_callback(asio::ssl::host_name_verification(witness.host));
  if (named) SSL_set_tlsext_host_name(stream.native_handle(), witness.host.c_str());
  if (auto error = co_await connect(beast::get_lowest_layer(stream)))
    co_return Unreachable("it cannot be reached", error);
  auto [refused] = co_await stream.async_handshake(asio::ssl::stream_base::client, kNoThrow);
  if (refused) co_return Unreachable("no TLS with it", refused);
  co_return co_await Exchange(stream, request);
}

awaitable<WitnessOutcome> AskWitness(const PolicyWitness& witness, const std::string& note,
                                     const Checkpoint& checkpoint, WitnessMemory& memory,
                                     const std::function<Result<std::vector<Hash>>(uint64_t)>& proof_from,
                                     const std::function<int64_t()>& now, asio::ssl::context& tls) {
  WitnessOutcome out;
  for (int tries = 0; tries < 2; ++tries) {
    memory.size = std::min(memory.size, checkpoint.size);
    auto proof = proof_from(memory.size);
    if (!proof) {
      out.problem = "no proof can be made: " + proof.error().message;
      co_return out;
    }
    auto reply =
        co_await PostToWitness(witness, memory, AddCheckpoint{memory.size, std::move(*proof), note}.Text(), tls);
    if (!reply) {
      out.problem = reply.error().message;
      co_return out;
    }
    if (reply->status == 200) {
      const auto lines = ParseSignatureLines(reply->body);
      const std::string_view text = std::string_view(note).substr(0, note.find("\n\n") + 1);
      for (const NoteSignature& signature : lines ? *lines : std::vector<NoteSignature>()) {
        const auto seconds = VerifyCosignature(text, signature, witness.key);
        if (!seconds) continue;
        const auto ours = static_cast<uint64_t>(now());  // its time is any number
        const uint64_t off = *seconds > ours ? *seconds - ours : ours - *seconds;
        if (off > static_cast<uint64_t>(limits::kWitnessClock.count())) {
          out.problem = fmt::format("its clock and this machine's are {} seconds apart", off);
          co_return out;
        }
        memory.size = checkpoint.size;
        out.cosignature = signature;
        co_return out;
      }
      out.problem = "what it answers is no cosignature of its key";
      co_return out;
    }
    const std::string_view body = reply->body;
    const auto size =
        reply->status == 409 && body.ends_with('\n') ? ReadDecimal(body.substr(0, body.size() - 1)) : std::nullopt;
    if (size && *size <= checkpoint.size && *size != memory.size && tries == 0) {
      memory.size = *size;
      continue;
    }
    out.problem = size && *size > checkpoint.size
                      ? fmt::format(
                            "it has cosigned {} entries of this ledger, and was asked about {}: was the ledger "
                            "put back from a copy, or does another gate write it?",
                            *size, checkpoint.size)
                      : Said(*reply);
    out.note = std::move(reply->body);
    co_return out;
  }
  co_return out;
}

}  // namespace ecluse
