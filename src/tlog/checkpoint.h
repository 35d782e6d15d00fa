// Checkpoints (C2SP tlog-checkpoint), what witnesses sign of them (tlog-cosignature), what they are asked
// (tlog-witness), and proofs that stand alone (tlog-proof).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "tlog/note.h"
#include "tlog/tree.h"

namespace ecluse {

struct Checkpoint {
  std::string origin;
  uint64_t size = 0;
  Hash root{};

  std::string Text() const;  // three lines: we write no extensions
  friend bool operator==(const Checkpoint&, const Checkpoint&) = default;
};
// The first three lines of a note's text; lines behind them are not looked at.
Result<Checkpoint> ParseCheckpoint(std::string_view text);

// A checkpoint that `key` signed; refuses any other, and one of another origin than the key's name.
Result<Checkpoint> OpenCheckpoint(std::string_view note, const VerifierKey& key);

// A cosignature over a checkpoint's text; `key` of type cosignature, `seconds` since 1970.
NoteSignature Cosign(std::string_view text, const SigningKey& key, uint64_t seconds);
// When `key` cosigned, or nullopt where this is no cosignature of its.
std::optional<uint64_t> VerifyCosignature(std::string_view text, const NoteSignature& signature,
                                          const VerifierKey& key);

// What `add-checkpoint` carries.
struct AddCheckpoint {
  uint64_t old_size = 0;
  std::vector<Hash> proof;
  std::string note;

  std::string Text() const;
};
inline constexpr size_t kMostProofLines = 63;
Result<AddCheckpoint> ParseAddCheckpoint(std::string_view body);

// That an entry is in a tree, verifiable without the ledger.
struct TlogProof {
  uint64_t index = 0;
  std::vector<Hash> hashes;
  std::string note;   // the checkpoint, with its signatures
  std::string extra;  // of the application; nothing vouches for it

  std::string Text() const;
};
Result<TlogProof> ParseTlogProof(std::string_view text);

}  // namespace ecluse
