// ecluse demo: a private PostgreSQL, a fictitious register, and the gate before it.
#include <fmt/format.h>
#include <unistd.h>

#include <boost/json.hpp>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <string>

#include "cli/commands.h"
#include "cli/demo_prepare.h"
#include "server/gate.h"

namespace ecluse {
namespace {

using demo::DemoAccount;
using demo::ReadyDemo;
using std::chrono::steady_clock;

struct DemoOptions {
  demo::DemoWish wish;
  bool json = false;
};

// A line that is written over on a terminal; elsewhere one line when a step ends.
class ProgressLine {
 public:
  void Show(const std::string& doing, int64_t done, int64_t of) {
    auto now = steady_clock::now();
    bool ends = done >= of;
    if (doing != doing_) {
      doing_ = doing;
      began_ = now;
    } else if (!ends && now - shown_ < std::chrono::milliseconds(100)) {
      return;
    }
    shown_ = now;
    double seconds = std::chrono::duration<double>(now - began_).count();
    if (isatty(STDERR_FILENO) != 0) {
      fmt::print(stderr, "\r\x1b[K{}: {}%{}", doing, of > 0 ? done * 100 / of : 100,
                 ends ? fmt::format(", {:.1f} s\n", seconds) : "");
    } else if (ends) {
      fmt::print(stderr, "{}: {:.1f} s\n", doing, seconds);
    }
    std::fflush(stderr);
  }

 private:
  std::string doing_;
  steady_clock::time_point began_, shown_;
};

std::string Psql(const ReadyDemo& demo, const DemoAccount& account) {
  return fmt::format("PGPASSWORD={} psql -h 127.0.0.1 -p {} -U {} {}", demo.folder.Password(account.name),
                     demo.sql_port, account.name, demo::kDatabase);
}

// How to call this program and name that file from the folder one is in.
std::string Near(const std::string& path) {
  std::error_code failed;
  auto near = std::filesystem::proximate(path, failed);
  return failed || near.string().starts_with("../..") ? path : near.string();
}

void PrintWelcome(const ReadyDemo& demo) {
  fmt::print("\nThe gate is open: 127.0.0.1:{}, in front of {} fictitious people.\n", demo.sql_port,
             demo.shape.subjects);
  for (const DemoAccount& account : demo::kAccounts) {
    std::string reference =
        *account.reference == '\0' ? "" : fmt::format(" -c \"SET ecluse.reference = '{}'\"", account.reference);
    fmt::print("\n{}, {}: {}\n  {} -c \"SET ecluse.purpose = '{}'\"{} -c \"{}\"\n", account.name, account.role,
               account.teaches, Psql(demo, account), account.purpose, reference, account.example);
  }
  std::error_code failed;
  std::string program = Near(std::filesystem::read_symlink("/proc/self/exe", failed).string());
  std::string config = Near(demo.config);
  fmt::print(
      "\nWorth a try\n"
      "  {}\n    then \\d, SHOW ecluse.budget; and SELECT * FROM taj.person, which ends at the budget\n"
      "  {} -c \"SET ecluse.purpose = 'permit-control'\" -c \"SELECT o.family_name, a.street, a.town FROM sia.owner o "
      "JOIN "
      "sia.address a ON a.owner_id = o.owner_id WHERE o.owner_id = 17\"\n    where an owner lives: in the database "
      "nothing joins the two tables\n"
      "  {} ledger show --config {}\n    what was disclosed, to whom, why\n"
      "  {} dossier --principal alice --config {} --out alice\n    whose data alice saw: open alice/dossier.en.html\n"
      "  {} retain --config {} --owner {}\n    deletes plates seen longer ago than the policy keeps them; each is "
      "written down\n"
      "  {} check --config {}\n    the policy; edit it and run ecluse demo again\n"
      "  psql {}\n    the register itself, as its owner, around the gate\n",
      Psql(demo, demo::kAccounts[0]), Psql(demo, demo::kAccounts[2]), program, config, program, config, program, config,
      demo::OwnerUrl(demo), program, config, demo::OwnerUrl(demo));
  fmt::print("\nCtrl-C stops the gate and PostgreSQL; the same command starts them again. All of it lies in {}.\n\n",
             Near(std::filesystem::path(demo.config).parent_path().string()));
  std::fflush(stdout);
}

void PrintJson(const ReadyDemo& demo, const std::string& address) {
  boost::json::array accounts;
  for (const DemoAccount& account : demo::kAccounts) {
    accounts.push_back({{"name", account.name},
                        {"password", demo.folder.Password(account.name)},
                        {"role", account.role},
                        {"purpose", account.purpose},
                        {"reference", account.reference}});
  }
  boost::json::object all = {{"sql", address},
                             {"database", demo::kDatabase},
                             {"config", demo.config},
                             {"owner", demo::OwnerUrl(demo)},
                             {"subjects", demo.shape.subjects},
                             {"seed", demo.shape.seed},
                             {"accounts", accounts}};
  std::printf("%s\n", boost::json::serialize(all).c_str());
  std::fflush(stdout);
}

int RunDemo(const DemoOptions& options) {
  ProgressLine line;
  auto demo = demo::PrepareDemo(
      options.wish, [&line](const std::string& doing, int64_t done, int64_t of) { line.Show(doing, done, of); });
  if (!demo) return Complain("demo", demo.error());
  GateOptions gate_options;
  gate_options.config = demo->config;
  gate_options.node = "demo";
  auto gate = Gate::Open(gate_options);
  if (!gate) return Complain("demo", gate.error());
  if (options.json) {
    PrintJson(*demo, (*gate)->sql_address());
  } else {
    PrintWelcome(*demo);
  }
  Status ran = (*gate)->Run();
  gate->reset();
  std::fprintf(stderr, "The gate is closed; stopping PostgreSQL.\n");
  demo->postgres.Stop();
  return ran ? 0 : Complain("demo", ran.error());
}

}  // namespace

void AddDemo(CommandLine& line) {
  auto options = std::make_shared<DemoOptions>();
  options->wish.folder = "demo";
  CLI::App* command =
      line.app.add_subcommand("demo", "Starts a private PostgreSQL with a fictitious register, and the gate");
  command->add_option("--dir", options->wish.folder, "Where all of it lies; kept between runs")->capture_default_str();
  command
      ->add_option("--subjects", options->wish.subjects,
                   fmt::format("People in the register, up to {}; {} unless it is there already", demo::kMaxSubjects,
                               demo::kDefaultSubjects))
      ->check(CLI::Range(int64_t{1}, demo::kMaxSubjects));
  command->add_option("--seed", options->wish.seed, "The same seed always makes the same register");
  command->add_option(
      "--sql-port", options->wish.sql_port,
      fmt::format("Where the gate listens on 127.0.0.1; {} or a free one unless said, 0 for any free one",
                  demo::kUsualPort));
  command->add_flag("--json", options->json, "Print addresses and accounts as one line of JSON");
  command->footer(
      "Everybody in it is invented. Ctrl-C stops all of it; the next run goes on where this one ended.\n\n"
      "Example: ecluse demo --subjects 1000000");
  command->callback([options, &line] { line.exit_status = RunDemo(*options); });
}

}  // namespace ecluse
