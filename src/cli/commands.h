// The commands of `ecluse`, one file each. Every AddX() registers a subcommand whose callback stores its exit status:
// 0 success, 1 found what it was asked to look for, 2 bad use.
#pragma once

#include <string>

#include <CLI/CLI.hpp>

namespace ecluse {

struct CommandLine {
  CLI::App app{"Écluse: the gate in front of a register of people"};
  int exit_status = 0;
};

void AddCheck(CommandLine& line);    // check.cc
void AddApply(CommandLine& line);    // apply.cc
void AddAccount(CommandLine& line);  // account.cc
void AddKeys(CommandLine& line);     // keys.cc
void AddLedger(CommandLine& line);   // ledger.cc, and
void AddAcceptClock(CommandLine& line, CLI::App* ledger);  // accept_clock.cc
void AddServe(CommandLine& line);    // serve.cc
void AddDemo(CommandLine& line);     // demo.cc

}  // namespace ecluse
