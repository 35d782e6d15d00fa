#include "server/settings.h"

#include <algorithm>

namespace ecluse {

const Settings::Value* Settings::Find(std::string_view name) const {
  if (auto it = now_.local.find(name); it != now_.local.end()) return it->second ? &*it->second : nullptr;
  if (auto it = now_.base.find(name); it != now_.base.end()) return &it->second;
  return nullptr;
}

std::string Settings::Text(std::string_view name) const {
  const Value* value = Find(name);
  return value ? value->text : std::string();
}

void Settings::Begin() {
  ++version_;
  if (!before_) before_ = now_;
}

void Settings::Set(const std::string& name, std::optional<Value> value, bool local) {
  Begin();
  if (local) {
    now_.local[name] = std::move(value);
    return;
  }
  now_.local.erase(name);
  if (value)
    now_.base[name] = std::move(*value);
  else
    now_.base.erase(name);
}

void Settings::ResetAll() {
  Begin();
  auto ours = [](const auto& item) { return item.first.starts_with("ecluse."); };
  std::erase_if(now_.base, [&](const auto& item) { return !ours(item); });
  std::erase_if(now_.local, [&](const auto& item) { return !ours(item); });
}

void Settings::Savepoint(const std::string& name) { savepoints_.push_back({name, now_}); }

void Settings::RollbackTo(const std::string& name) {
  auto it = std::find_if(savepoints_.rbegin(), savepoints_.rend(), [&](const Mark& mark) { return mark.name == name; });
  if (it == savepoints_.rend()) return;
  Begin();
  now_ = it->state;
  savepoints_.erase(it.base(), savepoints_.end());
}

void Settings::Release(const std::string& name) {
  auto it = std::find_if(savepoints_.rbegin(), savepoints_.rend(), [&](const Mark& mark) { return mark.name == name; });
  if (it != savepoints_.rend()) savepoints_.erase(it.base() - 1, savepoints_.end());
}

void Settings::Commit() {
  if (!now_.local.empty()) ++version_;
  now_.local.clear();
  before_.reset();
  savepoints_.clear();
}

void Settings::Rollback() {
  if (before_) {
    now_ = std::move(*before_);
    ++version_;
  }
  now_.local.clear();
  before_.reset();
  savepoints_.clear();
}

std::string Settings::UpstreamScript() const {
  std::string script;
  for (const auto& [name, value] : now_.base)
    if (!value.sql.empty()) script += value.sql + ";";
  return script;
}

bool Settings::touches_upstream() const {
  return std::ranges::any_of(now_.base, [](const auto& item) { return !item.second.sql.empty(); }) ||
         std::ranges::any_of(now_.local, [](const auto& item) { return item.second && !item.second->sql.empty(); });
}

std::vector<std::string> SearchPathNames(std::string_view text) {
  std::vector<std::string> names;
  std::string name;
  bool quoted = false, was_quoted = false;
  auto finish = [&] {
    if (!was_quoted) {
      size_t first = name.find_first_not_of(" \t\r\n"), last = name.find_last_not_of(" \t\r\n");
      name = first == std::string::npos ? "" : name.substr(first, last - first + 1);
    }
    if (!name.empty() && name != "$user") names.push_back(name);
    name.clear();
    was_quoted = false;
  };
  for (size_t i = 0; i < text.size(); ++i) {
    char c = text[i];
    if (c == '"') {
      if (quoted && i + 1 < text.size() && text[i + 1] == '"')
        name += text[i++];
      else
        quoted = !quoted;
      if (quoted && !was_quoted) name.clear();  // blanks before the quote
      was_quoted = true;
    } else if (quoted) {
      name += c;
    } else if (c == ',') {
      finish();
    } else if (!was_quoted) {
      name += c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c;
    }
  }
  finish();
  return names;
}

}  // namespace ecluse
