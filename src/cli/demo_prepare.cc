#include "cli/demo_prepare.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <thread>

#include "base/clock.h"
#include "base/file.h"
#include "cli/value_keys.h"
#include "policy/apply.h"
#include "policy/daily_runs.h"
#include "policy/database.h"
#include "seal/cell.h"
#include "seal/seal_tables.h"
#include "vault/keys.h"

namespace ecluse::demo {

namespace {

// What stands as the database's comment once everything is in it. A new generator gets a new number.
std::string Label(const Shape& shape) {
  return fmt::format("ecluse demonstration 1: {} subjects, seed {}", shape.subjects, shape.seed);
}
std::optional<Shape> ParseLabel(std::string_view label) {
  constexpr std::string_view kStart = "ecluse demonstration 1: ", kMiddle = " subjects, seed ";
  Shape shape;
  if (!label.starts_with(kStart)) return std::nullopt;
  label.remove_prefix(kStart.size());
  auto subjects = std::from_chars(label.data(), label.data() + label.size(), shape.subjects);
  if (subjects.ec != std::errc()) return std::nullopt;
  label.remove_prefix(static_cast<size_t>(subjects.ptr - label.data()));
  if (!label.starts_with(kMiddle)) return std::nullopt;
  label.remove_prefix(kMiddle.size());
  auto seed = std::from_chars(label.data(), label.data() + label.size(), shape.seed);
  if (seed.ec != std::errc() || seed.ptr != label.data() + label.size()) return std::nullopt;
  return shape;
}

// The register that is there whole, if one is.
Result<std::optional<Shape>> FindRegister(Database& super) {
  ECLUSE_TRY(Rows rows,
             super.Query("SELECT pg_catalog.shobj_description(oid, 'pg_database') FROM pg_catalog.pg_database "
                         "WHERE datname = $1",
                         {kDatabase}));
  if (rows.size() == 0) return std::nullopt;
  return ParseLabel(rows.At(0, 0));
}

Status MakeOwner(Database& super, const std::string& password) {
  ECLUSE_TRY(Rows there, super.Query("SELECT FROM pg_catalog.pg_roles WHERE rolname = $1", {kOwner}));
  if (there.size() == 0) ECLUSE_OK(super.Run(fmt::format("CREATE ROLE {} LOGIN CREATEROLE", kOwner)));
  ECLUSE_TRY(std::string verifier, super.Verifier(kOwner, password));
  return super.Run(fmt::format("ALTER ROLE {} PASSWORD {}", kOwner, QuoteText(verifier)));
}

Status MakeRegister(Database& super, const PrivatePostgres& postgres, const std::string& owner_password,
                    const Shape& shape, const Progress& progress) {
  ECLUSE_TRY(Rows unfinished, super.Query("SELECT FROM pg_catalog.pg_database WHERE datname = $1", {kDatabase}));
  if (unfinished.size() > 0) ECLUSE_OK(super.Run(fmt::format("DROP DATABASE {} WITH (FORCE)", kDatabase)));
  ECLUSE_OK(super.Run(fmt::format("CREATE DATABASE {} OWNER {} TEMPLATE template0", kDatabase, kOwner)));
  ECLUSE_OK(super.Run(fmt::format("REVOKE ALL ON DATABASE {} FROM PUBLIC", kDatabase)));
  std::string url = postgres.Url(kOwner, owner_password, kDatabase);
  int threads = static_cast<int>(std::clamp(std::thread::hardware_concurrency(), 1u, 8u));
  ECLUSE_OK(LoadRegister(url, shape, threads, progress));
  return super.Run(fmt::format("COMMENT ON DATABASE {} IS {}", kDatabase, QuoteText(Label(shape))));
}

Result<Shape> EnsureRegister(const PrivatePostgres& postgres, const DemoFolder& folder, const DemoWish& wish,
                             const Progress& progress, bool& made) {
  ECLUSE_TRY(Database super, Database::Connect(postgres.Url("postgres", folder.Password("postgres"), "postgres")));
  ECLUSE_OK(MakeOwner(super, folder.Password("owner")));
  ECLUSE_TRY(std::optional<Shape> there, FindRegister(super));
  if (there) {
    bool same =
        wish.subjects.value_or(there->subjects) == there->subjects && wish.seed.value_or(there->seed) == there->seed;
    if (same) return *there;
    return Fail(
        sqlstate::kInvalidParameter,
        fmt::format("{} holds a register of {} subjects made from seed {}", wish.folder, there->subjects, there->seed),
        "Leave --subjects and --seed out, name another folder with --dir, or remove this one.", "demo.shape");
  }
  Shape shape;
  shape.subjects = wish.subjects.value_or(shape.subjects);
  shape.seed = wish.seed.value_or(shape.seed);
  shape.today = std::chrono::floor<std::chrono::days>(std::chrono::system_clock::now());
  ECLUSE_OK(MakeRegister(super, postgres, folder.Password("owner"), shape, progress));
  made = true;
  return shape;
}

// The port asked for, else the last one, else the usual one, else any.
Result<uint16_t> ChoosePort(std::optional<uint16_t> wish, uint16_t last) {
  if (wish && (*wish == 0 || PortIsFree(*wish))) return *wish == 0 ? FreePort() : Result<uint16_t>(*wish);
  if (wish) {
    return Fail(sqlstate::kInvalidParameter, fmt::format("port {} of 127.0.0.1 is in use", *wish),
                "Stop what listens there, or leave --sql-port out.", "demo.port");
  }
  for (uint16_t port : {last, kUsualPort}) {
    if (port != 0 && PortIsFree(port)) return port;
  }
  return FreePort();
}

std::string Joined(const std::vector<std::string>& lines) {
  std::string text;
  for (const std::string& line : lines) text += "\n  " + line;
  return text;
}

Status ApplyPolicy(const DemoFolder& folder, const std::string& owner_url, const Progress& progress) {
  const char* mend = "Mend ecluse.yaml, or remove it to get the demonstration's own again.";
  std::vector<PolicyProblem> warnings;
  auto policy = LoadPolicy(folder.File("ecluse.yaml"), &warnings);
  auto said = [](const std::vector<PolicyProblem>& problems) {
    std::vector<std::string> lines;
    for (const PolicyProblem& problem : problems) {
      lines.push_back(fmt::format("ecluse.yaml:{}:{}: {}", problem.mark.line, problem.mark.column, problem.message));
    }
    return Joined(lines);
  };
  if (!policy)
    return Fail(sqlstate::kInvalidParameter, "the policy holds mistakes:" + said(policy.error()), mend, "demo.policy");
  ECLUSE_TRY(std::unique_ptr<KeyRing> keys,
             KeyRing::Open((*policy)->root, (*policy)->data_dir, nullptr, (*policy)->Compartments()));
  const CommandValueKeys own(**policy, *keys);
  ECLUSE_TRY(Database owner, Database::Connect(owner_url));
  // What the policy seals and the register holds in clear: all of it the first time, then nothing.
  SealOptions sealing;
  sealing.policy = *policy;
  if (progress) {
    sealing.progress = [&](const std::string& what, uint64_t done, uint64_t all) {
      progress(what, static_cast<int64_t>(done), static_cast<int64_t>(std::max(all, done)));
    };
  }
  const int64_t now = SystemClock().WallMicros();
  ECLUSE_TRY(const SealReport sealed, SealTables(owner, *keys, sealing));
  ECLUSE_OK(NoteShuffled(RealFiles(), **policy, sealed.shuffled, now));
  ECLUSE_TRY(ApplyReport report, Apply(owner, *policy, keys.get(), ApplyMode::apply));
  if (report.done()) return {};
  return Fail(sqlstate::kInvalidParameter,
              "the policy does not fit the register:" + said(report.problems) + Joined(report.refusals), mend,
              "demo.policy");
}

}  // namespace

Result<ReadyDemo> PrepareDemo(const DemoWish& wish, const Progress& progress) {
  ECLUSE_TRY(DemoFolder folder, DemoFolder::Open(wish.folder));
  DemoPlaces places = folder.LastPlaces();
  ECLUSE_TRY(places.sql_port, ChoosePort(wish.sql_port, places.sql_port));
  if (progress) progress("starting a private PostgreSQL", 0, 1);
  ECLUSE_TRY(PrivatePostgres postgres,
             PrivatePostgres::Start(folder.File("postgres"), folder.Password("postgres"), places.database_port));
  if (progress) progress("starting a private PostgreSQL", 1, 1);
  places.socket_folder = postgres.socket_folder();
  places.database_port = postgres.port();

  bool made = false;
  ECLUSE_TRY(Shape shape, EnsureRegister(postgres, folder, wish, progress, made));
  ECLUSE_OK(folder.WritePolicy(places));
  ECLUSE_OK(folder.WriteAccounts());
  if (progress) progress("applying the policy", 0, 1);
  ECLUSE_OK(ApplyPolicy(folder, postgres.Url(kOwner, folder.Password("owner"), kDatabase), progress));
  if (progress) progress("applying the policy", 1, 1);
  std::string config = folder.File("ecluse.yaml");
  return ReadyDemo{std::move(folder), std::move(postgres), shape, places.sql_port, std::move(config), made};
}

std::string OwnerUrl(const ReadyDemo& demo) {
  return fmt::format("postgres://{}:{}@127.0.0.1:{}/{}", kOwner, demo.folder.Password("owner"), demo.postgres.port(),
                     kDatabase);
}

}  // namespace ecluse::demo
