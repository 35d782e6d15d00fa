// ecluse ledger waive-witnesses: two people let a gate release without cosignatures for a while.
#include <openssl/crypto.h>

#include <boost/json.hpp>
#include <cstdio>
#include <memory>

#include "base/limits.h"
#include "base/log.h"
#include "cli/ask.h"
#include "cli/commands.h"
#include "policy/policy_reader.h"
#include "server/control_socket.h"

namespace ecluse {
namespace {

namespace json = boost::json;

struct WaiveOptions {
  std::string config = "ecluse.yaml";
  TwoPeople by;
  std::string time;
};

Result<std::string> Waive(const WaiveOptions& options, const Policy& policy, std::chrono::seconds time) {
  ECLUSE_TRY(const auto people, AskPasswords(options.by.people));
  std::vector<unsigned char> memory(4 * limits::kControlRequest);  // wiped: it holds the passwords
  Result<std::string> done;
  {
    json::monotonic_resource resource(memory.data(), memory.size());
    json::object request(&resource);
    request["command"] = "waive-witnesses";
    request["reason"] = options.by.reason;
    request["seconds"] = time.count();
    json::object& by = request["by"].emplace_object();
    for (const Approver& person : people) {
      const std::string_view password = person.password.text();
      by[person.account] = json::string_view(password.data(), password.size());
    }
    done = AskGate(policy.data_dir, request);
  }
  OPENSSL_cleanse(memory.data(), memory.size());
  return done;
}

int Run(const WaiveOptions& options) {
  const auto time = ParseDuration(options.time);
  if (!time || *time > limits::kWitnessWaiver) {
    std::fprintf(stderr, "ecluse ledger: --for is a time of at most 4h, for instance 30m or 2h\n");
    return 2;
  }
  auto policy = PolicyOf(options.config);
  if (!policy) return 2;
  const auto done = Waive(options, *policy, *time);
  if (!done) return Complain("ledger", done.error());
  std::fprintf(stderr, "%s\n", Printable(*done).c_str());
  return 0;
}

}  // namespace

void AddWaiveWitnesses(CommandLine& line, CLI::App* ledger) {
  auto options = std::make_shared<WaiveOptions>();
  CLI::App* app = ledger->add_subcommand(
      "waive-witnesses", "Let the running gate release for a while though witnesses do not cosign its ledger");
  app->add_option("--config", options->config, "the policy file")->capture_default_str();
  options->by.AddOptions(app, "an account that stands for it", "why; written to the ledger");
  app->add_option("--for", options->time, "for how long, at most 4h; a restart of the gate ends it too")->required();
  app->footer(
      "What is written meanwhile is cosigned as soon as witnesses answer again. Run it as the gate's user. Asks for "
      "both\n"
      "passwords; where the input is no terminal it reads them from there, one a line.\n\n"
      "Example:\n  ecluse ledger waive-witnesses --by alice --by bob --for 2h --reason \"the witness moves house\"");
  app->callback([&line, options] { line.exit_status = Run(*options); });
}

}  // namespace ecluse
