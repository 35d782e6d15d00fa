// libpg_query, contained: threads whose stacks fit what the lexer lets through, and the parse tree as protobuf.
#pragma once

#include <pthread.h>

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "pg_query.pb.h"

namespace ecluse {

// A fixed set of threads with stacks of limits::kParseStack. libpg_query recurses without a limit of its own, so
// nothing calls it anywhere else. Thread-safe; Run() waits for the job.
class ParseThreads {
 public:
  explicit ParseThreads(int count);
  ~ParseThreads();
  ParseThreads(const ParseThreads&) = delete;
  ParseThreads& operator=(const ParseThreads&) = delete;
  void Run(const std::function<void()>& job);

 private:
  static void* Main(void* self);
  std::mutex mutex_;
  std::condition_variable work_, done_;
  std::deque<std::pair<const std::function<void()>*, bool*>> queue_;
  bool stop_ = false;
  std::vector<pthread_t> threads_;
};

// Parses a text that Lex() has let through. Only on a thread of ParseThreads. A syntax error keeps PostgreSQL's words
// and position.
Result<pg_query::ParseResult> ParseTree(std::string_view text);

// libpg_query's fingerprint of a text that parses; 0 where it has none.
uint64_t Fingerprint(std::string_view text);

}  // namespace ecluse
