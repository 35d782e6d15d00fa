// A register of a few tables in a private PostgreSQL, a policy over it, and a gate's keys that are good enough for
// tests.
#pragma once

#include <gtest/gtest.h>

#include <stdexcept>

#include "policy/applied.h"
#include "policy/apply.h"
#include "policy/pg_fixture_test.h"

namespace ecluse {

// Wraps by turning bytes around; what matters here is that what was wrapped comes back, for the same name only.
class FakeKeys final : public KeyRing {
 public:
  Result<std::string> SealForDay(int64_t, std::string_view, std::string_view) override { return std::string(); }
  Result<std::string> OpenForDay(std::string_view, std::string_view) override { return std::string(); }
  Result<Secret> SigningSeed() override { return Secret(32); }
  void SubjectKey(std::string_view, std::string_view, uint8_t*) const override {}
  void Pseudonym(std::string_view, std::string_view, std::string_view, uint8_t*) const override {}
  Result<std::string> Wrap(std::string_view plain, std::string_view associated) override {
    std::string out = std::string(associated) + "\n";
    for (char c : plain) out += static_cast<char>(c ^ 0x55);
    return out;
  }
  Result<std::string> Unwrap(std::string_view wrapped, std::string_view associated) override {
    const std::string head = std::string(associated) + "\n";
    if (!wrapped.starts_with(head)) return Fail(sqlstate::kIo, "not wrapped under this name");
    std::string out;
    for (char c : wrapped.substr(head.size())) out += static_cast<char>(c ^ 0x55);
    return out;
  }
  Result<uint64_t> DestroyDaysBefore(int64_t) override { return 0; }
  Result<std::vector<KeyInfo>> List() const override { return std::vector<KeyInfo>(); }
  Generations& generations() override { std::abort(); }
  LiteralKeys& literal_keys() override { std::abort(); }
  std::shared_ptr<const CompartmentKeys> Compartment(std::string_view) const override { return nullptr; }
  Result<uint64_t> TakeRing() override { return 0; }
  void OnKeyMade(std::function<void(const KeyInfo&)>) override {}
};

inline constexpr std::string_view kTables = R"(
CREATE SCHEMA taj; CREATE SCHEMA ref; CREATE SCHEMA kinds;
CREATE TYPE kinds.mood AS ENUM ('calm', 'angry');
CREATE TABLE ref.offence (code int PRIMARY KEY, label text);
CREATE TABLE taj.person (
  person_id int PRIMARY KEY, nir text NOT NULL UNIQUE, family_name varchar(40) NOT NULL, birth_date date,
  seen_at timestamptz, phone text, height int, mood kinds.mood, photo bytea, unnamed text);
CREATE TABLE taj.case (case_id serial PRIMARY KEY, summary text, offence int REFERENCES ref.offence);
CREATE TABLE taj.involvement (
  involvement_id bigserial PRIMARY KEY, person_id int NOT NULL REFERENCES taj.person, case_id int NOT NULL REFERENCES taj.case,
  outcome text NOT NULL);
INSERT INTO ref.offence VALUES (1, 'theft');
INSERT INTO taj.person VALUES
  (1, '1750175000001', 'Martin', '1975-01-31', '2020-12-31 23:30+00', '0612345678', 187, 'calm', '\x01', 'x'),
  (2, '2800275000002', 'Durand', '1980-02-28', '2021-06-15 12:00+00', '06', -5, 'angry', '\x02', 'y'),
  (3, '3', 'Petit', 'infinity', NULL, NULL, NULL, NULL, NULL, 'z');
INSERT INTO taj.case VALUES (10, 'both', 1), (11, 'one', 1), (12, 'nobody', 1);
INSERT INTO taj.involvement VALUES (1, 1, 10, 'open'), (2, 2, 10, 'closed'), (3, 1, 11, 'judged'), (4, 1, 10, 'open');
SELECT setval('taj.involvement_involvement_id_seq', 10);
)";

inline constexpr std::string_view kPolicy = R"(version: 1
register: test
gate:
  data_dir: DATA
  sql: {listen: 127.0.0.1:0}
  database: {host: 127.0.0.1, port: PORT, name: DB, tls: disable}
  allow_cleartext: true
tables:
  taj.person:
    subject: person_id
    columns:
      person_id: {class: key}
      nir: {class: identifier}
      family_name: {class: identity}
      birth_date: {class: birth}
      seen_at: {class: birth}
      phone: {class: contact}
      height: {class: body}
      mood: {class: body}
      photo: {class: biometric}
  taj.involvement:
    subject: person_id
    columns:
      involvement_id: {class: key}
      person_id: {class: key}
      case_id: {class: key}
      outcome: {class: judicial}
  taj.case:
    subject: {via: taj.involvement, key: case_id}
    columns: {case_id: {class: key}, summary: {class: judicial}}
open_tables: [ref.offence]
roles:
  officer:
    read:
      taj.person: {key: clear, identity: initial, birth: year, contact: last4, height: range(10), mood: clear}
      taj.involvement: {key: clear, judicial: clear}
      taj.case: {key: clear, judicial: clear}
    rows:
      taj.involvement: "outcome <> 'closed' -- only what is open"
    hours: "Mon-Sun 00:00-24:00 Europe/Paris"
  clerk:
    read:
      taj.person: {key: clear, identity: clear, identifier: clear, contact: redacted}
      taj.involvement: {key: clear, judicial: clear}
      taj.case: {key: clear, judicial: clear}
    write:
      taj.person: {insert: [person_id, nir, family_name, birth_date], update: [family_name, birth_date]}
      taj.involvement: {insert: [person_id, case_id, outcome], update: [outcome], delete: true}
)";

class RegisterTest : public testing::Test {
 protected:
  void SetUp() override {
    PrivatePostgres& server = PrivatePostgres::Get();
    ASSERT_TRUE(server.running()) << "PostgreSQL 15 could not be started in " << server.folder();
    static int count = 0;
    database_ = "register" + std::to_string(++count);
    auto super = server.Super();
    ASSERT_TRUE(super.Run("DROP ROLE IF EXISTS owner; CREATE ROLE owner LOGIN CREATEROLE"));
    ASSERT_TRUE(super.Run("CREATE DATABASE " + database_ + " OWNER owner"));
    ASSERT_TRUE(super.Run("REVOKE TEMPORARY ON DATABASE " + database_ + " FROM PUBLIC"));
    server.Run("owner", database_, std::string(kTables));
    data_ = std::filesystem::temp_directory_path() / ("ecluse-apply-" + std::to_string(getpid()) + database_);
    std::filesystem::create_directory(data_);
    std::filesystem::permissions(data_, std::filesystem::perms::owner_all);
  }
  void TearDown() override {
    auto removed = Run(std::string(kPolicy), ApplyMode::remove);
    EXPECT_TRUE(removed) << removed.error().operator_detail;
    PrivatePostgres::Get().Super().Run("DROP DATABASE IF EXISTS " + database_ + " WITH (FORCE)").value();
    std::filesystem::remove_all(data_);
  }

  std::shared_ptr<const Policy> Load(std::string text) {
    auto put = [&](std::string_view from, const std::string& to) {
      for (size_t at; (at = text.find(from)) != std::string::npos;) text.replace(at, from.size(), to);
    };
    put("DATA", data_.string());
    put("PORT", std::to_string(PrivatePostgres::Get().port()));
    put("DB", database_);
    auto policy = ParsePolicy(text, "test.yaml", nullptr);
    if (policy) return *policy;
    for (const auto& problem : policy.error()) ADD_FAILURE() << ProblemText("test.yaml", problem);
    return nullptr;
  }
  Result<ApplyReport> Run(const std::string& text, ApplyMode mode = ApplyMode::apply) {
    auto policy = Load(text);
    auto owner = Database::Connect(PrivatePostgres::Get().Url("owner", database_));
    if (!policy || !owner) return Fail("XX000", "no policy or no owner");
    return Apply(*owner, policy, &keys_, mode);
  }
  // Applies and expects it to be done.
  ApplyReport Applied(const std::string& text = std::string(kPolicy)) {
    auto report = Run(text);
    if (!report) {
      ADD_FAILURE() << report.error().message << "\n" << report.error().operator_detail;
      return {};
    }
    for (const auto& problem : report->problems) ADD_FAILURE() << problem.message;
    for (const auto& refusal : report->refusals) ADD_FAILURE() << refusal;
    for (const auto& warning : report->warnings) std::printf("%s\n", warning.c_str());
    return *report;
  }
  Status Check(const std::string& text = std::string(kPolicy)) {
    auto schemas = OpenRoleSchemas(Load(text), keys_);
    if (!schemas) return std::unexpected(schemas.error());
    return {};
  }
  Database Login(const std::string& role) {
    auto policy = Load(std::string(kPolicy));
    auto credentials = LoadLogin(policy->data_dir, keys_, policy->LoginOf(role));
    if (!credentials) throw std::runtime_error(credentials.error().message);
    auto database = Database::ConnectAs(policy->database, *credentials);
    if (!database) throw std::runtime_error(database.error().message);
    return std::move(*database);
  }
  // Rows as "a|b;c|d"; an error as "SQLSTATE".
  static std::string Ask(Database& database, const std::string& sql) {
    auto rows = database.Query(sql);
    if (!rows) return rows.error().sqlstate;
    std::string out;
    for (int i = 0; i < rows->size(); ++i) {
      if (i > 0) out += ";";
      for (int k = 0; k < rows->columns(); ++k)
        out += (k > 0 ? "|" : "") + (rows->Null(i, k) ? "NULL" : rows->Text(i, k));
    }
    return out;
  }
  static std::string With(std::string_view from, std::string_view to) {
    std::string text(kPolicy);
    const size_t at = text.find(from);
    EXPECT_NE(at, std::string::npos) << from;
    return text.replace(at, from.size(), to);
  }
  // Nothing is done, and one of the problems holds `part`.
  void ExpectProblem(const std::string& text, const std::string& part) {
    auto report = Run(text);
    ASSERT_TRUE(report) << report.error().message << report.error().operator_detail;
    std::string all;
    for (const PolicyProblem& problem : report->problems) all += problem.message + "\n";
    EXPECT_NE(all.find(part), std::string::npos) << part << "\nin: " << all;
    EXPECT_TRUE(report->statements.empty());
  }

  std::string database_;
  std::filesystem::path data_;
  FakeKeys keys_;
};

}  // namespace ecluse
