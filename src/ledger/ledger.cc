#include "ledger/ledger.h"

#include <fmt/format.h>

#include <future>

#include "base/bytes.h"
#include "base/check.h"
#include "base/file.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/random.h"
#include "base/time_text.h"
#include "ledger/accepted_clock.h"
#include "ledger/entries.h"
#include "ledger/open_entry.h"
#include "ledger/origin.h"
#include "ledger/people.h"
#include "ledger/recovery.h"
#include "ledger/render.h"
#include "ledger/retention.h"
#include "ledger/segment.h"
#include "ledger/tree_writer.h"
#include "ledger/writer.h"
#include "vault/literal_keys.h"

namespace ecluse {
namespace {

namespace asio = boost::asio;

// Completes an asio operation on its own executor, and keeps that executor's context running until then.
template <typename Handler>
class AsioWaiter final : public Waiter {
 public:
  explicit AsioWaiter(Handler handler)
      : handler_(std::move(handler)), work_(asio::make_work_guard(asio::get_associated_executor(handler_))) {}
  void Done(Result<uint64_t> seq) override {
    asio::post(work_.get_executor(),
               [handler = std::move(handler_), seq = std::move(seq)]() mutable { std::move(handler)(std::move(seq)); });
    work_.reset();
  }

 private:
  Handler handler_;
  asio::executor_work_guard<asio::associated_executor_t<Handler>> work_;
};

class PromiseWaiter final : public Waiter {
 public:
  std::future<Result<uint64_t>> future() { return promise_.get_future(); }
  void Done(Result<uint64_t> seq) override { promise_.set_value(std::move(seq)); }

 private:
  std::promise<Result<uint64_t>> promise_;
};

// Events of the gate itself and of its operators are few, and never kept waiting for a checkpoint.
bool WaitsForRoom(EntryKind kind) {
  switch (kind) {
    case EntryKind::start:
    case EntryKind::session:
    case EntryKind::policy:
    case EntryKind::key:
    case EntryKind::lock:
    case EntryKind::alert:
    case EntryKind::approval:
    case EntryKind::retention:
      return false;
    default:
      return true;
  }
}

// Kinds that the reserved disk space is kept for.
bool MayUseReserve(EntryKind kind) {
  switch (kind) {
    case EntryKind::key:
    case EntryKind::lock:
    case EntryKind::alert:
    case EntryKind::approval:
    case EntryKind::retention:
      return true;
    default:
      return false;
  }
}

}  // namespace

struct Ledger::Impl {
  LedgerOptions options;
  KeyRing& keys;
  EntryOrigin origin;
  SegmentFolder folder;
  std::unique_ptr<File> lock;
  std::unique_ptr<People> people;
  int64_t ahead = 0;  // of entries' times, from the wall clock
  std::unique_ptr<Writer> writer;
  std::unique_ptr<TreeWriter> tree;

  ~Impl() {
    people->keys().Stop();  // it announces keys
    keys.OnKeyMade(nullptr);
    if (writer) writer->Stop();  // writes what is queued, and tells `people` and `tree`
    tree.reset();                // its last checkpoint covers that
    writer.reset();
    people.reset();
  }

  Result<QueuedEntry> Render(EntryDraft draft) {
    QueuedEntry queued;
    queued.reserved = MayUseReserve(draft.kind);
    const int64_t now = options.clock->WallMicros();
    const Sealer day = [&](std::string_view plain, std::string_view associated) {
      return keys.SealForDay(now, plain, associated);
    };
    const Sealer month = [&](std::string_view plain, std::string_view associated) {
      return keys.literal_keys().Seal(now, plain, associated);
    };
    ECLUSE_TRY(queued.entry, RenderEntry(draft, origin, day, month));
    queued.indexed = IndexedBy(std::move(draft));
    return queued;
  }

  std::future<Result<uint64_t>> SubmitAndWait(QueuedEntry queued) {
    auto waiter = std::make_unique<PromiseWaiter>();
    auto done = waiter->future();
    queued.waiter = std::move(waiter);
    writer->Submit(std::move(queued));
    return done;
  }

  // What seals nothing and is short can always be rendered.
  QueuedEntry RenderOwn(EntryKind kind, std::string reason) {
    EntryDraft draft;
    draft.kind = kind;
    draft.door.clear();
    draft.reason = std::move(reason);
    Result<QueuedEntry> queued = Render(std::move(draft));
    CHECK(queued.has_value());
    return std::move(*queued);
  }

  void Announce(const KeyInfo& info) {
    QueuedEntry queued = RenderOwn(EntryKind::key, fmt::format("{}{}: {} {}", kMadeKey, info.id, info.kind, info.name));
    queued.announces = info.id;
    writer->Submit(std::move(queued));
  }

  Status AnnounceKeys() {
    ECLUSE_TRY(auto all, keys.List());
    for (const KeyInfo& info : all) {
      ECLUSE_TRY(bool known, people->Announced(info.id));
      if (!known) Announce(info);
    }
    // From now on in the queue before anything that is sealed under the key.
    keys.OnKeyMade([this](const KeyInfo& info) { Announce(info); });
    return {};
  }

  // Resumes on the caller's executor.
  asio::awaitable<Result<uint64_t>> Submit(QueuedEntry entry) {
    return asio::async_initiate<const asio::use_awaitable_t<>&, void(Result<uint64_t>)>(
        [](auto handler, Writer* to, QueuedEntry queued) {
          queued.waiter = std::make_unique<AsioWaiter<decltype(handler)>>(std::move(handler));
          to->Submit(std::move(queued));
        },
        asio::use_awaitable, writer.get(), std::move(entry));
  }

  asio::awaitable<Result<uint64_t>> Room() {
    return asio::async_initiate<const asio::use_awaitable_t<>&, void(Result<uint64_t>)>(
        [](auto handler, Writer* of) {
          std::unique_ptr<Waiter> waiter = std::make_unique<AsioWaiter<decltype(handler)>>(std::move(handler));
          if (of->RoomOrWait(waiter)) waiter->Done(0);
        },
        asio::use_awaitable, writer.get());
  }
};

Ledger::Ledger(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Ledger::~Ledger() = default;

namespace {

// How far entries' times are to be ahead of a wall clock that is `behind` the last entry.
Result<int64_t> Ahead(const SegmentFolder& folder, int64_t behind, bool accept) {
  int64_t most = std::chrono::duration_cast<std::chrono::microseconds>(limits::kClockDivergence).count();
  if (behind <= most) {
    ECLUSE_OK(ForgetAcceptance(folder));
    return 0;
  }
  ECLUSE_TRY(int64_t accepted, AcceptedLag(folder));
  if (accept || behind <= accepted + most) return behind;
  return Fail(sqlstate::kIo,
              fmt::format("the machine's clock is {} s behind the ledger's last entry", behind / 1'000'000),
              "correct the machine's clock, then start the gate again; where it is right now and was wrong before: "
              "ecluse ledger accept-clock",
              "ledger.clock");
}

}  // namespace

Result<std::unique_ptr<Ledger>> Ledger::Open(LedgerOptions options, KeyRing& keys) {
  return Open(std::move(options), keys, Lag::refuse);
}

Result<std::unique_ptr<Ledger>> Ledger::Open(LedgerOptions options, KeyRing& keys, Lag lag) {
  if (options.files == nullptr) options.files = &RealFiles();
  if (options.clock == nullptr) options.clock = &SystemClock();
  FileSystem& files = *options.files;
  SegmentFolder folder{&files,
                       options.data_dir + "/ledger",
                       {},
                       options.segment_bytes != 0 ? options.segment_bytes : limits::kLedgerSegment};
  ECLUSE_OK(PreparePrivateFolder(files, options.data_dir));
  ECLUSE_OK(PreparePrivateFolder(files, folder.path));
  ECLUSE_TRY(auto lock, files.Open(folder.path + "/lock", OpenMode::lock));
  ECLUSE_TRY(bool alone, lock->TryLock());
  if (!alone)
    return Fail(sqlstate::kIo, "another gate has this ledger open", "stop it first: one gate writes one ledger",
                "ledger.lock", folder.path);

  ECLUSE_TRY(auto removing, files.Find(RemovingPath(folder)));
  if (removing)
    return Fail(sqlstate::kIo, "a removal of entries was interrupted",
                "finish it first: run `ecluse ledger prune` again", "ledger.removing", RemovingPath(folder));
  ECLUSE_TRY(bool fresh, FindOrigin(&folder, options.register_name, options.node));
  ECLUSE_TRY(RecoveredTail tail, RecoverTail(folder));
  ECLUSE_TRY(int64_t ahead, Ahead(folder, tail.last_time - options.clock->WallMicros(), lag == Lag::accept));
  EntryOrigin origin{options.register_name, options.node};
  PersonKeysOptions person_keys{options.data_dir,        Store::Mode::existing,      options.clock,
                                options.erasure_horizon, options.literals_retention, {}};
  if (!fresh) person_keys.last_time = tail.last_time;
  PeopleOptions naming{std::move(person_keys), options.data_dir + "/index", folder, origin, fresh};
  if (options.index_backlog != 0) naming.backlog = options.index_backlog;
  if (options.index_fill != 0) naming.fill = options.index_fill;
  ECLUSE_TRY(auto people, People::Open(std::move(naming), keys));
  if (fresh) ECLUSE_OK(WriteOrigin(folder, options.register_name, options.node));
  ECLUSE_OK(people->CatchUp(tail.next_seq));

  auto impl = std::unique_ptr<Impl>(
      new Impl{options, keys, origin, folder, std::move(lock), std::move(people), ahead, nullptr, nullptr});
  WriterOptions writing;
  writing.folder = folder;
  writing.clock = options.clock;
  writing.persons = &impl->people->keys();
  writing.reserve_bytes = std::min<uint64_t>(limits::kReserveBytes, folder.segment_bytes / 4);
  writing.ahead = ahead;
  writing.alert = [to = impl.get()](std::string reason) { return to->RenderOwn(EntryKind::alert, std::move(reason)); };
  TreeOptions hashing;
  hashing.folder = folder;
  ECLUSE_TRY(Secret seed, keys.SigningSeed());
  hashing.signer = std::make_shared<const SigningKey>(options.register_name + "/" + options.node,
                                                      SignatureType::ed25519, std::move(seed));
  hashing.every = options.checkpoint_every;
  hashing.publish = options.publish;
  if (options.told) {
    ECLUSE_TRY(hashing.told, options.told());
  }
  hashing.lag = [to = impl.get()](TreeLag lag) { to->writer->SetLag(lag); };
  hashing.leaving = [to = impl.get()](uint64_t first_left) { to->writer->Leaving(first_left); };
  hashing.broken = [to = impl.get()](Error error) { to->writer->FailForGood(std::move(error)); };
  ECLUSE_TRY(impl->tree, TreeWriter::Start(std::move(hashing), tail.next_seq));
  writing.durable = [to = impl.get()](DurableNews news) {
    to->tree->Grew(news.size);
    to->people->Durable(std::move(news));
  };
  ECLUSE_TRY(impl->writer, Writer::Start(std::move(writing), tail));
  impl->tree->Begin();
  ECLUSE_OK(impl->AnnounceKeys());
  impl->people->keys().Tell([to = impl.get()](std::string reason) -> Status {
    auto written = to->SubmitAndWait(to->RenderOwn(EntryKind::key, std::move(reason))).get();
    return written ? Status() : std::unexpected(std::move(written).error());
  });
  impl->people->keys().Begin();
  return std::unique_ptr<Ledger>(new Ledger(std::move(impl)));
}

Status Ledger::AcceptClock(LedgerOptions options, KeyRing& keys, const std::string& reason) {
  FileSystem& files = options.files != nullptr ? *options.files : RealFiles();
  SegmentFolder folder{&files, options.data_dir + "/ledger", {}, 0};
  ECLUSE_TRY(options.node, OwnNode(&folder));
  ECLUSE_TRY(auto ledger, Open(std::move(options), keys, Lag::accept));
  if (ledger->impl_->ahead == 0)
    return Fail(sqlstate::kIo, "the machine's clock is not behind the ledger's last entry",
                "there is nothing to accept: start the gate", "ledger.clock");
  EntryDraft approval;
  approval.kind = EntryKind::approval;
  approval.door = "command";
  approval.reason = AcceptanceReason(ledger->impl_->ahead, reason);
  ECLUSE_TRY(Receipt receipt, ledger->AppendAndWait(std::move(approval)));
  return KeepAcceptance(folder, receipt.seq());
}

Status Ledger::WriteDown(LedgerOptions options, KeyRing& keys, EntryDraft draft) {
  SegmentFolder folder{options.files != nullptr ? options.files : &RealFiles(), options.data_dir + "/ledger", {}, 0};
  ECLUSE_TRY(options.node, OwnNode(&folder));
  ECLUSE_TRY(auto ledger, Open(std::move(options), keys));
  if (auto written = ledger->AppendAndWait(std::move(draft)); !written)
    return std::unexpected(std::move(written).error());
  return {};
}

int64_t Ledger::NowMicros() const { return impl_->options.clock->WallMicros() + impl_->ahead; }

Result<std::vector<SubjectToken>> Ledger::TokensOf(std::span<const PersonName> people) {
  if (auto failure = impl_->writer->failure()) return std::unexpected(*failure);
  return impl_->people->TokensOf(*impl_->writer, people);
}

// One part after the other: a later one is durable only after all before it, so the last one's receipt covers them.
asio::awaitable<Result<Receipt>> Ledger::Append(EntryDraft draft) {
  std::vector<EntryDraft> parts = SplitDraft(std::move(draft));
  uint64_t seq = 0;
  for (EntryDraft& part : parts) {
    if (WaitsForRoom(part.kind) && !impl_->writer->HasRoom()) ECLUSE_CO_OK(co_await impl_->Room());
    ECLUSE_CO_TRY(QueuedEntry queued, impl_->Render(std::move(part)));
    ECLUSE_CO_TRY(seq, co_await impl_->Submit(std::move(queued)));
  }
  co_return Receipt(seq);
}

Result<Receipt> Ledger::AppendAndWait(EntryDraft draft) {
  uint64_t seq = 0;
  for (EntryDraft& part : SplitDraft(std::move(draft))) {
    auto room = std::make_unique<PromiseWaiter>();
    auto has_room = room->future();
    std::unique_ptr<Waiter> waiting = std::move(room);
    if (WaitsForRoom(part.kind) && !impl_->writer->RoomOrWait(waiting)) has_room.wait();
    ECLUSE_TRY(QueuedEntry queued, impl_->Render(std::move(part)));
    ECLUSE_TRY(seq, impl_->SubmitAndWait(std::move(queued)).get());
  }
  return Receipt(seq);
}

Result<std::string> Ledger::EraseAlone(LedgerOptions options, KeyRing& keys, const std::string& subject,
                                       std::chrono::seconds horizon, const std::string& policy,
                                       const std::string& reason, bool in_register) {
  SegmentFolder folder{options.files != nullptr ? options.files : &RealFiles(), options.data_dir + "/ledger", {}, 0};
  ECLUSE_TRY(const auto present, folder.files->Find(folder.path + "/origin"));
  if (!present)
    return Fail(sqlstate::kIo, "there is no ledger in " + options.data_dir + ", in which it could be written down",
                "it is made when the gate first serves", "ledger.none");
  ECLUSE_TRY(options.node, OwnNode(&folder));
  ECLUSE_TRY(auto ledger, Open(std::move(options), keys));
  return ledger->Erase(subject, horizon, policy, reason, in_register);
}

Result<std::string> Ledger::Erase(const std::string& subject, std::chrono::seconds horizon, const std::string& policy,
                                  const std::string& reason, bool in_register) {
  const size_t colon = std::min(subject.find(':'), subject.size());
  if (colon == 0 || colon + 1 >= subject.size() || subject.size() - colon - 1 > limits::kSubjectId)
    return Fail(sqlstate::kInvalidParameter, "a person is a space and an id, as person:4242", "", "ledger.erase");
  if (reason.empty() || reason.size() > limits::kErasureReason || Printable(reason) != reason)
    return Fail(sqlstate::kInvalidParameter,
                fmt::format("the reason is empty, or longer than {} bytes, or not plain text", limits::kErasureReason),
                "give --reason \"request 2026-113\"", "ledger.erase");
  PersonName person{{}, std::string_view(subject).substr(0, colon), std::string_view(subject).substr(colon + 1)};
  impl_->keys.SubjectKey(person.space, person.id, person.key.data());
  People& people = *impl_->people;
  const auto until = People::Deadline::clock::now() + limits::kErasureWait;
  // Who stands in the register without a key gets one to be destroyed: by it what is left there is known as erased.
  ECLUSE_TRY(const auto values, people.keys().FindWrapped({&person.key, 1}, in_register));
  // Whom the ledger has not named yet it names now, so that the entry tells of somebody.
  if (in_register || !values[0].wrapped.empty()) ECLUSE_OK(TokensOf({&person, 1}));
  ECLUSE_TRY(const auto token, people.Erasable(person, *impl_->writer, until));
  PersonKeys::InFormer former = people.keys().FindInFormer(subject);
  std::string unread;
  for (const std::string& one : former.unreadable) unread += "; " + one;
  if (!token && former.tokens.empty())
    return Fail(sqlstate::kInvalidParameter,
                "no ledger names that person and no value is sealed for them, so there is no key of theirs to destroy" +
                    (unread.empty() ? "" : ", in those that can be read" + unread),
                "an id is written as the register has it, and the spaces are those of the policy", "ledger.erase");
  const int64_t now = NowMicros();
  const std::string gone = TimeText(now + std::chrono::microseconds(horizon).count());
  EntryDraft draft;
  draft.kind = EntryKind::erasure;
  draft.door = "command";
  draft.policy = policy;
  draft.reason = fmt::format("{}{}, from every copy by {}: {}", kErasedByKey, TimeText(now), gone, reason);
  const size_t former_count = former.tokens.size();
  if (token) former.tokens.insert(former.tokens.begin(), *token);
  draft.subjects.push_back({{}, std::move(former.tokens), {}, {}});
  ECLUSE_TRY(QueuedEntry queued, impl_->Render(std::move(draft)));
  // Waits for no room: who reads them meanwhile names them anew, which has to stand behind this.
  queued.reserved = true;
  auto waiter = std::make_unique<PromiseWaiter>();
  auto done = waiter->future();
  queued.waiter = std::move(waiter);
  if (!token) {
    impl_->writer->Submit(std::move(queued));
  } else if (!people.BeginErasure(person, *token, *impl_->writer, std::move(queued))) {
    return Fail(sqlstate::kInvalidParameter, "somebody else erases that person at this moment", "try again",
                "ledger.erase");
  }
  if (done.wait_until(until) != std::future_status::ready)
    return Fail(sqlstate::kIo, "the ledger takes long to write, and whether they are erased is not known",
                "see the gate's log; run this again", "ledger.erase");
  auto written = done.get();
  if (!written) {
    Error error = std::move(written).error();
    error.hint += "; they are erased once the ledger can be written, if the gate runs until then: else run this again";
    return std::unexpected(std::move(error));
  }
  ECLUSE_OK(people.AwaitIndexed(*written + 1, until));
  std::string text =
      fmt::format("their key is destroyed (entry {}); no copy of it opens any more from {} on", *written, gone);
  if (former_count > 0) text += fmt::format("; {} former ledgers named them too", former_count);
  if (people.keys().late()) text += "; BUT the keys of copies are not destroyed in time just now: see the gate's log";
  if (!unread.empty()) text += "; BUT not every former ledger can be read, and may name them still" + unread;
  return text;
}

Result<std::vector<PersonKeys::WrappedValueKey>> Ledger::ValueKeysOf(std::span<const KeyedSubject> people, bool make) {
  return impl_->people->keys().FindWrapped(people, make);
}

bool Ledger::healthy() const { return impl_->writer->healthy(); }

uint64_t Ledger::size() const { return impl_->writer->size(); }

Status Ledger::Replay(uint64_t first, const std::function<bool(const StoredEntry&)>& visit) {
  return Entries(impl_->folder).Visit(first, size(), [&](const EntryView& read) {
    StoredEntry entry{read.seq, EntryTime(read.json), std::string(read.json), {}};
    if (auto opened = OpenSealed(read.json, impl_->keys)) entry.opened = std::move(*opened);
    return visit(entry);
  });
}

Result<uint64_t> Ledger::FirstSince(int64_t time) const { return Entries(impl_->folder).FirstSince(size(), time); }

Result<std::vector<std::pair<SubjectToken, SubjectKey>>> Ledger::KeysOf(std::span<const SubjectToken> tokens) {
  return impl_->people->KeysOf(tokens);
}

}  // namespace ecluse
