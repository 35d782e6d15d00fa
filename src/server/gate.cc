#include "server/gate.h"

#include <fmt/format.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <future>
#include <thread>

#include "base/bytes.h"
#include "base/file.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/time_text.h"
#include "identity/accounts.h"
#include "ledger/deletion.h"
#include "ledger/json.h"
#include "ledger/origin.h"
#include "ledger/people.h"
#include "policy/applied.h"
#include "policy/daily_runs.h"
#include "seal/cell.h"
#include "server/account_log.h"
#include "server/cancel.h"
#include "server/control_socket.h"
#include "server/in_force.h"
#include "server/refusals.h"
#include "server/register_checkpoint.h"
#include "server/register_lock.h"
#include "server/witnesses.h"
#include "server/worker.h"

namespace ecluse {

namespace asio = boost::asio;
using asio::awaitable;

namespace {

// Each session is a descriptor or two.
void RaiseDescriptorLimit() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  if (::setrlimit(RLIMIT_NOFILE, &limit) != 0) Log().warn("the limit of open files stays at {}", limit.rlim_cur);
}

std::string AddressOf(const asio::ip::tcp::socket& socket) {
  boost::system::error_code error;
  auto endpoint = socket.remote_endpoint(error);
  if (error) return "unknown";
  asio::ip::address address = endpoint.address();
  if (address.is_v6() && address.to_v6().is_v4_mapped())
    address = asio::ip::make_address_v4(asio::ip::v4_mapped, address.to_v6());
  return address.to_string();
}

LoginCredentials CredentialsOf(const UpstreamLogin& login) { return {login.user, login.password.Copy()}; }

}  // namespace

struct Gate::Impl {
  explicit Impl(GateOptions o) : options(std::move(o)) {}

  Status Open();
  Status OpenDoor();
  awaitable<void> Accept();
  awaitable<void> Control();
  void HandleSignals();
  void Reload();
  Status TakePolicy();
  void RecordAccounts();
  void WarnOfDailyRuns();
  Result<std::string> Command(const boost::json::object& request, ControlSocket::Work* later);
  Result<std::string> WriteDown(const boost::json::object& request, const Policy& of);
  Result<std::string> ValueKeysFor(const std::string& coded, bool make) const;
  Result<std::string> WaiveWitnesses(const boost::json::object& request);
  void Shutdown();
  Status Event(EntryKind kind, const Policy& policy, std::string reason);
  Result<bool> Tell(const std::string& note, const Checkpoint& checkpoint, const LedgerOptions::Ours& ours);

  GateOptions options;
  std::shared_ptr<const Policy> policy;
  std::unique_ptr<KeyRing> keys;
  std::unique_ptr<RegisterCheckpoint> copy;  // outlives the ledger
  std::unique_ptr<Ledger> ledger;
  std::unique_ptr<Accounts> accounts;
  std::unique_ptr<AccountLog> account_log;
  uint64_t accounts_recorded = 0;  // their generation that the ledger knows
  bool accounts_late = false;      // it could not be told, and the log has said so
  int64_t daily_runs_judged = 0;   // when, on the boot clock, rows past their retention were last warned of
  std::unique_ptr<Admission> admission;
  std::unique_ptr<Planner> planner;
  std::unique_ptr<RefusalLog> refusals;
  Cancels cancels;
  std::unique_ptr<Services> services;
  std::unique_ptr<Doors> doors;
  std::shared_ptr<const UpstreamTarget> target;
  std::shared_ptr<UpstreamQuota> quota = std::make_shared<UpstreamQuota>();
  std::unique_ptr<RegisterLock> lock;
  std::unique_ptr<Witnesses> witnesses;
  std::vector<std::unique_ptr<Worker>> workers;
  asio::io_context control{1};  // the thread that runs Gate::Run(): it may block for a reload
  asio::ip::tcp::acceptor acceptor{control};
  asio::signal_set signals{control};
  asio::steady_timer timer{control};
  std::unique_ptr<ControlSocket> commands;
  std::chrono::steady_clock::time_point checkpoint_logged;  // when one went to the log; of the ledger's thread
  bool started = false;                                     // it is written down
  bool stopping = false;
  bool closed = false;  // Shutdown() has run
};

Status Gate::Impl::Event(EntryKind kind, const Policy& of, std::string reason) {
  EntryDraft draft;
  draft.kind = kind;
  draft.policy = of.digest;
  draft.door = "gate";
  draft.reason = std::move(reason);
  Result<Receipt> receipt = ledger->AppendAndWait(std::move(draft));
  if (!receipt) return std::unexpected(std::move(receipt).error());
  return {};
}

// On the ledger's thread. Each goes to the register's database; one a minute to the log, and with it off the machine
// where the log goes.
Result<bool> Gate::Impl::Tell(const std::string& note, const Checkpoint& checkpoint, const LedgerOptions::Ours& ours) {
  ECLUSE_TRY(bool told, copy->Tell(note, checkpoint, ours));
  const auto now = std::chrono::steady_clock::now();
  if (!told || now < checkpoint_logged + limits::kCheckpointLogged) return told;
  checkpoint_logged = now;
  std::string line = note;
  std::ranges::replace(line, '\n', '|');
  Log().info("checkpoint {}", Printable(line));
  return true;
}

Status Gate::Impl::Open() {
  signals.add(SIGHUP);  // a reload asked for while the gate starts waits until it runs
  RaiseDescriptorLimit();
  ProtectProcessMemory();
  ECLUSE_TRY(policy, ReadPolicy(options.config));
  ECLUSE_TRY(auto beginning, RealFiles().Find(policy->data_dir + "/beginning"));
  if (beginning)
    return Fail(sqlstate::kIo, "a new ledger was begun and not finished", "run `ecluse ledger new` again, as before",
                "ledger.new", policy->data_dir + "/beginning");
  ECLUSE_TRY(keys, KeyRing::Open(policy->root, policy->data_dir, nullptr, policy->Compartments()));
  ECLUSE_TRY(std::shared_ptr<const Snapshot> snapshot, Compile(policy, *keys));
  LedgerOptions ledger_options;
  ledger_options.data_dir = policy->data_dir;
  ledger_options.register_name = policy->register_name;
  ledger_options.checkpoint_every = policy->checkpoint_every;
  ledger_options.erasure_horizon = policy->erasure_horizon;
  ledger_options.literals_retention = policy->literals_retention;
  ECLUSE_TRY(ledger_options.node, NodeName(options.node));
  copy = std::make_unique<RegisterCheckpoint>(*policy, policy->register_name + "/" + ledger_options.node,
                                              CredentialsOf(*snapshot->gate_login));
  ledger_options.told = [this] { return copy->Read(); };
  ledger_options.publish = [this](const std::string& note, const Checkpoint& checkpoint,
                                  const LedgerOptions::Ours& ours) { return Tell(note, checkpoint, ours); };
  ECLUSE_TRY(ledger, Ledger::Open(ledger_options, *keys));
  admission = std::make_unique<Admission>(SystemClock());
  admission->Configure(policy);
  ECLUSE_OK(admission->Rebuild(*ledger));
  uint8_t mock[16];
  keys->Pseudonym("accounts", "mock", "verifier", mock);
  ECLUSE_TRY(accounts, Accounts::Open(policy->accounts_file, HexEncode(mock), SystemClock()));
  account_log = std::make_unique<AccountLog>(*ledger, *keys, policy->data_dir + "/accounts");
  planner = std::make_unique<Planner>();
  refusals = std::make_unique<RefusalLog>(*ledger, SystemClock());
  services.reset(new Services{*planner, *keys, *admission, *ledger, *accounts, SystemClock(), cancels, *refusals});
  services->Install(snapshot);
  ECLUSE_TRY(target, UpstreamTarget::Make(policy->database));
  doors = std::make_unique<Doors>();
  ECLUSE_TRY(StartupOptions greeting, GreetingOf(*policy, accounts.get()));
  doors->SetStartup(std::move(greeting));
  int threads =
      options.threads > 0 ? options.threads : static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
  for (int i = 0; i < threads; ++i) {
    workers.push_back(std::make_unique<Worker>(*services, *doors, target, quota));
    workers.back()->Start();
  }
  lock = std::make_unique<RegisterLock>(target, snapshot->gate_login, GateLockKey(*policy), services->may_release);
  ECLUSE_OK(asio::co_spawn(workers[0]->context(), lock->Acquire(), asio::use_future).get());
  copy->Begin();
  witnesses = std::make_unique<Witnesses>(*ledger, policy->data_dir, SystemClock(), services->witnessed);
  ECLUSE_OK(witnesses->Begin(policy));
  asio::co_spawn(workers[0]->context(), lock->Watch(), asio::detached);
  // Before anybody can see that a door is open: a signal right then must stop or reload the gate, not kill it.
  for (int signal : {SIGTERM, SIGINT}) signals.add(signal);
  HandleSignals();
  commands = std::make_unique<ControlSocket>(
      control, policy->data_dir,
      [this](const boost::json::object& request, ControlSocket::Work* later) { return Command(request, later); });
  if (Status open = commands->Open(); !open)
    Log().error("no command will reach this gate: {} ({})", open.error().message, open.error().operator_detail);
  // Whoever changes keys from now on tells this gate; who did since the ring was opened could not.
  if (auto taken = keys->TakeRing(); !taken) return std::unexpected(std::move(taken).error());
  ECLUSE_OK(OpenDoor());  // who knocks already waits for Run()
  ECLUSE_OK(Event(EntryKind::start, *policy, "serve"));
  started = true;
  accounts_recorded = accounts->generation();
  return account_log->Record(*accounts->snapshot(), policy->digest);
}

Status Gate::Impl::OpenDoor() {
  boost::system::error_code error;
  asio::ip::address address =
      asio::ip::make_address(policy->sql->address == "localhost" ? "127.0.0.1" : policy->sql->address, error);
  auto failed = [&](std::string_view what) {
    return Fail(
        sqlstate::kInvalidParameter,
        fmt::format("cannot listen on {}:{}: {} ({})", policy->sql->address, policy->sql->port, what, error.message()),
        "Give `gate.sql.listen` an address of this machine and a free port; 0 finds one.", "server.listen");
  };
  if (error) return failed("not an address");
  asio::ip::tcp::endpoint endpoint(address, policy->sql->port);
  acceptor.open(endpoint.protocol(), error);
  if (!error) acceptor.set_option(asio::ip::tcp::acceptor::reuse_address(true), error);
  if (!error) acceptor.bind(endpoint, error);
  if (!error) acceptor.listen(4'096, error);
  if (error) return failed("it cannot be bound");
  return {};
}

// Hands every connection to the next worker.
awaitable<void> Gate::Impl::Accept() {
  size_t next = 0;
  while (!stopping) {
    Worker& worker = *workers[next];
    asio::ip::tcp::socket socket(worker.context());
    auto [error] = co_await acceptor.async_accept(socket, asio::as_tuple(asio::use_awaitable));
    if (error == asio::error::operation_aborted || stopping) co_return;
    if (error) {
      // Out of descriptors, most likely: those that wait are served as others close.
      Log().error("a connection could not be accepted: {}", error.message());
      asio::steady_timer pause(control, std::chrono::milliseconds(100));
      co_await pause.async_wait(asio::as_tuple(asio::use_awaitable));
      continue;
    }
    next = (next + 1) % workers.size();
    std::string address = AddressOf(socket);
    asio::post(worker.context(), [&worker, s = std::move(socket), a = std::move(address)]() mutable {
      worker.Welcome(Stream::Socket(std::move(s)), std::move(a));
    });
  }
}

// What has to be done from time to time, and nobody waits for.
awaitable<void> Gate::Impl::Control() {
  while (!stopping) {
    timer.expires_after(std::chrono::seconds(2));
    co_await timer.async_wait(asio::as_tuple(asio::use_awaitable));
    if (stopping) co_return;
    accounts->ReloadIfChanged();
    RecordAccounts();
    WarnOfDailyRuns();
    refusals->Sweep(workers[0]->context().get_executor());
  }
}

// Once a day, and under a new policy at once.
void Gate::Impl::WarnOfDailyRuns() {
  const int64_t now = SystemClock().BootMicros();
  if (daily_runs_judged != 0 && now < daily_runs_judged + std::chrono::microseconds(limits::kDailyWarned).count())
    return;
  daily_runs_judged = now;
  for (const auto& [run, judge] :
       {std::pair{DailyRun::retain, &RetentionWarnings}, {DailyRun::shuffle, &ShuffleWarnings}}) {
    auto noted = ReadGoneThrough(RealFiles(), policy->data_dir, run);
    if (!noted) Log().warn("{} {}", noted.error().message, noted.error().hint);
    for (const std::string& warning : judge(*policy, noted.value_or(GoneThroughTables()), SystemClock().WallMicros()))
      Log().warn("{}", Printable(warning));
  }
}

// A lock holds as soon as it is read; that it was made is written down right behind it.
void Gate::Impl::RecordAccounts() {
  uint64_t generation = accounts->generation();
  if (generation == accounts_recorded) return;
  Status written = account_log->Record(*accounts->snapshot(), policy->digest);
  if (written) accounts_recorded = generation;
  if (!written && !accounts_late)
    Log().error("changes of accounts are not written down yet: {} {}", written.error().message, written.error().hint);
  accounts_late = !written;
}

void Gate::Impl::HandleSignals() {
  signals.async_wait([this](boost::system::error_code error, int signal) {
    if (error) return;
    if (signal == SIGHUP) {
      Reload();
      HandleSignals();
      return;
    }
    Log().info("stopping");
    stopping = true;
    control.stop();
  });
}

void Gate::Impl::Reload() {
  (void)accounts->Reload();
  if (const auto keys_taken = keys->TakeRing(); !keys_taken)
    Log().error("the keys stay as they were: {} {}", keys_taken.error().message, keys_taken.error().hint);
  Status taken = TakePolicy();
  if (!taken) {
    Log().error("the policy stays as it was: {} {} {}", taken.error().message, taken.error().hint,
                Printable(taken.error().operator_detail));
    return;
  }
  for (auto& worker : workers) worker->DrainPool();
  Log().info("policy {} is in force", policy->digest);
}

// All of it or nothing.
Status Gate::Impl::TakePolicy() {
  ECLUSE_TRY(std::shared_ptr<const Policy> next, ReadPolicy(options.config));
  ECLUSE_OK(CheckFixed(*policy, *next));
  ECLUSE_TRY(StartupOptions greeting, GreetingOf(*next, accounts.get()));
  ECLUSE_TRY(std::shared_ptr<const Snapshot> snapshot, Compile(next, *keys));
  ECLUSE_OK(admission->Reload(next, *ledger, [&] { return Event(EntryKind::policy, *next, "reload"); }));
  policy = next;
  daily_runs_judged = 0;
  doors->SetStartup(std::move(greeting));
  services->Install(snapshot);
  asio::post(workers[0]->context(), [this, login = snapshot->gate_login] { lock->SetLogin(std::move(login)); });
  copy->SetLogin(CredentialsOf(*snapshot->gate_login));
  witnesses->SetPolicy(next);
  planner->Forget(snapshot->generation);
  return {};
}

Result<std::string> Gate::Impl::Command(const boost::json::object& request, ControlSocket::Work* later) {
  const std::string_view command = TextOf(request, "command");
  if (command == "waive-witnesses") return WaiveWitnesses(request);
  if (command == "write-down") {
    // As text: a copy of the object may share the memory of the request, which is wiped.
    *later = [this, asked = boost::json::serialize(request), of = policy] {
      return WriteDown(boost::json::parse(asked).get_object(), *of);
    };
    return {};
  }
  if (command == "erase") {
    *later = [to = ledger.get(), of = policy, subject = std::string(TextOf(request, "subject")),
              reason = std::string(TextOf(request, "reason")), in_register = TextOf(request, "register") == "yes"] {
      return to->Erase(subject, of->erasure_horizon, of->digest, reason, in_register);
    };
    return {};
  }
  if (command == "value-keys") {
    *later = [this, people = std::string(TextOf(request, "people")), make = TextOf(request, "make") == "yes"] {
      return ValueKeysFor(people, make);
    };
    return {};
  }
  if (command == "take-keys") {
    ECLUSE_TRY(const uint64_t taken, keys->TakeRing());
    // Durable behind their announcement: whoever asked may seal under them now.
    if (taken > 0) ECLUSE_OK(Event(EntryKind::key, *policy, fmt::format("took {} new keys", taken)));
    return fmt::format("{} new keys", taken);
  }
  return Fail(sqlstate::kInvalidParameter, "this gate does not know that command",
              "the program and the gate that runs are of different versions: restart the gate", "control.command");
}

// For commands that have the ring, in which what they are wrapped under is: a word for each, `-` where there is no key,
// and a `!` behind it of who was erased once.
Result<std::string> Gate::Impl::ValueKeysFor(const std::string& coded, bool make) const {
  const auto text = Base64UrlDecode(coded);
  if (!text || text->empty() || text->size() % sizeof(KeyedSubject) != 0 ||
      text->size() / sizeof(KeyedSubject) > limits::kValueKeysAsked)
    return Fail(sqlstate::kInvalidParameter, "those are no people", "", "control.value-keys");
  std::vector<KeyedSubject> people(text->size() / sizeof(KeyedSubject));
  for (size_t i = 0; i < people.size(); ++i)
    std::copy_n(text->begin() + static_cast<std::ptrdiff_t>(i * sizeof(KeyedSubject)), sizeof(KeyedSubject),
                people[i].begin());
  ECLUSE_TRY(const auto found, ledger->ValueKeysOf(people, make));
  std::string answer;
  for (const auto& one : found) {
    if (!answer.empty()) answer += ' ';
    answer += one.wrapped.empty() ? "-" : Base64UrlEncode(AsBytes(one.wrapped));
    if (one.erased) answer += '!';
  }
  return answer;
}

// What commands have done to keys, sealed columns and rows, which the one who writes the ledger has not seen.
Result<std::string> Gate::Impl::WriteDown(const boost::json::object& request, const Policy& of) {
  const std::string_view reason = TextOf(request, "reason");
  const std::string_view kind = TextOf(request, "kind");
  if (kind == EntryKindName(EntryKind::erasure)) {
    ECLUSE_TRY(const Deletion deletion, ReadDeletion(request));
    ECLUSE_OK(WriteDeletion(*ledger, *keys, deletion, of.digest));
    return "written down";
  }
  const boost::json::value* rows = request.if_contains("rows");
  const bool key = kind == EntryKindName(EntryKind::key);
  const bool load = kind == EntryKindName(EntryKind::collection) && reason.starts_with(kLoadEntry);
  // What the gate alone says of keys, and what is done only while none runs, is not said by anybody else.
  constexpr std::string_view kOwnWords[] = {kMadeKey, kDestroyKey, kDestroyGeneration, kDestroyLiterals};
  if ((!key && !load) || reason.empty() || reason.starts_with(' ') || reason.size() > limits::kReason ||
      Printable(reason) != reason ||
      std::ranges::any_of(kOwnWords, [&](std::string_view words) { return reason.starts_with(words); }) ||
      rows == nullptr || !rows->is_int64() || rows->get_int64() < 0 || (key && rows->get_int64() != 0))
    return Fail(sqlstate::kInvalidParameter, "that is nothing to be written down", "", "control.write-down");
  if (key) {
    ECLUSE_OK(Event(EntryKind::key, of, std::string(reason)));
    return "written down";
  }
  EntryDraft draft;
  draft.kind = EntryKind::collection;
  draft.policy = of.digest;
  draft.door = "command";
  draft.reason = reason;
  draft.rows = rows->get_int64();
  ECLUSE_OK(ledger->AppendAndWait(std::move(draft)));
  return "written down";
}

Result<std::string> Gate::Impl::WaiveWitnesses(const boost::json::object& request) {
  std::vector<Approver> people;
  const boost::json::value* by = request.if_contains("by");
  if (by != nullptr && by->is_object()) {
    for (const auto& [account, password] : by->get_object()) {
      if (!password.is_string()) continue;
      const boost::json::string& text = password.get_string();
      people.push_back({std::string(account), Secret(std::string_view(text.data(), text.size()))});
    }
  }
  // Whoever they are, the ledger says first how they came to be so.
  accounts->ReloadIfChanged();
  RecordAccounts();
  if (accounts_recorded != accounts->generation())
    return Fail(sqlstate::kIo, "changes of accounts cannot be written down just now", "see the gate's log",
                "control.waive");
  if (Status two = CheckTwoPeople(*accounts->snapshot(), people); !two) {
    ECLUSE_OK(Event(EntryKind::alert, *policy, "witnesses were not waived: " + two.error().message));
    return std::unexpected(std::move(two).error());
  }
  ECLUSE_OK(witnesses->MayWaive());
  const std::string_view reason = TextOf(request, "reason");
  const boost::json::value* seconds = request.if_contains("seconds");
  if (reason.empty() || reason.size() > limits::kReason || seconds == nullptr || !seconds->is_int64() ||
      seconds->get_int64() < 1 || seconds->get_int64() > limits::kWitnessWaiver.count())
    return Fail(sqlstate::kInvalidParameter, "witnesses are waived with a reason, and for 4 hours at the most",
                "give --reason and --for, for instance --for 2h", "control.waive");
  if (policy->required_witnesses == 0)
    return Fail(sqlstate::kInvalidParameter, "this policy requires no witnesses, so there is nothing to waive", "",
                "control.waive");
  const std::chrono::seconds time(seconds->get_int64());
  const std::string until = TimeText(ledger->NowMicros() + std::chrono::microseconds(time).count());
  ECLUSE_OK(Event(
      EntryKind::approval, *policy,
      fmt::format("witnesses waived until {}; by {} and {}: {}", until, people[0].account, people[1].account, reason)));
  witnesses->Waive(time);
  return "release goes on without witnesses until " + until + ", or until the gate is restarted";
}

// Stop input, let work end, write what is left, and only then take things apart.
void Gate::Impl::Shutdown() {
  if (std::exchange(closed, true)) return;
  boost::system::error_code ignored;
  acceptor.close(ignored);
  commands.reset();
  if (workers.empty()) return;
  Error reason{
      std::string(sqlstate::kShutdown), "the gate is stopping", "Connect again in a moment.", "server.stop", {}, 0};
  for (auto& worker : workers) worker->EndSessions(reason);
  auto deadline = std::chrono::steady_clock::now() + limits::kDrain;
  while (doors->sessions.size() > 0 && std::chrono::steady_clock::now() < deadline)
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  if (doors->sessions.size() > 0) Log().warn("{} sessions did not end in time", doors->sessions.size());
  refusals->Sweep(workers[0]->context().get_executor(), true);
  witnesses.reset();
  if (lock) {
    std::promise<void> stopped;
    asio::post(workers[0]->context(), [&] {
      lock->Stop();
      stopped.set_value();
    });
    stopped.get_future().wait();
  }
  for (auto& worker : workers) worker->Stop();
  // A last entry behind everything that was appended: when it is durable, so are they, and the ledger has told
  // everybody who waited, while what they waited on is still there.
  if (started && ledger->healthy()) (void)Event(EntryKind::session, *policy, "stop");
  lock.reset();  // its connection is one of a worker's
}

Gate::Gate(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

Gate::~Gate() {
  if (impl_) impl_->Shutdown();
}

Result<std::unique_ptr<Gate>> Gate::Open(GateOptions options) {
  std::unique_ptr<Gate> gate(new Gate(std::make_unique<Impl>(std::move(options))));
  ECLUSE_OK(gate->impl_->Open());
  return gate;
}

std::string Gate::sql_address() const {
  boost::system::error_code error;
  auto endpoint = impl_->acceptor.local_endpoint(error);
  return fmt::format("{}:{}", impl_->policy->sql->address, endpoint.port());
}

Status Gate::Run() {
  auto rethrow = [](std::exception_ptr failed) {
    if (failed) std::rethrow_exception(failed);
  };
  asio::co_spawn(impl_->control, impl_->Accept(), rethrow);
  asio::co_spawn(impl_->control, impl_->Control(), rethrow);
  Status ran;
  try {
    impl_->control.run();
  } catch (const std::exception& error) {
    ran = Fail(sqlstate::kInternal, "what accepts connections and watches over accounts failed, so the gate stops",
               "Start it again; where it was memory, give it more.", "server.control", Printable(error.what()));
    Log().critical("{} {}", ran.error().message, ran.error().operator_detail);
  }
  impl_->Shutdown();
  return ran;
}

}  // namespace ecluse
