// The blast radius: exactly which people were released to an account, from an address, under a role. `ecluse dossier`;
// docs/dossier.md.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "base/result.h"
#include "ledger/query.h"
#include "policy/policy.h"

namespace ecluse {

// One person, and the most that was shown of them.
struct DossierPerson {
  std::string name;             // "person:4242"; "token:…" where the person's key is gone
  bool named = true;            // false: the key is gone
  int64_t first = 0, last = 0;  // microseconds since 1970
  uint64_t entries = 0;
  bool changed = false;                                               // collected, altered or erased, not only read
  std::map<std::pair<std::string, std::string>, std::string> fields;  // table, column -> mask
};

// What was shown of one class of columns.
struct DossierCategory {
  uint64_t clear = 0, masked = 0;  // people
};

struct Dossier {
  Query query;
  AnswerBasis basis;
  std::string register_name;
  int64_t made = 0;  // when
  // People of whom rows were released, or may have been, by name; and those who were only asked for and not there.
  std::vector<DossierPerson> subjects, asked;
  std::map<std::string, DossierCategory> categories;  // by the policy's class of column
  std::map<std::string, uint64_t> kinds, principals, organisations, roles, addresses, purposes, references, spaces;
  uint64_t entries = 0;
  int64_t first = 0, last = 0;
  int64_t rows = 0;                                    // records released
  int64_t statistic_rows = 0;                          // of groups that isolate nobody
  int64_t nameless = 0;                                // charged without a name
  uint64_t refusals = 0;                               // those that one entry stands for included
  uint64_t closed = 0;                                 // entries that do not open with the keys that are here
  uint64_t unnamed = 0;                                // of `subjects`: without a name
  std::vector<std::pair<int64_t, std::string>> locks;  // of the account: when, and what was said
  struct Slice {
    uint64_t entries = 0, newly = 0;  // entries; people seen for the first time
  };
  int64_t slice = 0;        // microseconds of one slice
  int64_t slices_from = 0;  // microseconds since 1970
  std::vector<Slice> time_line;
  std::vector<uint64_t> evidence;  // the entries that name `subjects`
};

// `policy` gives columns their classes.
Result<Dossier> AskDossier(LedgerQuery& ledger, const Query& query, const Policy& policy);

std::string DossierJson(const Dossier& dossier);
std::string DossierCsv(const Dossier& dossier);  // RFC 4180; one line a person
enum class Language { en, fr };
// One file that needs nothing else: what GDPR Article 33(3) and Directive (EU) 2016/680 Article 30(3) ask for, with
// room for what a ledger cannot know.
std::string DossierHtml(const Dossier& dossier, Language language);

// What the ledger cannot tell, in sentences.
std::vector<std::string> DossierLimits(const Dossier& dossier, Language language);

// The entries behind the dossier as lines of JSON: "seq", "entry" as stored, and "proof" (c2sp.org/tlog-proof@v1).
// Those that no checkpoint covers yet have none.
Status WriteEvidence(const Dossier& dossier, const SegmentFolder& folder,
                     const std::function<Status(const std::string& line)>& line);

}  // namespace ecluse
