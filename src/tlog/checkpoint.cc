#include "tlog/checkpoint.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/bytes.h"
#include "base/check.h"
#include "base/limits.h"
#include "tlog/decimal.h"

namespace ecluse {
namespace {

constexpr std::string_view kProofVersion = "c2sp.org/tlog-proof@v1";

std::unexpected<Error> NotThis(std::string_view kind, std::string_view what) {
  return Fail(sqlstate::kIo, fmt::format("this is no {}: {}", kind, what),
              fmt::format("format: c2sp.org/tlog-{}", kind), fmt::format("tlog.{}", kind));
}

// Takes the next line off `rest`, without its end; nullopt where there is none.
std::optional<std::string_view> TakeLine(std::string_view& rest) {
  const size_t end = rest.find('\n');
  if (end == std::string_view::npos) return std::nullopt;
  const std::string_view line = rest.substr(0, end);
  rest.remove_prefix(end + 1);
  return line;
}

std::optional<Hash> ReadHash(std::string_view text) {
  const auto bytes = Base64Decode(text);
  Hash hash;
  if (!bytes || bytes->size() != hash.size()) return std::nullopt;
  std::ranges::copy(*bytes, hash.begin());
  return hash;
}

std::string HashLines(const std::vector<Hash>& hashes) {
  std::string lines;
  for (const Hash& hash : hashes) lines += Base64Encode(hash) + "\n";
  return lines;
}

// Lines of hashes up to the empty one, which is taken as well.
std::optional<std::vector<Hash>> TakeHashes(std::string_view& rest) {
  std::vector<Hash> hashes;
  while (true) {
    const auto line = TakeLine(rest);
    if (!line) return std::nullopt;
    if (line->empty()) return hashes;
    const auto hash = ReadHash(*line);
    if (!hash || hashes.size() == kMostProofLines) return std::nullopt;
    hashes.push_back(*hash);
  }
}

std::string CosignedMessage(std::string_view text, uint64_t seconds) {
  return fmt::format("cosignature/v1\ntime {}\n{}", seconds, text);
}

}  // namespace

std::string Checkpoint::Text() const { return fmt::format("{}\n{}\n{}\n", origin, size, Base64Encode(root)); }

Result<Checkpoint> ParseCheckpoint(std::string_view text) {
  const auto origin = TakeLine(text);
  if (!origin || origin->empty()) return NotThis("checkpoint", "it has no origin");
  const auto size_line = TakeLine(text);
  const auto size = size_line ? ReadDecimal(*size_line) : std::nullopt;
  if (!size) return NotThis("checkpoint", "its second line is no size");
  const auto root_line = TakeLine(text);
  const auto root = root_line ? ReadHash(*root_line) : std::nullopt;
  if (!root) return NotThis("checkpoint", "its third line is no hash");
  return Checkpoint{std::string(*origin), *size, *root};
}

Result<Checkpoint> OpenCheckpoint(std::string_view note, const VerifierKey& key) {
  ECLUSE_TRY(Note parsed, ParseNote(note));
  ECLUSE_TRY(Checkpoint checkpoint, ParseCheckpoint(parsed.text));
  if (checkpoint.origin != key.name) {
    return Fail(sqlstate::kIo,
                fmt::format("the checkpoint is of the ledger {}, not of {}", checkpoint.origin, key.name),
                "take the checkpoint and the verifier key of the same ledger", "tlog.checkpoint");
  }
  if (!VerifyNote(parsed, key)) {
    return Fail(sqlstate::kIo, fmt::format("the checkpoint of {} is not signed by {}", checkpoint.origin, key.Text()),
                "somebody has replaced the checkpoint, or this is not the ledger's verifier key", "tlog.checkpoint");
  }
  return checkpoint;
}

NoteSignature Cosign(std::string_view text, const SigningKey& key, uint64_t seconds) {
  CHECK(key.verifier().type == SignatureType::cosignature);
  NoteSignature signature{key.verifier().name, key.verifier().id(), {}};
  AppendU64(signature.bytes, seconds);
  signature.bytes += key.Sign(CosignedMessage(text, seconds));
  return signature;
}

std::optional<uint64_t> VerifyCosignature(std::string_view text, const NoteSignature& signature,
                                          const VerifierKey& key) {
  if (key.type != SignatureType::cosignature || !signature.By(key) || signature.bytes.size() != 8 + 64) {
    return std::nullopt;
  }
  const uint64_t seconds = LoadU64(signature.bytes.data());
  if (seconds > static_cast<uint64_t>(INT64_MAX) ||
      !VerifyEd25519(key.key, CosignedMessage(text, seconds), std::string_view(signature.bytes).substr(8))) {
    return std::nullopt;
  }
  return seconds;
}

std::string AddCheckpoint::Text() const { return fmt::format("old {}\n{}\n{}", old_size, HashLines(proof), note); }

Result<AddCheckpoint> ParseAddCheckpoint(std::string_view body) {
  AddCheckpoint request;
  const auto first = TakeLine(body);
  const auto old_size = first && first->starts_with("old ") ? ReadDecimal(first->substr(4)) : std::nullopt;
  if (!old_size) return NotThis("witness", "its first line is not `old` and a size");
  auto proof = TakeHashes(body);
  if (!proof) return NotThis("witness", "an empty line must follow at most 63 lines of hashes");
  request.old_size = *old_size;
  request.proof = std::move(*proof);
  request.note = body;
  return request;
}

std::string TlogProof::Text() const {
  std::string text(kProofVersion);
  text += '\n';
  if (!extra.empty()) text += "extra " + Base64Encode(AsBytes(extra)) + "\n";
  return text + fmt::format("index {}\n{}\n{}", index, HashLines(hashes), note);
}

Result<TlogProof> ParseTlogProof(std::string_view text) {
  TlogProof proof;
  if (text.size() > limits::kNote * 2) return NotThis("proof", "it is too long");
  if (TakeLine(text) != kProofVersion) {
    return NotThis("proof", fmt::format("its first line is not {}", kProofVersion));
  }
  auto line = TakeLine(text);
  if (line && line->starts_with("extra ")) {
    const auto extra = Base64Decode(line->substr(6));
    if (!extra || extra->empty()) return NotThis("proof", "its extra data are not base64");
    proof.extra.assign(extra->begin(), extra->end());
    line = TakeLine(text);
  }
  const auto index = line && line->starts_with("index ") ? ReadDecimal(line->substr(6)) : std::nullopt;
  if (!index) return NotThis("proof", "it has no index");
  auto hashes = TakeHashes(text);
  if (!hashes) return NotThis("proof", "an empty line must follow at most 63 lines of hashes");
  proof.index = *index;
  proof.hashes = std::move(*hashes);
  proof.note = text;
  return proof;
}

}  // namespace ecluse
