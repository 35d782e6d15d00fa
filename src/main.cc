// ecluse: the program. Commands register themselves; see cli/.
#include <sys/stat.h>

#include <string_view>

#include "cli/commands.h"

int main(int argc, char** argv) {
  // Libraries that make files of their own among the gate's ask for no mode. The demonstration's folder is one that
  // PostgreSQL's user has to enter; it asks for modes itself.
  if (argc < 2 || std::string_view(argv[1]) != "demo") umask(077);
  ecluse::CommandLine line;
  line.app.require_subcommand(1);
  ecluse::AddCheck(line);
  ecluse::AddApply(line);
  ecluse::AddSeal(line);
  ecluse::AddLoad(line);
  ecluse::AddRetain(line);
  ecluse::AddShuffle(line);
  ecluse::AddAccount(line);
  ecluse::AddKeys(line);
  ecluse::AddLedger(line);
  ecluse::AddErase(line);
  ecluse::AddWhoSaw(line);
  ecluse::AddDossier(line);
  ecluse::AddServe(line);
  ecluse::AddDemo(line);
  try {
    line.app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return line.app.exit(error) == 0 ? 0 : 2;
  }
  return line.exit_status;
}
