#include "server/refusals.h"

#include "base/log.h"

namespace ecluse {
namespace {

constexpr int64_t kMinute = 60'000'000;

boost::asio::awaitable<void> AppendOne(Ledger* ledger, EntryDraft draft) {
  Result<Receipt> receipt = co_await ledger->Append(std::move(draft));
  if (!receipt) Log().error("a refusal was not written down: {}", Printable(receipt.error().message));
}

}  // namespace

void RefusalLog::Append(boost::asio::any_io_executor executor, EntryDraft draft) {
  boost::asio::co_spawn(executor, AppendOne(&ledger_, std::move(draft)), boost::asio::detached);
}

void RefusalLog::Note(boost::asio::any_io_executor executor, const Caller& caller, const Plan* plan,
                      const Error& error) {
  EntryDraft draft = DraftOf(EntryKind::refusal, caller);
  draft.reason = error.rule;
  draft.message = error.message;
  draft.lookups = Admission::RefusalLookups(error);
  if (plan) {
    draft.fingerprint = plan->fingerprint;
    draft.statement = plan->normalised;
    draft.literals = plan->literals;
  }
  {
    std::lock_guard lock(mutex_);
    Count& count = counts_[{caller.payer.account, caller.payer.role, error.rule}];
    int64_t minute = clock_.BootMicros() / kMinute;
    if (count.minute == minute && !count.draft.reason.empty()) {
      ++count.repeated;
      count.lookups += draft.lookups;
      return;
    }
    std::swap(count.draft, draft);
    std::swap(count.minute, minute);
    if (count.repeated > 0) {
      draft.count = count.repeated;
      draft.lookups = count.lookups;
      Append(executor, std::move(draft));
    }
    count.repeated = count.lookups = 0;
    draft = count.draft;
  }
  Append(executor, std::move(draft));
}

void RefusalLog::Sweep(boost::asio::any_io_executor executor, bool all) {
  std::lock_guard lock(mutex_);
  int64_t minute = clock_.BootMicros() / kMinute;
  std::erase_if(counts_, [&](const auto& item) {
    const Count& count = item.second;
    if (!all && count.minute == minute) return false;
    if (count.repeated > 0) {
      EntryDraft draft = count.draft;
      draft.count = count.repeated;
      draft.lookups = count.lookups;
      Append(executor, std::move(draft));
    }
    return true;
  });
}

}  // namespace ecluse
