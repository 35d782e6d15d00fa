// On the way in: what a statement's values become before PostgreSQL gets them. Pure: no I/O.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "execute/run.h"
#include "pgwire/codec.h"
#include "plan/plan.h"
#include "vault/keys.h"

namespace ecluse {

// What was looked up for a statement before it is run.
struct LookedUp {
  std::vector<std::string> drawn;                 // the numbers that Plan::draw gave
  std::vector<std::vector<std::string>> crossed;  // the ids of each of Plan::crossings; what is not there yet is NULL
};

// The payload of a Bind with the parameters of `message`, the withheld ones as NULL, and behind them those that the
// plan makes of them: envelopes, tokens, pseudonyms, people that were looked up. Refuses (08P01) a Bind with another
// number of parameters than the client's, what is no value of its column's type (22P02 and its kind), and where the
// keys are not there (58030).
Result<std::string> SealParameters(const Plan& plan, const pg::BindMessage& message, const KeyRing& keys,
                                   std::string_view register_name, const LookedUp& looked_up = {});

// Rows of COPY: in place of their sealed columns their envelopes and pseudonyms, and behind all of them the tokens
// (Plan::Copy). 22023 for an id that is nobody's.
Status SealCopyRows(const Plan& plan, const KeyRing& keys, std::string_view register_name,
                    std::span<std::vector<std::optional<std::string>>> rows);

}  // namespace ecluse
