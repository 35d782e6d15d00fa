#include "vault/generations.h"

#include <fmt/format.h>
#include <openssl/crypto.h>

#include <algorithm>
#include <sstream>

#include "base/bytes.h"
#include "base/check.h"
#include "base/file.h"
#include "base/limits.h"
#include "vault/root_key.h"

namespace ecluse {
namespace {

constexpr std::string_view kHeader = "ecluse root generations v1";

}  // namespace

std::unexpected<Error> Generations::Broken(std::string detail) const {
  return Fail(sqlstate::kIo, "the file of root generations is damaged",
              "put back the newest copy of " + path_ + ": without it nobody in the ledger has a name",
              "vault.generations", std::move(detail));
}

Result<std::vector<Generations::Generation>> Generations::Read() const {
  std::vector<Generation> all;
  ECLUSE_TRY(const auto present, files_.Find(path_));
  if (!present) return all;
  ECLUSE_OK(CheckPrivateFile(files_, path_, "file of root generations", "put back its newest copy"));
  ECLUSE_TRY(const std::string content, ReadWholeFile(files_, path_, limits::kGenerationsBytes));
  std::istringstream lines(content);
  std::string line;
  std::getline(lines, line);
  if (line != kHeader || !content.ends_with('\n')) return Broken("its first line, or its end");
  if (!std::getline(lines, line) || line != "gate " + HexEncode(gate_.id))
    return Fail(sqlstate::kIo, path_ + " holds the root generations of another gate",
                "name a file of its own for each gate in vault.generations", "vault.generations", line);
  while (std::getline(lines, line)) {
    std::istringstream words(line);
    std::string kind, id_text, coded, more;
    int64_t made = 0;
    if (!(words >> kind >> made >> id_text >> coded) || words >> more || kind != "generation") return Broken(line);
    const auto id = ParseKeyId(id_text);
    if (!id) return Broken(line);
    auto key = UnwrapText(gate_.key, kind, std::to_string(made), *id, coded);
    if (!key) return Broken(line);
    all.push_back({{id_text, made}, *std::move(key)});
  }
  return all;
}

std::string Generations::Text(std::string_view without) const {
  std::string text = fmt::format("{}\ngate {}\n", kHeader, HexEncode(gate_.id));
  for (const Generation& one : all_) {
    if (one.info.id != without)
      text += WrapLine(gate_.key, gate_.id, "generation", std::to_string(one.info.made), one.key.id, one.key.key.key());
  }
  return text;
}

Result<std::unique_ptr<Generations>> Generations::Open(FileSystem& files, std::string path, const WrappedKey& gate) {
  std::unique_ptr<Generations> generations(new Generations(files, std::move(path), gate));
  ECLUSE_TRY(generations->all_, generations->Read());
  return generations;
}

const Generations::Generation* Generations::Find(const KeyId& id) const {
  const auto found = std::ranges::find(all_, id, [](const Generation& one) { return one.key.id; });
  return found == all_.end() ? nullptr : &*found;
}

std::string Generations::Wrap(std::string_view plain, std::string_view associated) const {
  std::shared_lock lock(mutex_);
  CHECK(!all_.empty());
  return SealEnvelope(all_.back().key.key, all_.back().key.id, plain, associated);
}

Result<Secret> Generations::Unwrap(std::string_view wrapped, std::string_view associated) {
  const auto altered = [] {
    return Fail(sqlstate::kIo, "a wrapped secret does not open", "it was altered, or belongs to another key ring",
                "vault.keys");
  };
  const auto id = EnvelopeKeyId(wrapped);
  if (!id) return altered();
  const auto open = [&](const Xaes& key) -> Result<Secret> {
    auto plain = OpenEnvelope(key, wrapped, associated);
    if (!plain) return altered();
    Secret secret{std::string_view(*plain)};
    OPENSSL_cleanse(plain->data(), plain->size());
    return secret;
  };
  if (*id == gate_.id) return open(gate_.key);
  {
    std::shared_lock lock(mutex_);
    if (const Generation* known = Find(*id)) return open(known->key.key);
  }
  // Only added to: what a file that was put back lacks is not forgotten, and what it has more was made since.
  ECLUSE_TRY(auto read, Read());
  std::unique_lock lock(mutex_);
  for (Generation& one : read) {
    if (Find(one.key.id) == nullptr) all_.push_back(std::move(one));
  }
  if (const Generation* known = Find(*id)) return open(known->key.key);
  return Fail(
      sqlstate::kIo, fmt::format("the root generation {} is gone", HexEncode(*id)),
      "what was wrapped under it is erased, or was put back from a copy older than the erasure horizon. Where it "
      "is neither, put back the newest copy of the file of root generations",
      std::string(kGenerationGone), path_);
}

bool Generations::UnderNewest(std::string_view wrapped) const {
  const auto id = EnvelopeKeyId(wrapped);
  std::shared_lock lock(mutex_);
  return id && !all_.empty() && *id == all_.back().key.id;
}

std::vector<GenerationInfo> Generations::List() const {
  std::shared_lock lock(mutex_);
  std::vector<GenerationInfo> out;
  for (const Generation& one : all_) out.push_back(one.info);
  return out;
}

Status Generations::Make(int64_t wall_micros) {
  std::unique_lock lock(mutex_);
  WrappedKey key{RandomKeyId(), Xaes(RandomKey())};
  const std::string line =
      WrapLine(gate_.key, gate_.id, "generation", std::to_string(wall_micros), key.id, key.key.key());
  ECLUSE_OK(ReplaceFile(files_, path_, Text() + line));
  const GenerationInfo info{HexEncode(key.id), wall_micros};
  if (made_) made_(info);
  all_.push_back({info, std::move(key)});
  return {};
}

Status Generations::Destroy(const std::string& id) {
  std::unique_lock lock(mutex_);
  const auto found = std::ranges::find(all_, id, [](const Generation& one) { return one.info.id; });
  CHECK(found != all_.end() && found + 1 != all_.end());
  ECLUSE_OK(ReplaceFile(files_, path_, Text(id)));
  all_.erase(found);
  return {};
}

Result<bool> Generations::Mend() {
  std::unique_lock lock(mutex_);
  ECLUSE_TRY(const auto present, files_.Find(path_));
  if (present || all_.empty()) return false;
  ECLUSE_OK(ReplaceFile(files_, path_, Text()));
  return true;
}

void Generations::OnMade(std::function<void(const GenerationInfo&)> made) {
  std::unique_lock lock(mutex_);
  made_ = std::move(made);
}

}  // namespace ecluse
