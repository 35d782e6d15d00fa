#include "server/control_socket.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <openssl/crypto.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <boost/asio/experimental/awaitable_operators.hpp>

#include "base/file.h"
#include "base/limits.h"
#include "base/log.h"
#include "ledger/json.h"

namespace ecluse {

namespace asio = boost::asio;
namespace json = boost::json;
using asio::awaitable;
using Local = asio::local::stream_protocol;

namespace {

constexpr auto kNoThrow = asio::as_tuple(asio::use_awaitable);

// Wipes what it is given when it goes, also where a coroutine is given up.
struct Wiped {
  std::string& text;
  ~Wiped() { OPENSSL_cleanse(text.data(), text.size()); }
};

// The socket's path; where it does not fit into an address (unix(7): 108 bytes), a shorter one that holds for as long
// as this object lives.
class ShortPath {
 public:
  explicit ShortPath(const std::string& data_dir)
      : path_(data_dir + "/control.sock"),
        folder_(path_.size() < 108 ? -1 : open(data_dir.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC)) {}
  ~ShortPath() {
    if (folder_ >= 0) close(folder_);
  }
  ShortPath(const ShortPath&) = delete;
  ShortPath& operator=(const ShortPath&) = delete;
  Local::endpoint Endpoint() const {
    return Local::endpoint(folder_ < 0 ? path_ : fmt::format("/proc/self/fd/{}/control.sock", folder_));
  }

 private:
  const std::string path_;
  const int folder_;
};

bool MayAsk(Local::socket& socket) {
  ucred peer{};
  socklen_t size = sizeof peer;
  return getsockopt(socket.native_handle(), SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 &&
         (peer.uid == 0 || peer.uid == geteuid());
}

json::object Shown(const Error& error) {
  return {{"message", error.message}, {"hint", error.hint}, {"detail", error.operator_detail}};
}

}  // namespace

ControlSocket::ControlSocket(asio::io_context& context, std::string data_dir, Handler handler)
    : context_(context), data_dir_(std::move(data_dir)), handler_(std::move(handler)), acceptor_(context) {}

ControlSocket::~ControlSocket() {
  Close();
  pool_.join();
}

Status ControlSocket::Open() {
  const std::string path = data_dir_ + "/control.sock";
  const ShortPath at(data_dir_);
  boost::system::error_code error;
  if (unlink(path.c_str()) != 0 && errno != ENOENT) return std::unexpected(IoError("remove", path, errno));
  acceptor_.open(Local(), error);
  if (!error) acceptor_.bind(at.Endpoint(), error);
  if (!error && chmod(path.c_str(), 0600) != 0) error.assign(errno, boost::system::system_category());
  if (!error) acceptor_.listen(16, error);
  if (error) return std::unexpected(IoError("make the socket for commands", path, error.value()));
  asio::co_spawn(context_, Accept(), [](std::exception_ptr failed) {
    if (failed) std::rethrow_exception(failed);
  });
  return {};
}

void ControlSocket::Close() {
  if (!acceptor_.is_open()) return;
  boost::system::error_code ignored;
  acceptor_.close(ignored);
  (void)unlink((data_dir_ + "/control.sock").c_str());
}

awaitable<void> ControlSocket::Accept() {
  while (true) {
    auto [error, socket] = co_await acceptor_.async_accept(kNoThrow);
    if (!acceptor_.is_open()) co_return;
    if (!error && *open_ < limits::kControlRequests && MayAsk(socket)) {
      ++*open_;
      asio::co_spawn(context_, Serve(std::move(socket)), [open = open_](std::exception_ptr) { --*open; });
    }
    if (error) {
      asio::steady_timer pause(context_, std::chrono::milliseconds(100));
      co_await pause.async_wait(kNoThrow);
    }
  }
}

awaitable<void> ControlSocket::Serve(Local::socket socket) {
  using asio::experimental::awaitable_operators::operator||;
  std::string request;
  request.reserve(limits::kControlRequest);  // what it holds is in one place
  const Wiped wiped{request};
  asio::steady_timer late(context_, limits::kControlWait);
  auto read = co_await (
      asio::async_read_until(socket, asio::dynamic_buffer(request, limits::kControlRequest), '\n', kNoThrow) ||
      late.async_wait(kNoThrow));
  if (read.index() != 0) co_return;
  const auto failed = std::get<0>(std::get<0>(read));
  if (failed && failed != asio::error::not_found) co_return;
  Work later;
  auto done = Handle(failed ? std::string_view() : std::string_view(request), &later);
  OPENSSL_cleanse(request.data(), request.size());
  if (later)
    done = co_await asio::co_spawn(
        pool_, [&later]() -> awaitable<Result<std::string>> { co_return later(); }, asio::use_awaitable);
  const std::string answer = json::serialize(done ? json::object{{"done", *done}} : Shown(done.error())) + "\n";
  late.expires_after(limits::kControlWait);
  (void)co_await (asio::async_write(socket, asio::buffer(answer), kNoThrow) || late.async_wait(kNoThrow));
}

Result<std::string> ControlSocket::Handle(std::string_view request, Work* later) const {
  std::vector<unsigned char> memory(4 * limits::kControlRequest), buffer(limits::kControlRequest);
  Result<std::string> done;
  {
    json::monotonic_resource resource(memory.data(), memory.size());
    json::parser parser({}, {}, buffer.data(), buffer.size());  // what it keeps for itself is in `buffer`
    parser.reset(&resource);
    boost::system::error_code error;
    parser.write({request.data(), request.size()}, error);
    const json::value value = error ? json::value() : parser.release();
    done = value.is_object()
               ? handler_(value.get_object(), later)
               : Fail(sqlstate::kInvalidParameter, "that is no request",
                      fmt::format("send one JSON object and a newline, {} bytes at most", limits::kControlRequest));
  }
  OPENSSL_cleanse(memory.data(), memory.size());
  OPENSSL_cleanse(buffer.data(), buffer.size());
  return done;
}

Result<std::string> AskGate(const std::string& data_dir, const json::object& request) {
  const ShortPath at(data_dir);
  asio::io_context context(1);
  Local::socket socket(context);
  boost::system::error_code error;
  socket.connect(at.Endpoint(), error);
  if (error)
    return Fail(sqlstate::kIo, "no gate serves over " + data_dir,
                "start it, or run this as the gate's user (or root) on its machine", "control.reach", error.message());
  const timeval wait{.tv_sec = std::chrono::seconds(limits::kControlAnswer).count(), .tv_usec = 0};
  for (int option : {SO_RCVTIMEO, SO_SNDTIMEO})
    (void)setsockopt(socket.native_handle(), SOL_SOCKET, option, &wait, sizeof wait);
  std::string text, answer;
  text.reserve(limits::kControlRequest);
  const Wiped wiped{text};
  json::serializer serializer;
  serializer.reset(&request);
  for (char piece[256]; !serializer.done();) {
    const json::string_view some = serializer.read(piece);
    text.append(some.data(), some.size());
    OPENSSL_cleanse(piece, sizeof piece);
  }
  text += '\n';
  asio::write(socket, asio::buffer(text), error);
  if (!error) asio::read_until(socket, asio::dynamic_buffer(answer, limits::kControlText), '\n', error);
  const json::value value = json::parse(answer, error);
  const json::object* members = value.if_object();
  if (error || members == nullptr)
    return Fail(sqlstate::kIo, "the gate did not answer; whether it did what it was asked to is not known",
                "its log and the ledger tell", "control.answer");
  const auto text_of = [&](std::string_view name) { return std::string(TextOf(*members, name)); };
  if (members->contains("done")) return text_of("done");
  return Fail(sqlstate::kInvalidParameter, text_of("message"), text_of("hint"), "control.refused", text_of("detail"));
}

}  // namespace ecluse
