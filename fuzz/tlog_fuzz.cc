// Notes, checkpoints, requests to witnesses, proofs, tile paths, bundles and entries, as anybody may send or leave
// them: nothing crashes, and what is read is written again as it was.
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "ledger/facts.h"
#include "ledger/people.h"
#include "ledger/record.h"
#include "tlog/checkpoint.h"
#include "tlog/note.h"
#include "tlog/tile.h"
#include "tlog/witness.h"

using namespace ecluse;

namespace {

void Require(bool held) {
  if (!held) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  // Base64 and key ids have one spelling, so whole texts come back; but for lines behind a checkpoint's first three.
  if (const auto note = ParseNote(text)) {
    Require(note->Text() == text);
    (void)OpenCheckpoint(text, VerifierKey{"reg/gate", SignatureType::ed25519, {}});
    for (const NoteSignature& signature : note->signatures)
      (void)VerifyCosignature(note->text, signature, VerifierKey{signature.name, SignatureType::cosignature, {}});
  }
  if (const auto checkpoint = ParseCheckpoint(text)) Require(text.starts_with(checkpoint->Text()));
  if (const auto request = ParseAddCheckpoint(text)) Require(request->Text() == text);
  // Signed by the key of the corpus, or by nobody.
  const Hash log = Sha256("reg/gate"), own = Sha256("witness.example/1");
  Witness witness(SigningKey("witness.example/1", SignatureType::cosignature, Secret(std::span<const uint8_t>(own))),
                  {SigningKey("reg/gate", SignatureType::ed25519, Secret(std::span<const uint8_t>(log))).verifier()},
                  [](const std::string&, const std::string&) { return Status(); });
  const WitnessAnswer answer = witness.Add(text, 1);
  Require(answer.body.ends_with('\n') && (answer.status != 200 || ParseSignatureLines(answer.body)));
  if (const auto proof = ParseTlogProof(text)) {
    Require(proof->Text() == text);
    (void)VerifyInclusion(Hash{}, proof->index, proof->index + 1, proof->hashes, Hash{});
    (void)VerifyConsistency(proof->index / 2, Hash{}, proof->index, Hash{}, proof->hashes);
  }
  if (const auto tile = ParseTilePath(text)) Require(TilePath(*tile) == text);
  if (const auto key = ParseVerifierKey(text)) Require(text.starts_with(key->Text()));
  if (!text.empty()) {
    const uint64_t width = data[0] % kTileWidth;
    if (const auto bundle = ReadBundle(text.substr(1), width)) {
      std::string again;
      for (const std::string_view entry : *bundle) AppendToBundle(again, entry);
      Require(again == text.substr(1));
    }
  }
  (void)EntryTime(text);
  (void)ReadPersonEntry(text);
  (void)ReadKeyEntry(text);
  // The same bytes stand outside and inside.
  if (const auto facts = ReadFacts(1, text, text)) Require(facts->People().size() <= size);
  (void)ReadRecord({data, size}, LedgerId{});
  return 0;
}
