// The commands of `ecluse`, one file each. Every AddX() registers a subcommand whose callback stores its exit status:
// 0 success, 1 found what it was asked to look for, 2 bad use.
#pragma once

#include <CLI/CLI.hpp>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "policy/policy.h"

namespace ecluse {

struct CommandLine {
  CLI::App app{"Écluse: the gate in front of a register of people"};
  int exit_status = 0;
};

// Says on standard error what is wrong with `ecluse <command>` and what to do. 2, the exit status.
int Complain(const char* command, const Error& error);

// What `--table` of `ecluse <command>` says: schema.table. Nothing where it is none, said on standard error.
std::optional<TableName> TableOf(const char* command, const std::string& text);

// The policy file at `config`. Null where it is not valid: every problem then stands on standard error, and the exit
// status is 2.
std::shared_ptr<const Policy> PolicyOf(const std::string& config, std::vector<PolicyProblem>* warnings = nullptr);

void AddCheck(CommandLine& line);                             // check.cc
void AddApply(CommandLine& line);                             // apply.cc
void AddSeal(CommandLine& line);                              // seal.cc
void AddLoad(CommandLine& line);                              // load.cc
void AddRetain(CommandLine& line);                            // retain.cc
void AddShuffle(CommandLine& line);                           // shuffle.cc
void AddAccount(CommandLine& line);                           // account.cc
void AddKeys(CommandLine& line);                              // keys.cc, and
void AddKeysRotate(CommandLine& line, CLI::App* keys);        // keys_rotate.cc
void AddKeysDestroy(CommandLine& line, CLI::App* keys);       // keys_destroy.cc
void AddLedger(CommandLine& line);                            // ledger.cc, and
void AddAcceptClock(CommandLine& line, CLI::App* ledger);     // accept_clock.cc
void AddNewLedger(CommandLine& line, CLI::App* ledger);       // new_ledger.cc
void AddWitness(CommandLine& line, CLI::App* ledger);         // witness.cc
void AddWaiveWitnesses(CommandLine& line, CLI::App* ledger);  // waive_witnesses.cc
void AddPrune(CommandLine& line, CLI::App* ledger);           // prune.cc
void AddReconcile(CommandLine& line, CLI::App* ledger);       // reconcile.cc
void AddTree(CommandLine& line, CLI::App* ledger);            // tree.cc
void AddErase(CommandLine& line);                             // erase.cc
void AddWhoSaw(CommandLine& line);                            // who_saw.cc
void AddDossier(CommandLine& line);                           // dossier.cc
void AddServe(CommandLine& line);                             // serve.cc
void AddDemo(CommandLine& line);                              // demo.cc

}  // namespace ecluse
