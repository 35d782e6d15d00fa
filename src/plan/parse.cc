#include "plan/parse.h"

#include <google/protobuf/io/coded_stream.h>
#include <pg_query.h>

#include <string>

#include "base/check.h"
#include "base/limits.h"

namespace ecluse {

ParseThreads::ParseThreads(int count) {
  pthread_attr_t attributes;
  CHECK(pthread_attr_init(&attributes) == 0);
  CHECK(pthread_attr_setstacksize(&attributes, limits::kParseStack) == 0);
  threads_.resize(static_cast<size_t>(count));
  for (pthread_t& thread : threads_) CHECK(pthread_create(&thread, &attributes, &ParseThreads::Main, this) == 0);
  pthread_attr_destroy(&attributes);
}

ParseThreads::~ParseThreads() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  work_.notify_all();
  for (const pthread_t thread : threads_) pthread_join(thread, nullptr);
}

void ParseThreads::Run(const std::function<void()>& job) {
  bool finished = false;
  std::unique_lock lock(mutex_);
  queue_.emplace_back(&job, &finished);
  work_.notify_one();
  done_.wait(lock, [&] { return finished; });
}

void* ParseThreads::Main(void* self) {
  auto& pool = *static_cast<ParseThreads*>(self);
  std::unique_lock lock(pool.mutex_);
  while (true) {
    pool.work_.wait(lock, [&] { return pool.stop_ || !pool.queue_.empty(); });
    if (pool.queue_.empty()) break;
    const auto [job, finished] = pool.queue_.front();
    pool.queue_.pop_front();
    lock.unlock();
    (*job)();
    lock.lock();
    *finished = true;
    pool.done_.notify_all();
  }
  lock.unlock();
  return nullptr;
}

Result<pg_query::ParseResult> ParseTree(std::string_view text) {
  const std::string terminated(text);
  PgQueryProtobufParseResult parsed = pg_query_parse_protobuf(terminated.c_str());
  if (parsed.error != nullptr) {
    Error error{std::string(sqlstate::kSyntax), parsed.error->message, {}, "plan.syntax", {}, parsed.error->cursorpos};
    pg_query_free_protobuf_parse_result(parsed);
    return std::unexpected(std::move(error));
  }
  pg_query::ParseResult tree;
  google::protobuf::io::CodedInputStream stream(reinterpret_cast<const uint8_t*>(parsed.parse_tree.data),
                                                static_cast<int>(parsed.parse_tree.len));
  stream.SetRecursionLimit(limits::kProtobufDepth);
  const bool read = tree.ParseFromCodedStream(&stream) && stream.ConsumedEntireMessage();
  pg_query_free_protobuf_parse_result(parsed);
  if (!read) {
    return Fail(sqlstate::kTooComplex, "the statement is nested too deeply", "Send it in smaller statements.",
                "plan.too-complex");
  }
  return tree;
}

uint64_t Fingerprint(std::string_view text) {
  const std::string terminated(text);
  const PgQueryFingerprintResult result = pg_query_fingerprint(terminated.c_str());
  const uint64_t fingerprint = result.error == nullptr ? result.fingerprint : 0;
  pg_query_free_fingerprint_result(result);
  return fingerprint;
}

}  // namespace ecluse
