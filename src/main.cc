// ecluse: the program. Commands register themselves; see cli/.
#include "cli/commands.h"

int main(int argc, char** argv) {
  ecluse::CommandLine line;
  line.app.require_subcommand(1);
  ecluse::AddCheck(line);
  ecluse::AddApply(line);
  ecluse::AddAccount(line);
  ecluse::AddKeys(line);
  ecluse::AddLedger(line);
  ecluse::AddServe(line);
  ecluse::AddDemo(line);
  try {
    line.app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return line.app.exit(error) == 0 ? 0 : 2;
  }
  return line.exit_status;
}
