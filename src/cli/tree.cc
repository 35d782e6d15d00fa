// ecluse ledger verify, ecluse ledger prove: the ledger as evidence.
#include <fmt/format.h>
#include <unistd.h>

#include <cstdio>
#include <memory>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/time_text.h"
#include "cli/commands.h"
#include "ledger/origin.h"
#include "ledger/prove.h"
#include "ledger/verify.h"

namespace ecluse {
namespace {

struct TreeCommand {
  std::string config = "ecluse.yaml";
  std::string folder;  // instead of the policy's: a copy
  std::string key, from;
  std::vector<std::string> witnesses;
  bool resume = false;
  std::string out, stored;
  uint64_t entry = 0;
};

// nullopt where the policy is not valid, which has been said. Without --ledger `verify` gets what the
// policy says of witnesses.
std::optional<SegmentFolder> FolderOf(const TreeCommand& options, VerifyOptions* verify = nullptr) {
  SegmentFolder folder;
  folder.files = &RealFiles();
  folder.path = options.folder;
  if (!folder.path.empty()) return folder;
  auto policy = PolicyOf(options.config);
  if (!policy) return std::nullopt;
  folder.path = policy->data_dir + "/ledger";
  if (verify == nullptr) return folder;
  for (const PolicyWitness& witness : policy->witnesses) verify->witnesses.push_back(witness.key);
  verify->required = policy->required_witnesses;
  verify->grace = policy->witness_grace;
  verify->now = SystemClock().WallMicros();
  return folder;
}

// The key itself, or a file that holds it.
Result<VerifierKey> KeyOf(const std::string& written) {
  auto text = ReadWholeFile(RealFiles(), written, limits::kNote);
  return ParseVerifierKey(text ? *text : written);
}

int Verify(const TreeCommand& options) {
  VerifyOptions verify;
  auto folder = FolderOf(options, &verify);
  if (!folder) return 2;
  verify.folder = *folder;
  if (!options.key.empty()) {
    auto key = KeyOf(options.key);
    if (!key) return Complain("ledger", key.error());
    verify.key = std::move(*key);
  }
  for (const std::string& witness : options.witnesses) {
    auto key = KeyOf(witness);
    if (!key) return Complain("ledger", key.error());
    verify.witnesses.push_back(std::move(*key));
  }
  if (options.resume && options.from.empty()) {
    std::fprintf(stderr, "ecluse ledger: --resume goes on from a checkpoint: give --from\n");
    return 2;
  }
  verify.resume = options.resume;
  if (!options.from.empty()) {
    auto note = ReadWholeFile(RealFiles(), options.from, limits::kNote);
    if (!note) return Complain("ledger", note.error());
    verify.from = std::move(*note);
  }
  const bool terminal = isatty(STDERR_FILENO) != 0;
  if (terminal) {
    verify.progress = [](uint64_t done, uint64_t all) {
      std::fprintf(stderr, "\r%llu of %llu entries", static_cast<unsigned long long>(done),
                   static_cast<unsigned long long>(all));
    };
  }
  auto found = VerifyLedger(verify);
  if (terminal) std::fprintf(stderr, "\r\x1b[K");
  if (!found) return Complain("ledger", found.error());
  for (const Finding& one : found->findings) {
    const std::string where = one.entry ? fmt::format("entry {}", *one.entry) : "the ledger";
    std::printf("%s: %s\n", where.c_str(), Printable(one.what).c_str());
  }
  const Checkpoint& checkpoint = found->checkpoint;
  std::printf("%s: %llu entries, %llu of them under the checkpoint with root %s\n",
              Printable(checkpoint.origin).c_str(), static_cast<unsigned long long>(found->entries),
              static_cast<unsigned long long>(checkpoint.size), Base64Encode(checkpoint.root).c_str());
  if (found->removed > 0)
    std::printf("entries before %llu were removed, as an entry of kind retention says; their hashes are there\n",
                static_cast<unsigned long long>(found->removed));
  if (found->cosigned) {
    for (const auto& [name, seconds] : found->cosigned->witnesses)
      std::printf("%llu of them cosigned by %s at %s\n", static_cast<unsigned long long>(found->cosigned->size),
                  Printable(name).c_str(), TimeText(static_cast<int64_t>(seconds) * 1'000'000).c_str());
    if (found->cosigned->witnesses.empty())
      std::printf("no cosignature of a known witness: name them by --witness, or in the policy\n");
  }
  if (found->findings.empty()) {
    std::printf(options.resume ? "whole: every entry since the earlier checkpoint is the one that was signed\n"
                               : "whole: every entry under the checkpoint is the one that was signed\n");
    if (!verify.key) {
      std::printf(
          "the key was the folder's own; give one kept elsewhere with --key, or who replaces both is not found\n");
    }
  } else {
    std::printf("NOT whole: %zu faults; the first entry concerned stands first\n", found->findings.size());
  }
  return found->findings.empty() ? 0 : 1;
}

int Prove(const TreeCommand& options) {
  auto folder = FolderOf(options);
  if (!folder) return 2;
  std::string origin;
  auto id = ReadOrigin(*folder, &origin);
  if (!id) return Complain("ledger", id.error());
  folder->ledger = *id;
  auto prover = Prover::Open(*folder);
  if (!prover) return Complain("ledger", prover.error());
  std::string stored;
  auto proof = prover->Prove(options.entry, &stored);
  if (!proof) return Complain("ledger", proof.error());
  if (!options.stored.empty()) {
    if (Status written = ReplaceFile(RealFiles(), options.stored, stored); !written)
      return Complain("ledger", written.error());
  }
  const std::string text = proof->Text();
  if (options.out.empty()) {
    std::printf("%s", text.c_str());
    return std::fflush(stdout) == 0 ? 0 : 2;
  }
  Status written = ReplaceFile(RealFiles(), options.out, text);
  return written ? 0 : Complain("ledger", written.error());
}

}  // namespace

void AddTree(CommandLine& line, CLI::App* ledger) {
  auto options = std::make_shared<TreeCommand>();
  CLI::App* verify = ledger->add_subcommand("verify", "Examine every byte of the ledger against what was signed");
  verify->add_option("--config", options->config, "the policy file")->capture_default_str();
  verify->add_option("--ledger", options->folder, "a ledger's folder, for instance a copy's, instead of the policy's");
  verify->add_option(
      "--key", options->key,
      "the ledger's verifier key, or a file that holds it, kept elsewhere; else its own file vkey is believed");
  verify->add_option("--from", options->from, "a file with an earlier checkpoint: this ledger must go on from it");
  verify->add_flag("--resume", options->resume,
                   "with --from: what lies under that checkpoint was examined before and is not read again");
  verify->add_option("--witness", options->witnesses,
                     "a witness's verifier key, or a file that holds it; may be repeated; the policy's are known");
  verify->footer(
      "Reads everything once and changes nothing; works while the gate is running. Exit status 0: whole; 1: faults "
      "were\n"
      "found, the first entry concerned stands first; 2: it could not be examined.\n\n"
      "Example:\n  ecluse ledger verify --key /media/safe/vkey --from /media/safe/checkpoint-may");
  verify->callback([&line, options] { line.exit_status = Verify(*options); });

  CLI::App* prove =
      ledger->add_subcommand("prove", "Write a proof that an entry is in the ledger, to be checked without it");
  prove->add_option("--config", options->config, "the policy file")->capture_default_str();
  prove->add_option("--ledger", options->folder, "a ledger's folder, for instance a copy's, instead of the policy's");
  prove->add_option("--entry", options->entry, "the entry's sequence, as `ecluse ledger show` tells it")->required();
  prove->add_option("--out", options->out, "the file to write; else standard output");
  prove->add_option("--stored", options->stored, "a file for the entry itself, byte for byte as it was hashed");
  prove->footer(
      "The format is c2sp.org/tlog-proof@v1: any tool for transparency logs can check it with the entry and the "
      "ledger's\n"
      "verifier key.\n\n"
      "Example:\n  ecluse ledger prove --entry 4242 --out 4242.tlog-proof");
  prove->callback([&line, options] { line.exit_status = Prove(*options); });
}

}  // namespace ecluse
