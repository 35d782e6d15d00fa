#include "seal/table_keys.h"

#include "base/bytes.h"
#include "seal/cell.h"

namespace ecluse {

Result<const CompartmentKeys*> TableKeys::Of(size_t table) {
  auto& keys = of_[table].keys;
  if (keys == nullptr) {
    ECLUSE_TRY(keys, SealingKeys(*keys_, plan_->tables[table].compartment));
  }
  return keys.get();
}

Result<const Links*> TableKeys::LinksOf(size_t table) {
  auto& links = of_[table].links;
  if (!links) {
    ECLUSE_TRY(const CompartmentKeys* keys, Of(table));
    links.emplace(keys->link, register_, plan_->tables[table].space);
  }
  return &*links;
}

Result<const CompartmentKeys*> TableKeys::Renew(size_t table) {
  of_[table] = {};
  return Of(table);
}

void TableKeys::Clear() {
  for (Taken& taken : of_) taken = {};
  opened_of_.clear();
  opened_.clear();
}

Result<std::string_view> TableKeys::IdOf(size_t table, std::string_view subject) {
  const TableRef& of = plan_->tables[table];
  if (!of.linked()) return subject;
  if (!opened_.empty() && opened_table_ == table && opened_of_ == subject) return opened_;
  ECLUSE_TRY(const Links* links, LinksOf(table));
  const auto bytes = HexDecode(subject);
  opened_.clear();
  ECLUSE_TRY(opened_, OpenLink(*links, of.table.Text(),
                               bytes ? std::string_view(reinterpret_cast<const char*>(bytes->data()), bytes->size())
                                     : std::string_view()));
  opened_table_ = table;
  opened_of_ = subject;
  return opened_;
}

}  // namespace ecluse
