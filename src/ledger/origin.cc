#include "ledger/origin.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <sstream>

#include "base/bytes.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/random.h"

namespace ecluse {
namespace {

constexpr size_t kFileLimit = 4'096;

std::string PathOf(const SegmentFolder& folder) { return folder.path + "/origin"; }

std::string OriginText(const LedgerId& id, const std::string& origin) {
  return fmt::format("ecluse ledger v1\nid {}\norigin {}\n", HexEncode(id), origin);
}

}  // namespace

Result<LedgerId> ReadOrigin(const SegmentFolder& folder, std::string* origin) {
  std::string path = PathOf(folder);
  ECLUSE_TRY(std::string text, ReadWholeFile(*folder.files, path, kFileLimit));
  std::istringstream lines(text);
  std::string header, id_line, origin_line;
  std::getline(lines, header);
  std::getline(lines, id_line);
  std::getline(lines, origin_line);
  LedgerId id;
  auto bytes = id_line.starts_with("id ") ? HexDecode(std::string_view(id_line).substr(3)) : std::nullopt;
  if (header != "ecluse ledger v1" || !bytes || bytes->size() != id.size() || !origin_line.starts_with("origin "))
    return LedgerDamaged(path + " is not an origin file");
  std::copy(bytes->begin(), bytes->end(), id.begin());
  *origin = origin_line.substr(7);
  if (text != OriginText(id, *origin)) return LedgerDamaged(path + " is not spelled as an origin file is");
  return id;
}

Result<bool> FindOrigin(SegmentFolder* folder, const std::string& register_name, const std::string& node) {
  ECLUSE_TRY(auto present, folder->files->Find(PathOf(*folder)));
  ECLUSE_TRY(auto numbers, ListSegments(*folder, true));
  if (present) {
    std::string origin;
    ECLUSE_TRY(folder->ledger, ReadOrigin(*folder, &origin));
    std::string expected = register_name + "/" + node;
    if (origin != expected)
      return Fail(sqlstate::kIo,
                  fmt::format("the data folder holds the ledger of {}, and this gate is {}", origin, expected),
                  "correct gate.data_dir, or the names of register and node", "ledger.origin", folder->path);
    if (numbers.empty()) return LedgerDamaged(folder->path + " holds no segment");
    return false;
  }
  if (numbers.size() > 1) return LedgerDamaged(PathOf(*folder) + " is missing");
  if (numbers.size() == 1) {
    // The first start was interrupted before anything was written; anything else has an origin.
    ECLUSE_TRY(auto file, folder->files->Open(folder->PathOf(1), OpenMode::read));
    std::vector<uint8_t> head(kRecordHeader);
    ECLUSE_TRY(size_t n, file->ReadAt(kSegmentHeader, head));
    if (n != 0 && std::any_of(head.begin(), head.end(), [](uint8_t byte) { return byte != 0; }))
      return LedgerDamaged(PathOf(*folder) + " is missing");
    ECLUSE_OK(folder->files->Remove(folder->PathOf(1)));
    ECLUSE_OK(folder->files->SyncDirectory(folder->path));
  }
  RandomBytes(folder->ledger);
  return true;
}

Status WriteOrigin(const SegmentFolder& folder, const std::string& register_name, const std::string& node) {
  return ReplaceFile(*folder.files, PathOf(folder), OriginText(folder.ledger, register_name + "/" + node));
}

Result<std::string> OwnNode(SegmentFolder* folder) {
  std::string origin;
  ECLUSE_TRY(folder->ledger, ReadOrigin(*folder, &origin));
  return origin.substr(std::min(origin.find('/'), origin.size() - 1) + 1);
}

Result<std::string> NodeName(std::string name) {
  if (name.empty()) {
    char host[256] = {};
    name = ::gethostname(host, sizeof host - 1) == 0 && host[0] != '\0' ? host : "gate";
  }
  auto fits = [](char c) { return std::isalnum(static_cast<unsigned char>(c)) || c == '-' || c == '_' || c == '.'; };
  if (name.size() <= limits::kNodeName && std::ranges::all_of(name, fits)) return name;
  return Fail(sqlstate::kInvalidParameter, fmt::format("\"{}\" cannot be a node's name", Printable(name)),
              "Give `ecluse serve --node` 1 to 255 letters, digits and `._-`.", "server.node");
}

}  // namespace ecluse
