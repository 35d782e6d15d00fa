#include "server/witness_client.h"

#include <fmt/format.h>

#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>
#include <boost/beast/ssl.hpp>
#include <charconv>
#include <cstdlib>

#include "base/limits.h"
#include "base/log.h"

namespace ecluse {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = beast::http;
using asio::awaitable;

constexpr auto kNoThrow = asio::as_tuple(asio::use_awaitable);
constexpr size_t kShown = 200;  // bytes of what a witness said, in the log

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

std::string Said(const WitnessReply& reply) {
  return fmt::format("it answers {}: {}", reply.status, Printable(reply.body.substr(0, kShown)));
}

}  // namespace

awaitable<Result<WitnessReply>> PostToWitness(const PolicyWitness& witness, std::string body, asio::ssl::context& tls) {
  const auto executor = co_await asio::this_coro::executor;
  asio::ip::tcp::resolver resolver(executor);
  auto [unknown, endpoints] = co_await resolver.async_resolve(witness.host, std::to_string(witness.port), kNoThrow);
  if (unknown) co_return Unreachable("its host is not known", unknown);
  http::request<http::string_body> request(http::verb::post, witness.target, 11);
  request.set(http::field::host, witness.host + ":" + std::to_string(witness.port));
  request.set(http::field::content_type, "text/plain; charset=utf-8");
  request.set(http::field::connection, "close");
  request.body() = std::move(body);
  request.prepare_payload();
  const auto connect = [&](beast::tcp_stream& stream) -> awaitable<boost::system::error_code> {
    stream.expires_after(limits::kWitnessAnswer);  // for everything that follows
    auto [error, endpoint] = co_await stream.async_connect(endpoints, kNoThrow);
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
  SSL_set_tlsext_host_name(stream.native_handle(), witness.host.c_str());
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
    auto reply = co_await PostToWitness(witness, AddCheckpoint{memory.size, std::move(*proof), note}.Text(), tls);
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
        const int64_t off = static_cast<int64_t>(*seconds) - now();
        if (*seconds > INT64_MAX / 2 || std::abs(off) > limits::kWitnessClock.count()) {
          out.problem = fmt::format("its clock and this machine's are {} seconds apart", std::abs(off));
          co_return out;
        }
        memory.size = checkpoint.size;
        out.cosignature = signature;
        co_return out;
      }
      out.problem = "what it answers is no cosignature of its key";
      co_return out;
    }
    uint64_t size = 0;
    const std::string& body = reply->body;
    const auto [end, error] = std::from_chars(body.data(), body.data() + body.size(), size);
    const bool sized = error == std::errc() && std::string_view(end, body.data() + body.size()) == "\n";
    if (reply->status == 409 && sized && size <= checkpoint.size && size != memory.size && tries == 0) {
      memory.size = size;
      continue;
    }
    out.problem = reply->status == 409 && sized && size > checkpoint.size
                      ? fmt::format(
                            "it has cosigned {} entries of this ledger, which has {} under its checkpoint: was "
                            "the ledger put back from a copy?",
                            size, checkpoint.size)
                      : Said(*reply);
    out.note = std::move(reply->body);
    co_return out;
  }
  co_return out;
}

}  // namespace ecluse
