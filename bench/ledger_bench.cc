// What bench/ledger.py measures of the ledger. Each command works on a key ring and a ledger in --folder, which
// `append` and `fill` make where they are missing, and prints one line of JSON.
#include <fmt/format.h>
#include <sys/stat.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <atomic>
#include <boost/asio.hpp>
#include <boost/json.hpp>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <optional>
#include <thread>

#include "base/file.h"
#include "ledger/dossier.h"
#include "ledger/entries.h"
#include "ledger/ledger.h"
#include "ledger/query.h"
#include "ledger/tree_writer.h"
#include "ledger/who_saw.h"
#include "vault/keys.h"

namespace ecluse {
namespace {

namespace asio = boost::asio;
namespace json = boost::json;
using SteadyTime = std::chrono::steady_clock::time_point;

constexpr size_t kIntroducedTogether = 1'000;

struct Options {
  std::string folder;
  unsigned in_flight = 512;
  unsigned threads = std::max(1u, std::thread::hardware_concurrency());
  int64_t seconds = 10;
  int64_t checkpoint_every = 1'000;
  uint64_t entries = 1'000'000, accounts = 100, people = 20'000;
  unsigned questions = 20;

  std::string data() const { return folder + "/data"; }
};

template <typename T>
T Must(Result<T> result) {
  if (!result) {
    std::fprintf(stderr, "ledger_bench: %s (%s)\n", result.error().message.c_str(),
                 result.error().operator_detail.c_str());
    std::exit(1);
  }
  if constexpr (!std::is_void_v<T>) return std::move(*result);
}

SteadyTime Now() { return std::chrono::steady_clock::now(); }
double SecondsSince(SteadyTime begun) { return std::chrono::duration<double>(Now() - begun).count(); }

// The same numbers in every run (splitmix64).
uint64_t Mixed(uint64_t number) {
  number = (number + 0x9E3779B97F4A7C15) * 0xBF58476D1CE4E5B9;
  number = (number ^ number >> 27) * 0x94D049BB133111EB;
  return number ^ number >> 31;
}

std::string AccountName(uint64_t account) { return fmt::format("account-{}", account); }
std::string PersonId(uint64_t person) { return std::to_string(10'000'000 + person); }

std::unique_ptr<KeyRing> OpenKeys(const Options& options) {
  const std::string root = options.folder + "/root.key";
  std::filesystem::create_directories(options.folder);
  if (!std::filesystem::exists(root)) Must(KeyRing::Init(root));
  return Must(KeyRing::Open(root, options.data()));
}

// Appends what a lookup of one person by an account leaves, with so many in flight.
class Load {
 public:
  Load(const Options& options, KeyRing& keys) : options_(options), keys_(keys) {
    LedgerOptions opening;
    opening.data_dir = options.data();
    opening.register_name = "bench";
    opening.node = "one";
    opening.checkpoint_every = std::chrono::milliseconds(options.checkpoint_every);
    ledger_ = Must(Ledger::Open(std::move(opening), keys));
    Introduce();
    begun_at_ = ledger_->size();
  }

  // Until so many are appended, or the time is over.
  void Run(uint64_t most, std::optional<SteadyTime> until) {
    most_ = most;
    until_ = until;
    begun_ = Now();
    std::vector<std::thread> threads;
    for (unsigned thread = 0; thread < options_.threads; ++thread) {
      threads.emplace_back([this, thread] {
        asio::io_context context(1);
        for (unsigned i = thread; i < options_.in_flight; i += options_.threads)
          asio::co_spawn(context, Keep(), asio::detached);
        context.run();
        running_.fetch_sub(1);
      });
    }
    Watch();
    for (std::thread& thread : threads) thread.join();
    took_ = SecondsSince(begun_);
  }

  // What was done, and how the ledger ends.
  json::object Finish() {
    const uint64_t size = ledger_->size();
    SegmentFolder folder{&RealFiles(), options_.data() + "/ledger", {}, 0};
    const uint64_t covered = Must(ReadCheckpoint(folder, Must(ReadVerifierKey(folder)))).size;
    json::object out;
    out["entries"] = size - begun_at_;
    out["seconds"] = took_;
    out["each_second"] = json::value_from(each_second_);
    out["behind"] = size - std::min(size, covered);  // entries that the checkpoint does not cover yet
    const SteadyTime closing = Now();
    ledger_.reset();
    out["closing_seconds"] = SecondsSince(closing);
    auto query = Must(LedgerQuery::Open(options_.data(), keys_));
    out["entry_bytes"] = Must(Entries(query->folder()).Read(size - 1)).size();
    return out;
  }

 private:
  void Introduce() {
    for (uint64_t first = 0; first < options_.people; first += kIntroducedTogether) {
      const uint64_t end = std::min(options_.people, first + kIntroducedTogether);
      std::vector<std::string> ids;
      for (uint64_t person = first; person < end; ++person) ids.push_back(PersonId(person));
      std::vector<PersonName> names;
      for (const std::string& id : ids) {
        PersonName& name = names.emplace_back(PersonName{{}, "person", id});
        keys_.SubjectKey(name.space, name.id, name.key.data());
      }
      auto tokens = Must(ledger_->TokensOf(names));
      tokens_.insert(tokens_.end(), tokens.begin(), tokens.end());
      Must(ledger_->AppendAndWait(Draft(first)));
    }
  }

  EntryDraft Draft(uint64_t number) const {
    EntryDraft draft;
    draft.policy = "7c1f9a02d4e85b36";
    draft.principal = AccountName(number % options_.accounts);
    draft.organisation = "brigade-7";
    draft.role = "officer";
    draft.session = "4f2a91";
    draft.purpose = "judicial-inquiry";
    draft.fingerprint = 0x1234;
    draft.statement = "SELECT family_name, given_name FROM bench.person WHERE person_id = $1";
    draft.rows = 1;
    draft.lookups = 1;
    draft.budget = {{"60 subjects per 1h", 59}};
    draft.reference = "case-1";
    draft.address = "127.0.0.1";
    EntrySubjects& table = draft.subjects.emplace_back();
    table.table = "bench.person";
    table.returned = {tokens_[Mixed(number) % tokens_.size()]};
    return draft;
  }

  asio::awaitable<void> Keep() {
    while (true) {
      const uint64_t number = next_.fetch_add(1, std::memory_order_relaxed);
      if (number >= most_ || (until_ && Now() >= *until_)) co_return;
      (void)Must(co_await ledger_->Append(Draft(number)));
    }
  }

  void Watch() {
    uint64_t before = begun_at_;
    for (int second = 1; running_.load() > 0; ++second) {
      const SteadyTime due = begun_ + std::chrono::seconds(second);
      while (running_.load() > 0 && Now() < due) std::this_thread::sleep_for(std::chrono::milliseconds(10));
      if (Now() < due) return;  // a second that was cut short is none
      const uint64_t size = ledger_->size();
      each_second_.push_back(size - before);
      before = size;
    }
  }

  const Options& options_;
  KeyRing& keys_;
  std::unique_ptr<Ledger> ledger_;
  std::vector<SubjectToken> tokens_;
  uint64_t begun_at_ = 0;  // entries there were
  uint64_t most_ = 0;
  std::optional<SteadyTime> until_;
  std::atomic<uint64_t> next_ = 0;
  std::atomic<int> running_ = static_cast<int>(options_.threads);
  SteadyTime begun_;
  double took_ = 0;
  std::vector<uint64_t> each_second_;
};

json::object Append(const Options& options) {
  auto keys = OpenKeys(options);
  Load load(options, *keys);
  load.Run(UINT64_MAX, Now() + std::chrono::seconds(options.seconds));
  return load.Finish();
}

json::object Fill(const Options& options) {
  auto keys = OpenKeys(options);
  Load load(options, *keys);
  load.Run(options.entries, std::nullopt);
  return load.Finish();
}

json::object Spread(std::vector<double> seconds) {
  std::ranges::sort(seconds);
  return {{"median", seconds[seconds.size() / 2]}, {"least", seconds.front()}, {"worst", seconds.back()}};
}

// Opens the ledger anew for each question; `ask` says how many entries it found.
template <typename Ask>
json::object Questions(const Options& options, Ask ask) {
  auto keys = OpenKeys(options);
  std::vector<double> opening, asking;
  std::vector<uint64_t> found;
  uint64_t size = 0;
  for (unsigned i = 0; i < options.questions; ++i) {
    const SteadyTime begun = Now();
    auto query = Must(LedgerQuery::Open(options.data(), *keys));
    opening.push_back(SecondsSince(begun));
    const SteadyTime opened = Now();
    found.push_back(ask(*query, i));
    asking.push_back(SecondsSince(opened));
    size = query->basis().size;
  }
  std::ranges::sort(found);
  return {{"entries", size}, {"open", Spread(opening)}, {"ask", Spread(asking)}, {"found", found[found.size() / 2]}};
}

json::object AskPeople(const Options& options) {
  return Questions(options, [&](LedgerQuery& query, unsigned i) {
    return Must(AskWhoSaw(query, "person", PersonId(Mixed(i) % options.people), 0, INT64_MAX)).seen.size();
  });
}

json::object AskAccounts(const Options& options) {
  Policy policy;
  policy.register_name = "bench";
  return Questions(options, [&](LedgerQuery& query, unsigned i) {
    Query of;
    of.principal = AccountName(i % options.accounts);
    return Must(AskDossier(query, of, policy)).entries;
  });
}

json::object Scan(const Options& options) {
  return Questions(options, [](LedgerQuery& query, unsigned) {
    uint64_t found = 0, closed = 0;
    Must(query.Find(
        Query(),
        [&](const EntryFacts&) -> Status {
          ++found;
          return {};
        },
        &closed));
    return found;
  });
}

int Main(int argc, char** argv) {
  umask(077);
  CLI::App app("Measures the ledger");
  app.require_subcommand(1);
  Options options;
  json::object out;
  auto add = [&](const char* name, const char* what, json::object (*run)(const Options&)) {
    CLI::App* command = app.add_subcommand(name, what);
    command->add_option("--folder", options.folder)->required();
    command->callback([&out, &options, run] { out = run(options); });
    return command;
  };
  auto writes = [&](CLI::App* command) {
    command->add_option("--in-flight", options.in_flight);
    command->add_option("--threads", options.threads, "of those who append");
    command->add_option("--checkpoint-every", options.checkpoint_every, "milliseconds");
    command->add_option("--accounts", options.accounts);
    command->add_option("--people", options.people);
  };
  CLI::App* append = add("append", "Append for some time", Append);
  append->add_option("--seconds", options.seconds);
  writes(append);
  CLI::App* fill = add("fill", "Append so many", Fill);
  fill->add_option("--entries", options.entries);
  writes(fill);
  CLI::App* who_saw = add("who-saw", "Ask who saw people of a filled ledger", AskPeople);
  who_saw->add_option("--people", options.people, "as filled");
  who_saw->add_option("--questions", options.questions);
  CLI::App* dossier = add("dossier", "Ask for dossiers of accounts of a filled ledger", AskAccounts);
  dossier->add_option("--accounts", options.accounts, "as filled");
  dossier->add_option("--questions", options.questions);
  CLI::App* scan = add("scan", "Read and open every entry", Scan);
  scan->add_option("--questions", options.questions);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error);
  }
  std::printf("%s\n", json::serialize(out).c_str());
  return 0;
}

}  // namespace
}  // namespace ecluse

int main(int argc, char** argv) { return ecluse::Main(argc, argv); }
