// What the dossier's report says, in French and English.
#pragma once

#include <span>
#include <string_view>

#include "ledger/dossier.h"

namespace ecluse {

// The words of the report in one language; {} stand for values.
struct DossierWords {
  std::string_view language, title, lead, question, account, organisation, role, address, period, from_start, to_end;
  std::string_view nature, nature_law, subjects, asked, records, entries, first, last, refusals, statistics;
  std::string_view categories, clear, masked, unknown, space, count;
  std::string_view line, line_caption, newly;
  std::string_view purposes, references, addresses;
  std::string_view contact, contact_law, contact_fill;
  std::string_view consequences, consequences_law, consequences_fill;
  std::string_view measures, measures_law, measures_fill, no_lock;
  std::string_view evidence, evidence_text, no_checkpoint;
  std::string_view limits, people, people_more, subject, seen, fields, existence, changed;
};

const DossierWords& WordsOf(Language language);

// What tends to follow from the loss of a class of data: a start for who assesses it.
struct Consequence {
  std::string_view of, en, fr;
};
std::span<const Consequence> Consequences();

}  // namespace ecluse
