#include "tlog/witness.h"

#include <algorithm>

namespace ecluse {
namespace {

WitnessAnswer Refuse(unsigned status, std::string why) { return {status, std::move(why) + "\n"}; }

WitnessAnswer Conflict(const Checkpoint& last) { return {409, std::to_string(last.size) + "\n", "text/x.tlog.size"}; }

}  // namespace

Witness::Witness(SigningKey key, const std::vector<VerifierKey>& logs, Remember remember)
    : key_(std::move(key)), remember_(std::move(remember)) {
  for (const VerifierKey& log : logs) {
    Log& one = logs_[log.name];
    one.keys.push_back(log);
    one.last = {log.name, 0, EmptyRoot()};
  }
}

bool Witness::Signed(const Note& note, const Log& log) {
  return std::ranges::any_of(log.keys, [&](const VerifierKey& key) { return VerifyNote(note, key); });
}

Status Witness::Recall(const std::string& text) {
  ECLUSE_TRY(Note note, ParseNote(text));
  ECLUSE_TRY(Checkpoint checkpoint, ParseCheckpoint(note.text));
  std::lock_guard lock(mutex_);
  auto log = logs_.find(checkpoint.origin);
  if (log == logs_.end()) return {};  // a log that is not witnessed any more
  if (!Signed(note, log->second))
    return Fail(sqlstate::kIo, "what is remembered of " + checkpoint.origin + " was signed by none of the log's keys",
                "give the key that signed it too (--log), or find out who altered it", "witness.state");
  log->second.last = std::move(checkpoint);
  log->second.note = text;
  return {};
}

WitnessAnswer Witness::Add(std::string_view body, uint64_t seconds) {
  auto request = ParseAddCheckpoint(body);
  if (!request) return Refuse(400, request.error().message);
  auto note = ParseNote(request->note);
  if (!note) return Refuse(400, note.error().message);
  auto checkpoint = ParseCheckpoint(note->text);
  if (!checkpoint) return Refuse(400, checkpoint.error().message);

  // One at a time: between looking at what is known and remembering the next nobody else may come.
  std::lock_guard lock(mutex_);
  auto found = logs_.find(checkpoint->origin);
  if (found == logs_.end()) return Refuse(404, "this log is not witnessed here");
  Log& log = found->second;
  if (!Signed(*note, log)) return Refuse(403, "no key of this log has signed the checkpoint");
  if (request->old_size > checkpoint->size) return Refuse(400, "the old size is larger than the checkpoint's");
  if (request->old_size != log.last.size) return Conflict(log.last);
  if (checkpoint->size == log.last.size && checkpoint->root != log.last.root) return Conflict(log.last);
  if (!VerifyConsistency(log.last.size, log.last.root, checkpoint->size, checkpoint->root, request->proof))
    return {422, log.note.empty() ? "the proof does not lead from the empty tree to this one\n" : log.note};
  if (Status kept = remember_(checkpoint->origin, request->note); !kept)
    return Refuse(500, "the checkpoint cannot be remembered, so it is not cosigned");
  log.last = std::move(*checkpoint);
  log.note = request->note;
  return {200, Cosign(note->text, key_, seconds).Line()};
}

}  // namespace ecluse
