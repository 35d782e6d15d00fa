#include "policy/policy.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "policy/policy_reader.h"

namespace ecluse {
namespace {

using namespace std::chrono_literals;

constexpr std::string_view kPolicy = R"(version: 1
register: interior
gate:
  data_dir: data
  sql: {listen: 127.0.0.1:6432, tls: {certificate: gate.crt, key: gate.key}}
  database: {host: db.internal, name: interior, ca: ca.crt}
purposes:
  judicial-inquiry: {reference: required}
  permit-control: {reference: optional}
tables:
  taj.person:
    subject: person_id
    columns:
      person_id: {class: key}
      nir: {class: identifier}
      family_name: {class: identity}
      birth_date: {class: identity}
  taj.involvement:
    subject: person_id
    columns:
      person_id: {class: key}
      case_id: {class: key}
      outcome: {class: judicial}
  taj.case:
    subject: {via: taj.involvement, key: case_id}
    columns: {case_id: {class: key}, summary: {class: judicial}}
open_tables: [ref.offence]
roles:
  officer:
    purposes: [judicial-inquiry]
    read:
      taj.person: {birth_date: year, key: clear, identity: clear}
      taj.involvement: {key: clear, judicial: clear}
    rows:
      taj.involvement: "outcome <> 'closed'"
    statistics: {by: {taj.involvement: [outcome]}}
    hours: "Mon-Fri 08:00-18:30, Sat 09:00-12:00 Europe/Paris"
)";

std::string With(std::string_view from, std::string_view to) {
  std::string text(kPolicy);
  const size_t at = text.find(from);
  EXPECT_NE(at, std::string::npos) << from;
  return text.replace(at, from.size(), to);
}

std::vector<std::string> ProblemsOf(std::string_view text) {
  auto policy = ParsePolicy(text, "p.yaml", nullptr);
  std::vector<std::string> lines;
  if (policy) return lines;
  for (const PolicyProblem& problem : policy.error()) {
    if (!problem.warning) lines.push_back(ProblemText("p.yaml", problem));
  }
  return lines;
}

// Exactly one problem, at `where`, whose text holds `part`.
void ExpectProblem(std::string_view text, const std::string& part) {
  auto problems = ProblemsOf(text);
  ASSERT_EQ(problems.size(), 1u) << (problems.empty() ? "accepted" : problems[0] + "\n" + problems.back());
  EXPECT_NE(problems[0].find(part), std::string::npos) << problems[0];
}

void ExpectProblem(std::string_view text, const std::string& where, const std::string& part) {
  ExpectProblem(text, part);
  EXPECT_TRUE(ProblemsOf(text)[0].starts_with("p.yaml:" + where + ": ")) << ProblemsOf(text)[0];
}

std::shared_ptr<const Policy> Good(std::string_view text) {
  auto policy = ParsePolicy(text, "/etc/ecluse/p.yaml", nullptr);
  if (!policy) {
    for (const auto& problem : policy.error()) ADD_FAILURE() << ProblemText("p", problem);
    return std::make_shared<Policy>();
  }
  return *policy;
}

TEST(Policy, ReadsWhatItSays) {
  auto policy = Good(kPolicy);
  EXPECT_EQ(policy->data_dir, "/etc/ecluse/data");
  EXPECT_EQ(policy->root.file, "/etc/ecluse/root.key");
  EXPECT_EQ(policy->accounts_file, "/etc/ecluse/accounts.yaml");
  EXPECT_EQ(policy->sql->address, "127.0.0.1");
  EXPECT_EQ(policy->sql->port, 6432);
  EXPECT_EQ(policy->database.tls, DatabaseTarget::Tls::verify_full);
  EXPECT_EQ(policy->LoginOf("officer"), "ecluse_interior_officer");
  const Role& role = policy->roles.at("officer");
  const auto& person = role.read.at({"taj", "person"});
  EXPECT_EQ(person.at("birth_date").kind, Mask::Kind::year) << "a column wins over its class wherever it stands";
  EXPECT_EQ(person.at("family_name").kind, Mask::Kind::clear);
  EXPECT_EQ(person.at("nir").kind, Mask::Kind::hidden) << "what is not named is hidden";
  EXPECT_EQ(policy->tables.at({"taj", "case"}).space, "person");
  EXPECT_EQ(role.hours.time_zone, "Europe/Paris");
  ASSERT_EQ(role.hours.spans.size(), 2u);
  EXPECT_EQ(role.hours.spans[0].to_minute, 18 * 60 + 30);
  EXPECT_EQ(role.hours.spans[1].first_day, 5);
  EXPECT_EQ(role.statistics->min_subjects, 11);
}

TEST(Policy, ANameMayBeAClassAndAColumn) {
  auto policy =
      Good(With("family_name: {class: identity}", "family_name: {class: nir}\n      identity: {class: identity}"));
  const auto& masks = policy->roles.at("officer").read.at({"taj", "person"});
  EXPECT_EQ(masks.at("identity").kind, Mask::Kind::clear);
  EXPECT_EQ(masks.at("birth_date").kind, Mask::Kind::year) << "a column of the class has its own mask still";
  EXPECT_EQ(masks.at("family_name").kind, Mask::Kind::hidden);
}

TEST(Policy, DefaultsAreBounded) {
  auto policy = Good(kPolicy);
  const Role& role = policy->roles.at("officer");
  auto has = [](const std::vector<Window>& windows, Window window) {
    return std::ranges::find(windows, window) != windows.end();
  };
  EXPECT_TRUE(has(role.budgets, {Window::Counts::subjects, 60, 1h}));
  EXPECT_TRUE(has(role.budgets, {Window::Counts::subjects, 200, 24h}));
  EXPECT_TRUE(has(role.budgets, {Window::Counts::lookups, 600, 1h}));
  EXPECT_TRUE(has(role.budgets, {Window::Counts::failures, 20, 1h}));
  EXPECT_TRUE(has(policy->per_address, {Window::Counts::subjects, 120, 1h}));
  EXPECT_FALSE(role.may_export);
  EXPECT_EQ(role.idle, 15min);
}

TEST(Policy, FailuresAreAlwaysBudgeted) {
  auto policy = Good(With("    purposes: [judicial-inquiry]", "    budgets: [{subjects: 5, per: 10m}]"));
  const Role& role = policy->roles.at("officer");
  ASSERT_EQ(role.budgets.size(), 2u);
  EXPECT_EQ(role.budgets[0].Text(), "5 subjects per 10m");
  EXPECT_EQ(role.budgets[1].Text(), "20 failures per 1h");
  EXPECT_EQ(role.purposes.size(), 2u) << "a role that names no purposes has all of the policy's";
}

TEST(Policy, DigestIsOfTheContent) {
  const std::string digest = Good(kPolicy)->digest;
  EXPECT_EQ(digest.size(), 64u);
  EXPECT_EQ(Good(With("version: 1", "# a comment\nversion:   \"1\""))->digest, digest);
  EXPECT_EQ(Good(With("version: 1\nregister: interior", "register: interior\nversion: 1"))->digest, digest);
  EXPECT_NE(Good(With("birth_date: year", "birth_date: month"))->digest, digest);
  EXPECT_NE(Good(With("closed'\"", "open'\""))->digest, digest);
}

TEST(Policy, UnknownKeysAreErrorsWithTheNearest) {
  ExpectProblem(With("purposes:\n  j", "purposs: {}\npurposes:\n  j"), "7:1",
                "unknown key `purposs` in the policy (did you mean `purposes`?)");
  ExpectProblem(With("open_tables:", "colour: red\nopen_tables:"), "27:1",
                "unknown key `colour` in the policy; allowed: version");
  ExpectProblem(With("{class: identifier}", "{class: identifier, claas: x}"), "15:32", "did you mean `class`?");
}

TEST(Policy, RefusesWhatThisVersionCannotDo) {
  const std::string part = "this version does not have";
  ExpectProblem(With("  data_dir: data\n", "  data_dir: data\n  http: {listen: 127.0.0.1:1}\n"), "5:9", part);
  ExpectProblem(With("open_tables", "identity: {tokens: {}}\nopen_tables"), "27:20", part);
}

TEST(Policy, ATableInACompartmentHidesItsOneSubjectColumn) {
  const auto in = [](const std::string& name) {
    return With("    subject: person_id\n", "    subject: person_id\n    compartment: " + name + "\n");
  };
  const auto policy = ParsePolicy(in("contact"), "ecluse.yaml", nullptr);
  ASSERT_TRUE(policy);
  const auto table = std::ranges::find_if((*policy)->tables, [](const auto& one) { return one.second.linked(); });
  ASSERT_TRUE(table != (*policy)->tables.end());
  EXPECT_EQ(table->second.compartment, "contact");
  EXPECT_TRUE(table->second.Find("person_id")->sealed->link);
  EXPECT_EQ((*policy)->Compartments(), (std::vector<std::string>{"contact", "main"}));
  for (const char* name : {"main", "Contact", "a_b", "1a"}) ExpectProblem(in(name), "13:18", "lower-case letters");
  ExpectProblem(in(std::string(33, 'a')), "13:18", "at most 32");
}

std::string Sealed(const std::string& sealed) {
  return With("nir: {class: identifier}", "nir: {class: identifier, sealed: " + sealed + "}");
}

TEST(Policy, ReadsHowPeopleAreErased) {
  const auto with = [](const std::string& erasure) {
    std::string text = Sealed("{}");
    return text.insert(text.find("    subject: person_id\n"), "    erasure: " + erasure + "\n");
  };
  const auto table = [&](const std::string& erasure) { return Good(with(erasure))->tables.at({"taj", "person"}); };
  EXPECT_TRUE(table("per_person").own_keys);
  EXPECT_TRUE(table("{keys: per_person}").erased_clear.empty());
  EXPECT_EQ(table("{keys: per_person, nulls: [birth_date]}").erased_clear, std::vector<std::string>{"birth_date"});
  EXPECT_FALSE(Good(kPolicy)->tables.at({"taj", "person"}).own_keys);
  ExpectProblem(with("per_row"), "per_person is allowed");
  ExpectProblem(with("{nulls: [birth_date]}"), "keys");
  ExpectProblem(with("{keys: per_person, nulls: birth_date}"), "a list");
  ExpectProblem(with("{keys: per_person, nulls: [nir]}"), "which is sealed");
  ExpectProblem(with("{keys: per_person, nulls: [person_id]}"), "whom a row is about");
  ExpectProblem(with("{keys: per_person, nulls: [nowhere]}"), "not in `columns`");
  ExpectProblem(With("    subject: person_id\n", "    subject: person_id\n    erasure: per_person\n"),
                "no column is sealed");
}

TEST(Policy, ReadsWhatIsSealed) {
  EXPECT_EQ(*Good(Sealed("{}"))->tables.at({"taj", "person"}).Find("nir")->sealed, Sealing{});
  const Sealing all{true, 3, true, 86'400, true};
  EXPECT_EQ(*Good(Sealed("{search: [equality, prefix(3), phonetic, range(1d)], accept_leakage: true}"))
                 ->tables.at({"taj", "person"})
                 .Find("nir")
                 ->sealed,
            all);
  EXPECT_FALSE(Good(kPolicy)->tables.at({"taj", "person"}).Find("nir")->sealed);
  for (const char* leaking : {"prefix(3)", "phonetic", "range(10)"})
    ExpectProblem(Sealed("{search: [" + std::string(leaking) + "]}"), "accept_leakage: true");
  for (const char* unknown :
       {"equal", "prefix", "prefix(0)", "prefix(17)", "prefix(x)", "range()", "range(0)", "range(1x)"})
    ExpectProblem(Sealed("{search: [" + std::string(unknown) + "], accept_leakage: true}"), "allowed: equality");
  ExpectProblem(With("person_id: {class: key}", "person_id: {class: key, sealed: {}}"), "says whom a row is about");
  ExpectProblem(With("summary: {class: judicial}", "summary: {class: judicial, sealed: {}}"), "go by taj.involvement");
  ExpectProblem(With("case_id: {class: key}\n", "case_id: {class: key, sealed: {}}\n"), "find their people");
  std::string counted = With("outcome: {class: judicial}", "outcome: {class: judicial, sealed: {}}");
  ExpectProblem(counted.replace(counted.find("outcome <> 'closed'"), 19, "case_id > 0"), "cannot count by it");
  const std::string noted = With("      outcome: {class: judicial}\n",
                                 "      outcome: {class: judicial}\n      note: {class: judicial, sealed: {}}\n");
  for (const char* condition : {"NOTE IS NULL", "\\\"note\\\" <> 'x'", "coalesce(note, '') <> outcome"}) {
    std::string text = noted;
    ExpectProblem(text.replace(text.find("outcome <> 'closed'"), 19, condition), "the database cannot compare it");
  }
  ExpectProblem(Sealed("{}").replace(Sealed("{}").find("birth_date: year"), 16, "nir: pseudonym"), "under a pseudonym");
  ExpectProblem(With("      nir: {class: identifier}\n",
                     "      nir: {class: identifier, sealed: {}}\n      nir_p2: {class: "
                     "identifier, sealed: {}}\n"),
                "the same name");
  ExpectProblem(With("nir: {class", std::string(51, 'n') + ": {sealed: {}, class"), "at most 50 bytes");
}

TEST(Policy, ReadsWhoMaySearch) {
  const std::string sealed = Sealed("{search: [equality]}");
  const auto with = [&](const std::string& search) {
    std::string text = sealed;
    return text.replace(text.find("    rows:"), 0, "    search: " + search + "\n");
  };
  EXPECT_TRUE(Good(with("[taj.person.nir]"))->roles.at("officer").search.at({"taj", "person"}).contains("nir"));
  ExpectProblem(with("[taj.person.family_name]"), "not sealed with a search");
  ExpectProblem(with("[taj.case.summary]"), "not a column of a table that the role reads");
  ExpectProblem(with("[nir]"), "schema.table.column");
}

// A key of type cosignature/v1, made by another program.
constexpr std::string_view kWitness = "w.example/one+80100d80+BK+agC+3ZT0/jBru2WGs6mkuRwkJk8MSmc4XCicwUOBo";

std::string WithLedger(const std::string& ledger) { return With("open_tables", "ledger: " + ledger + "\nopen_tables"); }
std::string WitnessAt(const std::string& url, const std::string& name = "w.example/one") {
  return "{name: " + name + ", key: " + std::string(kWitness) + ", url: '" + url + "'}";
}

TEST(Policy, ReadsWitnesses) {
  struct Case {
    const char* url;
    bool tls;
    const char* host;
    uint16_t port;
    const char* target;
  };
  for (const Case& expected : {Case{"http://w.example", false, "w.example", 80, "/add-checkpoint"},
                               Case{"https://w.example/", true, "w.example", 443, "/add-checkpoint"},
                               Case{"https://w.example:8443/a/b", true, "w.example", 8443, "/a/b/add-checkpoint"},
                               Case{"http://[::1]:7380//", false, "::1", 7380, "/add-checkpoint"}}) {
    std::vector<PolicyProblem> warnings;
    auto policy =
        ParsePolicy(WithLedger("{witnesses: [" + WitnessAt(expected.url) + "], witness_grace: 10s}"), "p", &warnings);
    ASSERT_TRUE(policy) << expected.url << ": " << policy.error()[0].message;
    ASSERT_EQ((*policy)->witnesses.size(), 1u);
    const PolicyWitness& one = (*policy)->witnesses[0];
    EXPECT_EQ(one.tls, expected.tls) << expected.url;
    EXPECT_EQ(one.host, expected.host) << expected.url;
    EXPECT_EQ(one.port, expected.port) << expected.url;
    EXPECT_EQ(one.target, expected.target) << expected.url;
    EXPECT_EQ((*policy)->required_witnesses, 0u);
  }
}

TEST(Policy, RefusesWitnessesThatCannotBeAsked) {
  for (const char* url : {"w.example", "ftp://w.example", "http://", "http://me@w.example", "http://w.example/?a=b",
                          "http://w.example:0", "http://w.example:70000", "http://w.example/#x", "http://w example"})
    ExpectProblem(WithLedger("{witnesses: [" + WitnessAt(url) + "]}"), "a witness's url is");
  const std::string good = WitnessAt("http://w.example");
  ExpectProblem(WithLedger("{witnesses: [" + WitnessAt("http://w.example", "w.example/two") + "]}"),
                "its key is of w.example/one");
  ExpectProblem(WithLedger("{witnesses: [" + good + ", " + good + "]}"), "is named twice");
  ExpectProblem(WithLedger("{witnesses: [" + good + "], required_witnesses: 1}"), "fewer than there are");
  ExpectProblem(WithLedger("{required_witnesses: 1}"), "fewer than there are");
  ExpectProblem(WithLedger("{witness_grace: 1s}"), "ledger.witness_grace");
  ExpectProblem(WithLedger("{witnesses: 3}"), "is a list");
  ExpectProblem(WithLedger("{witnesses: [{name: a, url: b}]}"), "key");
  const std::string two =
      good +
      ", {name: w.example/two, key: w.example/two+3df93ba1+BBFkx+hPSQQKOmolzmjk4dm9TT+PWUuEfVqe6Qe8n5mJ"
      ", url: 'http://w'}";
  ExpectProblem(WithLedger("{witnesses: [" + two + "], required_witnesses: 1, checkpoint_every: 7m}"),
                "ledger.witness_grace is less than 10 times");
  EXPECT_EQ(Good(WithLedger("{witnesses: [" + two + "], required_witnesses: 1}"))->required_witnesses, 1u);
  ExpectProblem(WithLedger("{witnesses: [" + two + "], required_witnesses: 2}"), "fewer than there are");
  // A ledger's key is none of a witness.
  ExpectProblem(WithLedger("{witnesses: [{name: a, key: 'PeterNeumann+c74f20a3+"
                           "ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW', url: 'http://w'}]}"),
                "no verifier key of a witness");
}

TEST(Policy, RetentionIsRead) {
  std::vector<PolicyProblem> warnings;
  const auto with = [](const std::string& retention) {
    return With("    subject: person_id\n", "    subject: person_id\n    retention: " + retention + "\n");
  };
  auto policy = ParsePolicy(with("{column: a, keep: 20y}"), "p", &warnings);
  ASSERT_TRUE(policy);
  EXPECT_TRUE(warnings.empty());
  EXPECT_EQ((*policy)->tables.at({"taj", "person"}).retention->first, "a");
  EXPECT_EQ((*policy)->tables.at({"taj", "person"}).retention->second, 20 * 365 * 24h);
  ExpectProblem(with("{column: a, keep: 0s}"), "retention.keep");
  ExpectProblem(with("{column: a}"), "retention");
  ASSERT_TRUE(ParsePolicy(With("open_tables", "ledger: {retention: 2y}\nopen_tables"), "p", &warnings));
  EXPECT_TRUE(warnings.empty());
}

TEST(Policy, RowsThatOutliveTheirPeopleAreWarnedOf) {
  const auto warned = [](const std::string& of_case) {
    std::string text = With("  taj.involvement:\n", "  taj.involvement:\n    retention: {column: a, keep: 20y}\n");
    const std::string head = "  taj.case:\n";
    text.insert(text.find(head) + head.size(), of_case);
    std::vector<PolicyProblem> warnings;
    EXPECT_TRUE(ParsePolicy(text, "p", &warnings));
    return warnings.size() == 1 && warnings[0].message.starts_with("tables.taj.case keeps rows for longer");
  };
  EXPECT_TRUE(warned(""));
  EXPECT_TRUE(warned("    retention: {column: b, keep: 21y}\n"));
  EXPECT_FALSE(warned("    retention: {column: b, keep: 20y}\n"));
}

TEST(Policy, KnowsItsLongestWindow) {
  const auto longest = [](const std::string& limits) {
    return Good(With("open_tables", "limits: {" + limits + "}\nopen_tables"))->LongestWindow();
  };
  const auto least = longest("per_address: [], per_organisation: [], per_register: []");
  EXPECT_GE(least, 1h);  // of the roles
  EXPECT_EQ(longest("per_address: [{subjects: 9, per: 300d}]"), 300 * 24h);
  EXPECT_EQ(longest("per_organisation: [{subjects: 9, per: 200d}]"), 200 * 24h);
  EXPECT_EQ(longest("per_register: [{subjects: 9, per: 100d}]"), 100 * 24h);
}

TEST(Policy, EveryProblemAtOnceInFileOrder) {
  auto problems = ProblemsOf(R"(version: 2
register: My Register
gate:
  data_dir: data
  sql: {listen: 0.0.0.0, tls: {certificate: a, key: b}}
  database: {host: db, name: d, tls: disable}
  allow_cleartext: maybe
tables:
  person: {subject: id, columns: {id: {class: key}}}
  taj.person: {subject: id, columns: {name: {class: identity}}}
roles:
  officer:
    read: {taj.persn: {identity: clear}}
    budgets: [{subjects: 0, per: 1h}, {lookups: 5, per: soon}]
    hours: "always"
)");
  ASSERT_GE(problems.size(), 10u);
  EXPECT_TRUE(std::ranges::is_sorted(problems, {}, [](const std::string& line) { return std::stoi(line.substr(7)); }));
  for (const std::string& line : problems) EXPECT_NE(line.find("; "), std::string::npos) << line;
}

TEST(Policy, Subjects) {
  ExpectProblem(With("person_id: {class: key}\n      nir", "id: {class: key}\n      nir"), "12:14",
                "not among its columns");
  ExpectProblem(With("{birth_date: year, key: clear, identity: clear}", "{identity: clear}"), "32:7",
                "leaves the subject column person_id hidden");
  ExpectProblem(With("{birth_date: year, key: clear,", "{birth_date: year, key: pseudonym,"), "33:7", "one mask");
  ExpectProblem(With("{via: taj.involvement, key: case_id}", "{via: taj.involvemnt, key: case_id}"), "24:3",
                "did you mean `taj.involvement`?");
  ExpectProblem(With("{via: taj.involvement, key: case_id}", "{via: taj.person, key: case_id}"), "24:3",
                "not a column of taj.person");
  ExpectProblem(With("      nir:", "      __subject:"), "15:7", "do not begin with __");
}

TEST(Policy, Writes) {
  auto with = [](const std::string& write) {
    return With("    statistics:", "    write: {" + write + "}\n    statistics:");
  };
  auto policy =
      Good(with("taj.person: {insert: [person_id, family_name, nir], update: [family_name, nir], delete: true}"));
  const WriteRight& right = policy->roles.at("officer").write.at({"taj", "person"});
  EXPECT_EQ(right.insert_columns.size(), 3u);
  EXPECT_TRUE(right.may_delete);
  ExpectProblem(with("taj.person: {update: [birth_date]}"), "36:35", "write the mask over the truth");
  ExpectProblem(with("taj.person: {update: [person_id]}"), "36:35", "whom the row is about");
  ExpectProblem(with("taj.case: {insert: [summary]}"), "36:13", "does not read");
  ExpectProblem(with("taj.person: {upsert: true}"), "36:26", "unknown key");
}

TEST(Policy, Statistics) {
  ExpectProblem(With("[outcome]}}", "[person_id]}}"), "36:41", "isolates everybody");
  ExpectProblem(With("{taj.involvement: [outcome]}", "{taj.person: [nir]}"), "36:36", "nothing to count by");
  Good(With("{taj.involvement: [outcome]}", "{taj.person: [birth_date]}"));  // by what the role sees of it: the year
}

TEST(Policy, Cleartext) {
  const std::string tls = "tls: {certificate: gate.crt, key: gate.key}}";
  ExpectProblem(With(", " + tls, "}"), "5:8", "has no `tls`");
  Good(With(", " + tls, "}\n  allow_cleartext: true"));
  ExpectProblem(With("127.0.0.1:6432, " + tls, "0.0.0.0:6432}\n  allow_cleartext: true"), "5:17", "only loopback");
  ExpectProblem(With("ca: ca.crt", "tls: disable"), "6:54", "is not this machine");
  ExpectProblem(With(", ca: ca.crt", ""), "6:13", "has no `ca`");
  Good(With("host: db.internal, name: interior, ca: ca.crt", "host: /run/postgresql, name: interior"));
}

TEST(Policy, RootKeyOutsideDataDir) {
  ExpectProblem(With("open_tables", "vault: {root: {file: data/root.key}}\nopen_tables"), "27:22",
                "inside gate.data_dir");
  ExpectProblem(With("open_tables", "vault: {root: {file: /r/root.key, passphrase_file: data/word}}\nopen_tables"),
                "27:52", "inside gate.data_dir");
  ExpectProblem(
      With("open_tables", "vault: {root: {pkcs11: {module: /m.so, token: t, pin_file: data/pin}}}\nopen_tables"),
      "27:60", "inside gate.data_dir");
}

TEST(Policy, RootKeyInAFileOrAToken) {
  const auto with = [](const std::string& root) {
    return With("open_tables", "vault: {root: " + root + "}\nopen_tables");
  };
  auto file = Good(with("{file: /etc/ecluse/root.key, passphrase_file: /run/word}"));
  EXPECT_EQ(file->root.passphrase_file, "/run/word");
  EXPECT_FALSE(file->root.in_token());
  auto token = Good(with("{pkcs11: {module: /m.so, token: ecluse, pin_file: /run/pin}}"));
  EXPECT_TRUE(token->root.in_token());
  EXPECT_EQ(token->root.file, "");
  EXPECT_EQ(token->root.token, "ecluse");
  EXPECT_EQ(token->root.pin_file, "/run/pin");
  ExpectProblem(with("{}"), "27:15", "names one key");
  ExpectProblem(with("{file: /r, pkcs11: {module: /m.so, token: t}}"), "27:15", "names one key");
  ExpectProblem(with("{pkcs11: {module: /m.so}}"), "27:24", "token");
  ExpectProblem(with("{passphrase_file: /w, pkcs11: {module: /m.so, token: t}}"), "27:33", "pin_file");
}

TEST(Policy, NothingClever) {
  ExpectProblem(With("[ref.offence]", "&a [ref.offence]"), "27:14", "anchor");
  ExpectProblem("a: !!str b", "1:4", "tag");
  ExpectProblem("a: 1\n---\nb: 2\n", "1:1", "one document");
  ExpectProblem(With("version: 1", "version: 1\nversion: 1"), "2:1", "twice");
  ExpectProblem("a: \x01", "1:4", "control character");
  ExpectProblem("a: \xff", "1:4", "UTF-8");
  ExpectProblem(std::string(100, '['), "1:9", "nested deeper");
  ExpectProblem("a: [b", "1:1", "not YAML");
  ExpectProblem("", "1:1", "empty");
}

TEST(Policy, Durations) {
  EXPECT_EQ(ParseDuration("90s"), 90s);
  EXPECT_EQ(ParseDuration("15m"), 15min);
  EXPECT_EQ(ParseDuration("24h"), 24h);
  EXPECT_EQ(ParseDuration("3y"), 3 * 365 * 24h);
  for (std::string_view bad :
       {"", "1", "h", "-1h", "1 h", "1.5h", "99999999999999999y", "9223372036854775807s", "+1h"}) {
    EXPECT_FALSE(ParseDuration(bad)) << bad;
  }
  for (auto [text, seconds] :
       {std::pair{"24h", 86'400}, {"1h", 3'600}, {"90s", 90}, {"7d", 7 * 86'400}, {"3y", 94'608'000}}) {
    EXPECT_EQ(DurationText(std::chrono::seconds(seconds)), text);
  }
}

TEST(Policy, Masks) {
  EXPECT_EQ(ParseMask("range(10)")->step, 10);
  EXPECT_EQ(ParseMask("range(10)")->Text(), "range(10)");
  for (std::string_view bad :
       {"range()", "range(0)", "range(1)", "range(-5)", "range(1.5)", "range(5", "Clear", "", "range(99999999999)"}) {
    EXPECT_FALSE(ParseMask(bad)) << bad;
  }
}

TEST(Policy, HoursSayWhatIsWrong) {
  std::string why;
  for (std::string_view bad : {"", "Mon", "Mon 08:00-18:00", "Mon 18:00-08:00 UTC", "Lun 08:00-18:00 UTC",
                               "Mon 8-18 UTC", "Mon 08:00-25:00 UTC", "Mon 08:00-18:00 Mars/Olympus"}) {
    why.clear();
    EXPECT_FALSE(ParseHours(bad, why)) << bad;
    EXPECT_FALSE(why.empty()) << bad;
  }
  auto hours = ParseHours("Sat-Mon 00:00-24:00 UTC", why);
  ASSERT_TRUE(hours);
  EXPECT_EQ(hours->spans[0].first_day, 5);
  EXPECT_EQ(hours->spans[0].last_day, 0);
  EXPECT_EQ(hours->spans[0].to_minute, 1'440);
}

TEST(Policy, MissingFileIsSaid) {
  auto policy = LoadPolicy("/nonexistent/ecluse.yaml", nullptr);
  ASSERT_FALSE(policy);
  EXPECT_NE(policy.error()[0].message.find("no such file"), std::string::npos);
}

}  // namespace
}  // namespace ecluse
