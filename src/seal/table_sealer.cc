#include "seal/table_sealer.h"

#include <fmt/format.h>

#include "base/limits.h"
#include "execute/values.h"
#include "policy/sealed_columns.h"
#include "seal/cell.h"

namespace ecluse {

TableSealer::TableSealer(Database& owner, const MovingTable& table, const KeyRing& ring, const CompartmentKeys& keys,
                         const SealOptions& options)
    : owner_(owner),
      table_(table),
      name_(table.name.Text()),
      ring_(ring),
      keys_(keys),
      options_(options),
      links_(keys.link, options.policy->register_name, table.policy->space) {
  for (const Moving& column : table.columns)
    indexes_.emplace_back(keys.search, options.policy->register_name, column.name);
}

Status TableSealer::Pass(uint64_t* done, bool locked) {
  std::vector<std::string> values;
  for (const Moving& column : table_.columns)
    values.push_back("t." + QuoteName(column.name) + (column.undo ? "::bytea::text" : "::text"));
  RowBatches rows(owner_, table_, values, table_.Unmoved("t"));
  uint64_t here = 0;
  while (true) {
    ECLUSE_TRY(const int count, rows.Next());
    if (count == 0) return {};
    ECLUSE_TRY(const auto made, Move(rows, count));
    ECLUSE_TRY(const uint64_t moved, rows.Write(made));
    *done += moved;
    here += moved;
    if (options_.progress && !locked)
      options_.progress((options_.undo ? "opening " : "sealing ") + name_, here, table_.rows);
  }
}

// Of each column its envelopes, or clear values, and behind them those of each of its token columns.
Result<std::vector<RowBatches::Written>> TableSealer::Move(const RowBatches& rows, int count) const {
  std::vector<std::string> subjects;
  for (int row = 0; row < count; ++row) {
    ECLUSE_TRY(subjects.emplace_back(), rows.Subject(row));
  }
  OwnKeys own;
  if (table_.undo) {
    ECLUSE_TRY(own, OwnKeys::Find(ring_, subjects));
  } else if (table_.policy->own_keys) {
    ECLUSE_TRY(own, OwnKeys::Take(ring_, subjects));
  }
  std::vector<RowBatches::Written> made;
  for (size_t c = 0; c < table_.columns.size(); ++c) {
    const Moving& column = table_.columns[c];
    const auto tokens = TokenColumns(column.name, column.type, column.search);
    const size_t first = made.size();
    if (column.undo)
      made.push_back({column.moved(), "text[]", "::" + column.GatheredType(), {}});
    else
      made.push_back({column.moved(), "bytea[]", "", {}});
    for (const TokenColumn& token : tokens) made.push_back({token.name, "bytea[]", "", {}});
    for (int row = 0; row < count; ++row) {
      const std::string& subject = subjects[static_cast<size_t>(row)];
      const Cell cell{options_.policy->register_name, name_, column.name, subject, own.Of(subject)};
      if (rows.Null(row, c)) {
        for (size_t i = first; i < made.size(); ++i) made[i].values.emplace_back();
      } else if (column.search.link) {
        ECLUSE_TRY(made[first].values.emplace_back(), Linked(column, subject, rows.Place(row)));
      } else if (column.undo) {
        ECLUSE_TRY(const auto opened, Opened(column, cell, own.Erased(subject), rows.Value(row, c)));
        if (!opened) return OfErased(column.name, rows.Place(row));
        made[first].values.push_back(opened);
      } else {
        ECLUSE_TRY(const std::string canonical, CanonicalValue(column.type, rows.Value(row, c), false));
        ECLUSE_TRY(const std::string envelope, SealCell(keys_, cell, canonical));
        made[first].values.emplace_back(ByteaText(envelope));
        for (size_t i = 0; i < tokens.size(); ++i) {
          ECLUSE_TRY(const auto bytes,
                     TokenOf(indexes_[c], column.type, column.search, tokens[i].kind, tokens[i].level, canonical));
          made[first + 1 + i].values.emplace_back(bytes ? std::optional(ByteaText(*bytes)) : std::nullopt);
        }
      }
    }
  }
  return made;
}

// The pseudonym of a row's person, or on the way back their id.
Result<std::string> TableSealer::Linked(const Moving& column, const std::string& subject,
                                        std::string_view place) const {
  const std::string id = subject.substr(table_.policy->space.size() + 1);
  if (column.undo) return id;
  if (MayBeId(id)) return ByteaText(links_.Of(id));
  return CannotMove(fmt::format("a row of {} has an id that can be nobody's, at {}", name_, place),
                    fmt::format("an id has 1 to {} bytes and no control characters 1E and 1F: correct the row WHERE "
                                "ctid = '{}'",
                                limits::kSubjectId, place));
}

std::unexpected<Error> TableSealer::OfErased(const std::string& column, std::string_view place) const {
  return CannotMove(fmt::format("{}.{} holds a value of somebody who was erased, which nothing opens any more, in the "
                                "row at {}",
                                name_, column, place),
                    fmt::format("set it to NULL, or delete the row: it is the one WHERE ctid = '{}'", place));
}

Result<std::optional<std::string>> TableSealer::Opened(const Moving& column, const Cell& cell, bool erased,
                                                       std::string_view text) const {
  ECLUSE_TRY(const std::string envelope, ByteaOf(text));
  ECLUSE_TRY(auto opened, OpenLeft(keys_, cell, erased, envelope));
  return opened && column.type.oid == type_oid::kBytea ? ByteaText(*opened) : std::move(opened);
}

}  // namespace ecluse
