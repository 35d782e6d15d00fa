// Exactly who saw a person: `ecluse who-saw`.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"
#include "ledger/query.h"
#include "tlog/checkpoint.h"

namespace ecluse {

// One entry that names the person.
struct Sighting {
  EntryFacts facts;  // of other people nothing is kept: `subjects` names the person alone
  // Rows about the person were released, or may have been; or a refused result may have told that there are some, and
  // then no table has fields. Else the person was only asked for.
  bool returned = false;
};

struct WhoSaw {
  std::string subject;  // "person:4242"
  AnswerBasis basis;
  int64_t from = 0, to = INT64_MAX;
  bool known = false;          // an entry introduces the person, under a key that is here
  std::vector<Sighting> seen;  // in order
  uint64_t closed = 0;         // entries that might tell of them and do not open with the keys that are here
};

// Everybody who saw, changed or asked for `space:id` between two times, microseconds since 1970.
Result<WhoSaw> AskWhoSaw(LedgerQuery& ledger, const std::string& space, const std::string& id, int64_t from,
                         int64_t to);

// As JSON, each entry that the checkpoint covers with its proof (c2sp.org/tlog-proof@v1).
Result<std::string> WhoSawJson(const WhoSaw& answer, const SegmentFolder& folder);

}  // namespace ecluse
