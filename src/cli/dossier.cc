// ecluse dossier: the blast radius of an account, an address, a role.
#include "ledger/dossier.h"

#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <memory>

#include "base/file.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/time_text.h"
#include "cli/asking.h"
#include "cli/commands.h"

namespace ecluse {
namespace {

struct DossierOptions {
  Asking asking;
  Query query;
  std::string out;
  bool json = false, csv = false;
};

void Print(const Dossier& dossier) {
  auto number = [](uint64_t n) { return static_cast<unsigned long long>(n); };
  std::printf("people of whom records were released, or may have been: %zu; records: %lld\n", dossier.subjects.size(),
              static_cast<long long>(dossier.rows));
  if (dossier.entries > 0)
    std::printf("from %s to %s, in %llu entries\n", TimeText(dossier.first).c_str(), TimeText(dossier.last).c_str(),
                number(dossier.entries));
  for (const auto& [name, category] : dossier.categories)
    std::printf("  %-16s %llu people in clear, %llu masked\n", Printable(name).c_str(), number(category.clear),
                number(category.masked));
  if (!dossier.asked.empty()) std::printf("%zu more people were asked for and not there\n", dossier.asked.size());
  if (dossier.refusals > 0) std::printf("%llu requests were refused\n", number(dossier.refusals));
  for (const auto& [time, what] : dossier.locks)
    std::printf("%s  %s\n", TimeText(time).c_str(), Printable(what).c_str());
  std::printf("\nWhat the ledger cannot tell:\n");
  for (const std::string& one : DossierLimits(dossier, Language::en)) std::printf("- %s\n", Printable(one).c_str());
  std::printf("\ncomplete to entry %llu of %s; --out FOLDER writes the people, the report and the proofs\n",
              number(dossier.basis.size), Printable(dossier.basis.origin).c_str());
}

Status WriteFolder(const Dossier& dossier, const SegmentFolder& ledger, const std::string& folder) {
  if (mkdir(folder.c_str(), 0700) != 0)
    return std::unexpected(errno == EEXIST
                               ? Error{std::string(sqlstate::kIo), folder + " is already there",
                                       "name a new folder: what a dossier holds is never overwritten", "", "", 0}
                               : IoError("make the folder", folder, errno));
  FileSystem& files = RealFiles();
  ECLUSE_OK(ReplaceFile(files, folder + "/dossier.json", DossierJson(dossier) + "\n"));
  ECLUSE_OK(ReplaceFile(files, folder + "/dossier.csv", DossierCsv(dossier)));
  ECLUSE_OK(ReplaceFile(files, folder + "/dossier.en.html", DossierHtml(dossier, Language::en)));
  ECLUSE_OK(ReplaceFile(files, folder + "/dossier.fr.html", DossierHtml(dossier, Language::fr)));
  ECLUSE_TRY(std::string key, ReadWholeFile(files, ledger.path + "/vkey", limits::kNote));
  ECLUSE_OK(ReplaceFile(files, folder + "/vkey", key));
  const std::string path = folder + "/evidence.jsonl";
  std::unique_ptr<std::FILE, int (*)(std::FILE*)> evidence(std::fopen(path.c_str(), "wx"), &std::fclose);
  if (!evidence) return std::unexpected(IoError("make", path, errno));
  ECLUSE_OK(WriteEvidence(dossier, ledger, [&](const std::string& line) -> Status {
    if (std::fwrite(line.data(), 1, line.size(), evidence.get()) != line.size())
      return std::unexpected(IoError("write", path, errno));
    return {};
  }));
  if (std::fflush(evidence.get()) != 0 || fsync(fileno(evidence.get())) != 0)
    return std::unexpected(IoError("write", path, errno));
  return {};
}

Status Answer(const DossierOptions& options, const Policy& policy) {
  ECLUSE_TRY(OpenedLedger ledger, options.asking.Open(policy));
  ECLUSE_TRY(Dossier dossier, AskDossier(*ledger.query, options.query, policy));
  if (!options.out.empty()) ECLUSE_OK(WriteFolder(dossier, ledger.query->folder(), options.out));
  if (options.json) {
    std::printf("%s\n", DossierJson(dossier).c_str());
  } else if (options.csv) {
    std::printf("%s", DossierCsv(dossier).c_str());
  } else {
    Print(dossier);
  }
  return {};
}

int Run(DossierOptions options) {
  Query& query = options.query;
  if (!options.asking.ReadPeriod("dossier", &query.from, &query.to)) return 2;
  if (query.principal.empty() && query.address.empty() && query.role.empty() && query.organisation.empty()) {
    std::fprintf(stderr,
                 "ecluse dossier: of whom? give at least one of --principal, --address, --role, --organisation\n");
    return 2;
  }
  auto policy = PolicyOf(options.asking.config);
  if (!policy) return 2;
  Status done = Answer(options, *policy);
  if (!done) return Complain("dossier", done.error());
  return std::fflush(stdout) == 0 ? 0 : 2;
}

}  // namespace

void AddDossier(CommandLine& line) {
  auto options = std::make_shared<DossierOptions>();
  CLI::App* app = line.app.add_subcommand("dossier", "The blast radius: exactly whose data an account saw");
  app->add_option("--principal", options->query.principal, "what this account saw");
  app->add_option("--address", options->query.address, "what was seen from this address");
  app->add_option("--role", options->query.role, "what was seen under this role");
  app->add_option("--organisation", options->query.organisation, "what accounts of this organisation saw");
  options->asking.AddOptions(app);
  app->add_option(
      "--out", options->out,
      "a new folder for dossier.json, dossier.csv, dossier.en.html, dossier.fr.html, and the entries behind "
      "them with their proofs");
  CLI::Option* json = app->add_flag("--json", options->json, "print the whole dossier as one JSON object");
  app->add_flag("--csv", options->csv, "print one line a person")->excludes(json);
  app->footer(
      "What is given must all hold. Works while the gate is running. The folder holds personal data: keep it as you\n"
      "keep the register.\n\n"
      "Example:\n  ecluse dossier --principal alice --from 2026-05-01 --to 2026-05-08 --out alice-may");
  app->callback([&line, options] { line.exit_status = Run(*options); });
}

}  // namespace ecluse
