// ecluse ledger new: two people put the ledger away and begin another, under a new origin.
#include <fmt/format.h>

#include <cstdio>
#include <filesystem>
#include <memory>
#include <sstream>

#include "base/bytes.h"
#include "base/file.h"
#include "base/limits.h"
#include "base/log.h"
#include "cli/ask.h"
#include "cli/commands.h"
#include "ledger/ledger.h"
#include "ledger/origin.h"
#include "ledger/store.h"
#include "ledger/tree_writer.h"

namespace ecluse {
namespace {

struct NewOptions {
  std::string config = "ecluse.yaml";
  std::string node;
  TwoPeople by;
};

// A path that a rename gives another name, durably; nothing where it is not there any more.
Status Move(const std::string& from, const std::string& to) {
  FileSystem& files = RealFiles();
  ECLUSE_TRY(auto present, files.Find(from));
  if (!present) return {};
  ECLUSE_OK(files.Rename(from, to));
  ECLUSE_OK(files.SyncDirectory(std::filesystem::path(to).parent_path()));
  return files.SyncDirectory(std::filesystem::path(from).parent_path());
}

std::string IntentPath(const Policy& policy) { return policy.data_dir + "/beginning"; }

// No ledger of this register that is known here has had the name.
Status CheckName(const Policy& policy, const std::string& node) {
  std::vector<std::string> folders = {policy.data_dir + "/ledger"};
  std::error_code none;
  for (const auto& former : std::filesystem::directory_iterator(policy.data_dir + "/former", none))
    folders.push_back(former.path().string() + "/ledger");
  for (const std::string& path : folders) {
    const SegmentFolder folder{&RealFiles(), path, {}, 0};
    ECLUSE_TRY(auto present, RealFiles().Find(path + "/origin"));
    if (!present) continue;
    std::string origin;
    ECLUSE_OK(ReadOrigin(folder, &origin));
    if (origin == policy.register_name + "/" + node)
      return Fail(sqlstate::kInvalidParameter, "a ledger has, or had, that origin: " + origin,
                  "give the new one another node name, which no ledger of this register has had", "ledger.origin",
                  path);
  }
  return {};
}

// No gate has the ledger open while this is held.
Result<std::unique_ptr<File>> Lock(const std::string& ledger) {
  ECLUSE_TRY(auto lock, RealFiles().Open(ledger + "/lock", OpenMode::lock));
  ECLUSE_TRY(bool alone, lock->TryLock());
  if (!alone) return Fail(sqlstate::kIo, "a gate has this ledger open", "stop it first", "ledger.lock", ledger);
  return lock;
}

// What the new ledger will say of the one that is there.
Result<std::string> Describe(const SegmentFolder& folder) {
  FileSystem& files = RealFiles();
  std::string origin;
  ECLUSE_OK(ReadOrigin(folder, &origin));
  Checkpoint last{origin, 0, EmptyRoot()};
  ECLUSE_TRY(auto signed_yet, files.Find(folder.path + "/checkpoint"));
  if (signed_yet) {
    ECLUSE_TRY(VerifierKey key, ReadVerifierKey(folder));
    ECLUSE_TRY(last, ReadCheckpoint(folder, key));
  }
  return fmt::format("new ledger after {}, whose last checkpoint covers {} entries with root {}", origin, last.size,
                     Base64Encode(last.root));
}

// The last entries may erase people, which a gate that was killed has not done yet: it is when the ledger is opened.
void FinishErasures(const Policy& policy) {
  const Status done = [&]() -> Status {
    ECLUSE_TRY(const auto keys, KeyRing::Open(policy.root, policy.data_dir));
    LedgerOptions options;
    options.data_dir = policy.data_dir;
    options.register_name = policy.register_name;
    SegmentFolder folder{&RealFiles(), policy.data_dir + "/ledger", {}, 0};
    ECLUSE_TRY(options.node, OwnNode(&folder));
    ECLUSE_TRY(const auto opened, Ledger::Open(std::move(options), *keys));
    return {};
  }();
  if (!done)
    std::fprintf(stderr,
                 "the ledger cannot be opened (%s): whoever was erased in its last moments may not be erased yet; run "
                 "`ecluse erase` for them again\n",
                 done.error().message.c_str());
}

// Puts the ledger and its people's keys into `former`. What was moved already stays there.
Status PutAway(const std::string& data, const std::string& former) {
  FileSystem& files = RealFiles();
  for (const std::string& path : {data + "/former", former, former + "/keys"})
    ECLUSE_OK(PreparePrivateFolder(files, path));
  ECLUSE_OK(Store::Destroy(data + "/index"));
  ECLUSE_OK(Move(data + "/keys/persons", former + "/keys/persons"));
  ECLUSE_OK(Move(data + "/accounts", former + "/accounts"));
  return Move(data + "/ledger", former + "/ledger");
}

// The file `beginning` holds, from before anything is moved until the new ledger says so, the former ledger's id, the
// new node, and what is to be said: a command that was interrupted is run again, and until then no gate starts.
Status Begin(const NewOptions& options, const Policy& policy) {
  FileSystem& files = RealFiles();
  ECLUSE_TRY(const std::string node, NodeName(options.node));
  ECLUSE_OK(AskTwoPeople(policy, options.by.people));
  ECLUSE_TRY(auto begun, files.Find(IntentPath(policy)));
  SegmentFolder folder{&files, policy.data_dir + "/ledger", {}, 0};
  ECLUSE_TRY(auto present, files.Find(folder.path + "/origin"));
  if (!begun && present) FinishErasures(policy);
  std::unique_ptr<File> lock;
  if (present) {
    ECLUSE_TRY(lock, Lock(folder.path));
  }
  if (!begun) {
    if (!present)
      return Fail(sqlstate::kIo, "there is no ledger in " + policy.data_dir,
                  "a first one is made when the gate first serves", "ledger.none");
    std::string origin;
    ECLUSE_TRY(folder.ledger, ReadOrigin(folder, &origin));
    ECLUSE_OK(CheckName(policy, node));
    ECLUSE_TRY(std::string after, Describe(folder));
    ECLUSE_OK(
        ReplaceFile(files, IntentPath(policy), fmt::format("{}\n{}\n{}\n", HexEncode(folder.ledger), node, after)));
  }
  ECLUSE_TRY(std::string intent, ReadWholeFile(files, IntentPath(policy), limits::kNote));
  std::istringstream lines(intent);
  std::string id, name, after;
  if (!std::getline(lines, id) || !std::getline(lines, name) || !std::getline(lines, after) || name != node)
    return Fail(sqlstate::kInvalidParameter, "a new ledger was begun already, as --node " + Printable(name),
                "give the same name again", "ledger.new", IntentPath(policy));
  const std::string former = policy.data_dir + "/former/" + id;
  ECLUSE_TRY(auto moved, files.Find(former + "/ledger/origin"));
  if (!moved) ECLUSE_OK(PutAway(policy.data_dir, former));
  lock.reset();  // of the one that was put away; or of the new one, which was made and does not say so yet
  ECLUSE_TRY(auto keys, KeyRing::Open(policy.root, policy.data_dir));
  LedgerOptions ledger;
  ledger.data_dir = policy.data_dir;
  ledger.register_name = policy.register_name;
  ledger.node = node;
  ECLUSE_TRY(auto opened, Ledger::Open(ledger, *keys));
  EntryDraft approval;
  approval.kind = EntryKind::approval;
  approval.door = "command";
  approval.reason = fmt::format("{}; {}", after, options.by.Text());
  ECLUSE_TRY(Receipt written, opened->AppendAndWait(std::move(approval)));
  ECLUSE_OK(files.Remove(IntentPath(policy)));
  ECLUSE_OK(files.SyncDirectory(policy.data_dir));
  std::fprintf(stderr,
               "entry %llu of %s/%s says so; start the gate with --node %s. The former ledger is in %s\n"
               "Budgets begin anew: nothing that the former ledger charged counts any more\n",
               static_cast<unsigned long long>(written.seq()), policy.register_name.c_str(), node.c_str(), node.c_str(),
               former.c_str());
  return {};
}

int Run(const NewOptions& options) {
  auto policy = PolicyOf(options.config);
  if (!policy) return 2;
  Status begun = Begin(options, *policy);
  return begun ? 0 : Complain("ledger", begun.error());
}

}  // namespace

void AddNewLedger(CommandLine& line, CLI::App* ledger) {
  auto options = std::make_shared<NewOptions>();
  CLI::App* made = ledger->add_subcommand(
      "new", "Put the ledger away and begin another, under a new origin; the gate must not be running");
  made->add_option("--config", options->config, "the policy file")->capture_default_str();
  made->add_option("--node", options->node, "the gate's new name, which no ledger of this register has had")
      ->required();
  options->by.AddOptions(made, "an account that stands for it", "why; written to the new ledger");
  made->footer(
      "For a ledger that was put back from a copy, or is damaged: what others have been told of it can no longer be\n"
      "gone on from. Asks for both passwords; where the input is no terminal it reads them from there, one a line.\n\n"
      "Example:\n  ecluse ledger new --node gate-2 --by alice --by bob --reason \"restored from the backup of 3 May\"");
  made->callback([&line, options] { line.exit_status = Run(*options); });
}

}  // namespace ecluse
