#include "server/account_log.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <boost/asio.hpp>
#include <boost/json.hpp>

#include "base/bytes.h"
#include "base/file.h"
#include "base/limits.h"
#include "base/log.h"

namespace ecluse {
namespace {

namespace asio = boost::asio;
namespace json = boost::json;

constexpr std::string_view kHeader = "ecluse accounts v1\n";

asio::awaitable<void> AppendOne(Ledger* ledger, EntryDraft draft, Status* done) {
  Result<Receipt> receipt = co_await ledger->Append(std::move(draft));
  if (!receipt) *done = std::unexpected(std::move(receipt).error());
}

}  // namespace

AccountLog::Facts AccountLog::FactsOf(const Account& account) const {
  uint8_t password[16];
  keys_.Pseudonym("accounts", "password", account.verifier.Text(), password);
  Facts facts{{"organisation", account.organisation},
              {"roles", fmt::format("{}", fmt::join(account.roles, ", "))},
              {"password", HexEncode(password)}};
  if (account.locked) facts["locked"] = account.lock_reason;
  return facts;
}

// Empty where nothing differs.
std::string AccountLog::Difference(const Facts& before, const Facts& now) {
  std::vector<std::string> parts;
  for (const char* name : {"roles", "organisation"})
    if (before.at(name) != now.at(name))
      parts.push_back(fmt::format("{} {} -> {}", name, before.at(name), now.at(name)));
  if (before.at("password") != now.at("password")) parts.emplace_back("password changed");
  auto was = before.find("locked"), is = now.find("locked");
  if (is == now.end() && was != before.end()) parts.emplace_back("unlocked");
  if (is != now.end() && (was == before.end() || was->second != is->second)) parts.push_back("locked: " + is->second);
  return fmt::format("{}", fmt::join(parts, "; "));
}

// What was written down last; nullopt where nothing was, or nobody knows any more.
std::optional<AccountLog::Known> AccountLog::Load() const {
  Result<std::optional<FileInfo>> there = RealFiles().Find(path_);
  if (there && !*there) return std::nullopt;
  Result<std::string> text = ReadWholeFile(RealFiles(), path_, limits::kAccountsBytes);
  boost::system::error_code failed;
  json::value parsed;
  if (text && text->starts_with(kHeader)) parsed = json::parse(text->substr(kHeader.size()), failed);
  Known known;
  bool whole = !failed && parsed.is_object();
  if (whole) {
    for (const auto& [name, value] : parsed.get_object()) {
      Facts& facts = known[name];
      if (value.is_object())
        for (const auto& [fact, content] : value.get_object())
          if (content.is_string()) facts[fact] = std::string(content.get_string());
      whole = whole && facts.contains("roles") && facts.contains("organisation") && facts.contains("password");
    }
  }
  if (whole) return known;
  Log().warn("{} cannot be read: every account is written to the ledger as it is found", path_);
  return std::nullopt;
}

// All at once, so that they share their syncs.
Status AccountLog::Append(std::vector<EntryDraft> drafts) {
  asio::io_context context;
  Status done;
  for (EntryDraft& draft : drafts)
    asio::co_spawn(context, AppendOne(&ledger_, std::move(draft), &done), asio::detached);
  context.run();
  return done;
}

Status AccountLog::Record(const AccountMap& accounts, const std::string& policy_digest) {
  bool first = false;
  if (!known_) {
    known_ = Load();
    first = !known_;
    if (first) known_.emplace();
  }
  Known now;
  for (const auto& [name, account] : accounts) now[name] = FactsOf(account);
  std::vector<EntryDraft> drafts;
  auto add = [&](const std::string& name, std::string reason) {
    EntryDraft& draft = drafts.emplace_back();
    draft.kind = EntryKind::lock;
    draft.policy = policy_digest;
    draft.principal = name;
    draft.door = "gate";
    draft.reason = std::move(reason);
  };
  for (const auto& [name, facts] : now) {
    auto before = known_->find(name);
    if (before == known_->end()) {
      auto locked = facts.find("locked");
      add(name, fmt::format("{}: roles {}; organisation {}{}", first ? "found" : "added", facts.at("roles"),
                            facts.at("organisation"), locked == facts.end() ? "" : "; locked: " + locked->second));
    } else if (std::string difference = Difference(before->second, facts); !difference.empty()) {
      add(name, std::move(difference));
    }
  }
  for (const auto& [name, facts] : *known_)
    if (!now.contains(name)) add(name, "removed");
  if (first) known_.reset();
  if (drafts.empty() && known_) return {};
  ECLUSE_OK(Append(std::move(drafts)));
  json::object kept;
  for (const auto& [name, facts] : now) kept[name] = json::value_from(facts);
  ECLUSE_OK(ReplaceFile(RealFiles(), path_, std::string(kHeader) + json::serialize(kept) + "\n"));
  known_ = std::move(now);
  return {};
}

}  // namespace ecluse
