#include "ledger/store.h"

#include <fmt/format.h>
#include <rocksdb/db.h>
#include <rocksdb/filter_policy.h>
#include <rocksdb/options.h>
#include <rocksdb/sst_file_writer.h>
#include <rocksdb/table.h>
#include <rocksdb/write_batch.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <set>
#include <thread>
#include <utility>

#include "base/file.h"

namespace ecluse {
namespace {

constexpr int kTries = 4;

std::unexpected<Error> Failed(const std::string& path, const rocksdb::Status& status) {
  return Fail(sqlstate::kIo,
              status.IsNoSpace() ? "the disk of the gate's key store is full" : "the gate's key store is not available",
              status.IsNoSpace() ? "free space on the gate's disk, then restart the gate"
                                 : "see the gate's log, mend the disk, then restart the gate",
              "ledger.store", fmt::format("{}: {}", path, status.ToString()));
}

std::set<std::string> LogsIn(const std::string& path) {
  std::set<std::string> names;
  std::error_code none;
  for (std::filesystem::directory_iterator file(path, none), end; !none && file != end; file.increment(none))
    if (file->path().extension() == ".log") names.insert(file->path().filename());
  return names;
}

rocksdb::Options OptionsFor(Store::Mode mode) {
  rocksdb::Options options;
  options.create_if_missing = mode == Store::Mode::create;
  options.paranoid_checks = true;
  // A torn last record is what a crash leaves; what is seen to be missing in the middle refuses the start.
  options.wal_recovery_mode = rocksdb::WALRecoveryMode::kTolerateCorruptedTailRecords;
  options.write_buffer_size = 128 * 1024;  // who opens it beside the gate reads the log that this bounds
  // Files as small as that are merged with their like, many at once, and are not waited for while more come.
  options.compaction_style = rocksdb::kCompactionStyleUniversal;
  options.level0_file_num_compaction_trigger = 10;
  options.level0_slowdown_writes_trigger = 256;
  options.level0_stop_writes_trigger = 256;
  options.target_file_size_base = 256 << 20;
  options.max_manifest_file_size = 64 * 1024;     // read whole by whoever opens it
  options.compression = rocksdb::kNoCompression;  // keys, tokens and ciphertext do not shrink
  rocksdb::BlockBasedTableOptions table;
  table.filter_policy.reset(rocksdb::NewBloomFilterPolicy(10));
  // In pieces that are read when they are needed: what is read of a file when it is opened does not grow with it.
  table.index_type = rocksdb::BlockBasedTableOptions::kTwoLevelIndexSearch;
  table.partition_filters = true;
  table.cache_index_and_filter_blocks = true;
  table.data_block_index_type = rocksdb::BlockBasedTableOptions::kDataBlockBinaryAndHash;
  options.table_factory.reset(rocksdb::NewBlockBasedTableFactory(table));
  options.max_write_buffer_number = 2;
  // Who reads beside a writer opens every file at once: it may be gone later.
  options.max_open_files = mode == Store::Mode::read_only ? -1 : 256;
  options.keep_log_file_num = 2;
  options.max_log_file_size = 1 << 20;
  options.info_log_level = rocksdb::InfoLogLevel::WARN_LEVEL;
  options.stats_dump_period_sec = 0;
  return options;
}

}  // namespace

Store::Store(std::string path, std::unique_ptr<rocksdb::DB> db) : path_(std::move(path)), db_(std::move(db)) {}
Store::~Store() = default;

Result<std::unique_ptr<Store>> Store::Open(const std::string& path, Mode mode) {
  rocksdb::DB* db = nullptr;
  rocksdb::Options options = OptionsFor(mode);
  rocksdb::Status status;
  if (mode == Mode::read_only) {
    // Files of a store that is being written go while it is opened. Of a log that went after the manifest was read
    // nobody would miss the rows: logs go in their order, so it is seen by those that were there before.
    for (int tries = 0; tries < kTries; ++tries) {
      const std::set<std::string> before = LogsIn(path);
      status = rocksdb::DB::OpenForReadOnly(options, path, &db);
      if (!status.ok()) continue;
      if (std::ranges::includes(LogsIn(path), before)) break;
      delete std::exchange(db, nullptr);
      std::this_thread::sleep_for(std::chrono::milliseconds(10 << tries));
      status = rocksdb::Status::TryAgain("its logs go faster than they can be read");
    }
  } else {
    status = rocksdb::DB::Open(options, path, &db);
  }
  if (!status.ok()) return Failed(path, status);
  return std::unique_ptr<Store>(new Store(path, std::unique_ptr<rocksdb::DB>(db)));
}

Status Store::Destroy(const std::string& path) {
  rocksdb::Status status = rocksdb::DestroyDB(path, OptionsFor(Mode::existing));
  if (!status.ok()) return Failed(path, status);
  return {};
}

Result<std::optional<std::string>> Store::Get(std::string_view key) const {
  std::string value;
  rocksdb::Status status = db_->Get({}, rocksdb::Slice(key.data(), key.size()), &value);
  if (status.IsNotFound()) return std::nullopt;
  if (!status.ok()) return Failed(path_, status);
  return value;
}

Result<bool> Store::Empty() const {
  std::unique_ptr<rocksdb::Iterator> at(db_->NewIterator({}));
  at->SeekToFirst();
  if (!at->status().ok()) return Failed(path_, at->status());
  return !at->Valid();
}

Result<std::vector<std::optional<std::string>>> Store::GetMany(std::span<const std::string> keys) const {
  std::vector<rocksdb::Slice> slices(keys.begin(), keys.end());
  std::vector<std::string> values;
  std::vector<rocksdb::Status> statuses = db_->MultiGet({}, slices, &values);
  std::vector<std::optional<std::string>> out(keys.size());
  for (size_t i = 0; i < keys.size(); ++i) {
    if (statuses[i].ok()) {
      out[i] = std::move(values[i]);
    } else if (!statuses[i].IsNotFound()) {
      return Failed(path_, statuses[i]);
    }
  }
  return out;
}

Status Store::Put(std::span<const std::pair<std::string, std::string>> pairs, bool sync) {
  // In their order, no key twice: each then finds its place from where the one before it stands.
  std::vector<const std::pair<std::string, std::string>*> sorted;
  for (const auto& pair : pairs) sorted.push_back(&pair);
  std::ranges::sort(sorted, {},
                    [](const auto* pair) { return std::pair<const std::string&, const void*>(pair->first, pair); });
  rocksdb::WriteBatch batch;
  for (const auto* pair : sorted) {
    if (rocksdb::Status status = batch.Put(pair->first, pair->second); !status.ok()) return Failed(path_, status);
  }
  rocksdb::WriteOptions options;
  options.sync = sync;
  if (rocksdb::Status status = db_->Write(options, &batch); !status.ok()) return Failed(path_, status);
  return {};
}

Status Store::Remove(std::span<const std::string> keys) {
  rocksdb::WriteBatch batch;
  for (const std::string& key : keys) {
    if (rocksdb::Status status = batch.Delete(key); !status.ok()) return Failed(path_, status);
  }
  rocksdb::WriteOptions options;
  options.sync = true;
  if (rocksdb::Status status = db_->Write(options, &batch); !status.ok()) return Failed(path_, status);
  return {};
}

Status Store::Compact() {
  rocksdb::CompactRangeOptions options;
  options.bottommost_level_compaction = rocksdb::BottommostLevelCompaction::kForce;
  if (rocksdb::Status status = db_->CompactRange(options, nullptr, nullptr); !status.ok()) return Failed(path_, status);
  return {};
}

Status Store::CompactAround(std::string_view key) {
  rocksdb::CompactRangeOptions options;
  options.bottommost_level_compaction = rocksdb::BottommostLevelCompaction::kForce;
  const rocksdb::Slice at(key.data(), key.size());
  if (rocksdb::Status status = db_->CompactRange(options, &at, &at); !status.ok()) return Failed(path_, status);
  return {};
}

Status Store::Visit(std::string_view first, std::string_view end,
                    const std::function<bool(std::string_view key, std::string_view value)>& visit) const {
  rocksdb::ReadOptions options;
  const rocksdb::Slice upper(end.data(), end.size());
  options.iterate_upper_bound = &upper;
  std::unique_ptr<rocksdb::Iterator> at(db_->NewIterator(options));
  for (at->Seek(rocksdb::Slice(first.data(), first.size())); at->Valid(); at->Next()) {
    if (!visit({at->key().data(), at->key().size()}, {at->value().data(), at->value().size()})) return {};
  }
  if (!at->status().ok()) return Failed(path_, at->status());
  return {};
}

Status Store::Ingest(std::vector<std::pair<std::string, std::string>> pairs) {
  if (pairs.empty()) return {};
  std::ranges::sort(pairs, {}, &std::pair<std::string, std::string>::first);
  const std::string file = path_ + "/filling";
  rocksdb::SstFileWriter writer({}, db_->GetOptions());
  if (rocksdb::Status status = writer.Open(file); !status.ok()) return Failed(path_, status);
  for (size_t i = 0; i < pairs.size(); ++i) {
    if (i + 1 < pairs.size() && pairs[i].first == pairs[i + 1].first) continue;
    if (rocksdb::Status status = writer.Put(pairs[i].first, pairs[i].second); !status.ok())
      return Failed(path_, status);
  }
  if (rocksdb::Status status = writer.Finish(); !status.ok()) return Failed(path_, status);
  rocksdb::IngestExternalFileOptions options;
  options.move_files = true;
  if (rocksdb::Status status = db_->IngestExternalFile({file}, options); !status.ok()) return Failed(path_, status);
  return {};
}

Status Store::CheckFiles() const {
  std::unique_ptr<rocksdb::LogFile> log;
  struct stat st{};
  std::string current = path_ + "/CURRENT";
  if (stat(current.c_str(), &st) != 0) return std::unexpected(IoError("look at the key store", current, errno));
  if (rocksdb::Status status = db_->GetCurrentWalFile(&log); !status.ok()) return Failed(path_, status);
  std::string wal = path_ + log->PathName();
  if (stat(wal.c_str(), &st) != 0) return std::unexpected(IoError("look at the key store", wal, errno));
  return {};
}

}  // namespace ecluse
