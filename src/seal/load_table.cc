#include "seal/load_table.h"

#include <fmt/format.h>

#include <algorithm>
#include <span>
#include <utility>

#include "base/limits.h"
#include "ledger/people.h"
#include "policy/sealed_columns.h"
#include "seal/load_file.h"
#include "seal/load_rejects.h"
#include "seal/load_target.h"

namespace ecluse {
namespace {

// How far a file is done, as ecluse_sealed.loads has it.
struct Done {
  FilePlace place;  // where the next row begins
  uint64_t loaded = 0, rejected = 0;
  uint64_t rejects = 0;  // bytes of the side file
};

class Notes {
 public:
  Notes(Database& owner, std::string table, std::string sha256, std::string path)
      : owner_(owner), table_(std::move(table)), sha256_(std::move(sha256)), path_(std::move(path)) {}

  // nullopt: this file was not begun in this table. `ended`: it is through, and the ledger knows.
  Result<std::optional<Done>> Read(bool* ended) {
    ECLUSE_TRY(const Rows there, owner_.Query("SELECT to_regclass($1) IS NOT NULL", {Table()}));
    if (!there.True(0, 0)) return std::nullopt;
    ECLUSE_TRY(const Rows row, owner_.Query("SELECT bytes, line, loaded, rejected, rejects_bytes, ended IS NOT NULL, "
                                            "path FROM " +
                                                Table() + Where(),
                                            {table_, sha256_}));
    if (row.size() == 0) return std::nullopt;
    const auto number = [&](int column) { return static_cast<uint64_t>(std::atoll(row.Text(0, column).c_str())); };
    *ended = row.True(0, 5);
    if (!*ended && row.At(0, 6) != path_)
      return Fail(sqlstate::kInvalidParameter, "this file was begun as " + row.Text(0, 6),
                  "load it from there, so that its rejects stand in one file", "load.path");
    return Done{{number(0), number(1)}, number(2), number(3), number(4)};
  }

  Status Begin(const Done& done) {
    ECLUSE_OK(owner_.Run("BEGIN"));
    ECLUSE_TRY(const Rows there, owner_.Query("SELECT to_regnamespace($1) IS NOT NULL, to_regclass($2) IS NOT NULL",
                                              {QuoteName(kSealedSchema), Table()}));
    if (!there.True(0, 0)) ECLUSE_OK(owner_.Run("CREATE SCHEMA " + QuoteName(kSealedSchema)));
    if (!there.True(0, 1)) {
      ECLUSE_OK(owner_.Run("CREATE TABLE " + Table() +
                           " (table_name text, file_sha256 text, path text NOT NULL, bytes int8 NOT NULL, line int8 "
                           "NOT NULL, loaded int8 NOT NULL, rejected int8 NOT NULL, rejects_bytes int8 NOT NULL, "
                           "begun timestamptz NOT NULL DEFAULT now(), ended timestamptz, PRIMARY KEY (table_name, "
                           "file_sha256))"));
    }
    ECLUSE_OK(owner_.Query("INSERT INTO " + Table() +
                               " (table_name, file_sha256, path, bytes, line, loaded, rejected, rejects_bytes) VALUES "
                               "($1, $2, $3, $4, $5, 0, 0, 0)",
                           {table_, sha256_, path_, std::to_string(done.place.byte), std::to_string(done.place.line)}));
    return owner_.Run("COMMIT");
  }

  // In the transaction that is open.
  Status Write(const Done& before, const Done& now) {
    return One(owner_.Query(
        "UPDATE " + Table() + " SET bytes = $3, line = $4, loaded = $5, rejected = $6, " + "rejects_bytes = $7" +
            Where() + " AND bytes = $8 RETURNING 1",
        {table_, sha256_, std::to_string(now.place.byte), std::to_string(now.place.line), std::to_string(now.loaded),
         std::to_string(now.rejected), std::to_string(now.rejects), std::to_string(before.place.byte)}));
  }
  Status End() {
    return One(owner_.Query("UPDATE " + Table() + " SET ended = now()" + Where() + " RETURNING 1", {table_, sha256_}));
  }

 private:
  static std::string Table() { return QuoteTable({std::string(kSealedSchema), "loads"}); }
  static std::string Where() { return " WHERE table_name = $1 AND file_sha256 = $2"; }
  static Status One(const Result<Rows>& rows) {
    if (!rows) return std::unexpected(rows.error());
    if (rows->size() == 1) return {};
    return Fail(sqlstate::kInternal, "somebody changed ecluse_sealed.loads meanwhile", "run this again", "load.notes");
  }

  Database& owner_;
  const std::string table_, sha256_, path_;
};

struct Pending {
  uint64_t line = 0;
  RowValues row;
  std::string subject{};
};

class Loader {
 public:
  Loader(Database& owner, const LoadTarget& target, const RowReader& reader, LoadFile& file, RejectFile& rejects,
         Notes& notes, Done done)
      : owner_(owner), target_(target), reader_(reader), file_(file), rejects_(rejects), notes_(notes), done_(done) {
    file_.Seek(done_.place);
  }

  const Done& done() const { return done_; }

  // The next rows of the file. False at its end.
  Result<bool> Batch() {
    std::vector<Pending> rows;
    rejected_.clear();
    stored_ = 0;
    ECLUSE_TRY(const bool any, Take(&rows));
    if (!any) return false;
    ECLUSE_OK(Seal(&rows));
    // What is put off to the end of a transaction would fail it as a whole.
    ECLUSE_OK(owner_.Run("BEGIN; SET CONSTRAINTS ALL IMMEDIATE"));
    if (!rows.empty()) ECLUSE_OK(Store(rows));
    Done now = done_;
    now.place = file_.place();
    now.rejected += rejected_.size();
    now.loaded += stored_;
    std::ranges::sort(rejected_);
    for (const auto& [line, reason] : rejected_) rejects_.Add(line, reason);
    ECLUSE_OK(rejects_.Sync());
    now.rejects = rejects_.size();
    ECLUSE_OK(notes_.Write(done_, now));
    ECLUSE_OK(owner_.Run("COMMIT"));
    done_ = now;
    return true;
  }

 private:
  void Reject(uint64_t line, std::string reason) { rejected_.emplace_back(line, std::move(reason)); }

  // False: there is none left.
  Result<bool> Take(std::vector<Pending>* rows) {
    bool any = false;
    uint64_t bytes = 0;
    while (rows->size() < limits::kLoadBatchRows && bytes < limits::kLoadBatchBytes &&
           rejected_.size() < limits::kLoadBatchRows) {
      ECLUSE_TRY(const auto row, file_.Next());
      if (!row) return any;
      any = true;
      bytes += row->text.size();
      auto values = reader_.Read(row->text);
      if (values)
        rows->push_back({row->at.line, std::move(*values), {}});
      else
        Reject(row->at.line, values.error().message);
    }
    return true;
  }

  Status Seal(std::vector<Pending>* rows) {
    const auto drawing = static_cast<size_t>(
        std::ranges::count_if(*rows, [&](const Pending& pending) { return target_.Draws(pending.row); }));
    std::vector<std::string> numbers;
    if (drawing > 0) {
      ECLUSE_TRY(numbers, target_.Draw(owner_, drawing));
    }
    size_t drawn = 0;
    std::vector<std::string> subjects;
    ECLUSE_OK(Each(rows, [&](Pending& pending, std::string* column) -> Status {
      if (target_.Draws(pending.row)) target_.SetDrawn(&pending.row, std::move(numbers[drawn++]));
      if (pending.row.columns.empty()) return {};
      ECLUSE_TRY(pending.subject, target_.SubjectOf(&pending.row, column));
      if (!pending.subject.empty()) subjects.push_back(pending.subject);
      return {};
    }));
    ECLUSE_TRY(const OwnKeys own, target_.TakeOwnKeys(subjects));
    return Each(rows, [&](Pending& pending, std::string* column) {
      return target_.Seal(&pending.row, pending.subject, own, column);
    });
  }

  // Those of the rows that `make` does not refuse.
  Status Each(std::vector<Pending>* rows, const std::function<Status(Pending&, std::string* column)>& make) {
    std::vector<Pending> made;
    for (Pending& pending : *rows) {
      std::string column;
      Status done = make(pending, &column);
      if (done && pending.row.columns.empty()) {
        Reject(pending.line, "the row has no values");  // COPY takes no row without columns
      } else if (done) {
        made.push_back(std::move(pending));
      } else if (const std::string& state = done.error().sqlstate; SpeaksOfTheRow(state) || state.starts_with("54")) {
        Reject(pending.line, RejectReason(state, column, {}));
      } else {
        return done;
      }
    }
    *rows = std::move(made);
    return {};
  }

  // Those of the rows that PostgreSQL takes; the others are found by halving.
  Status Store(std::span<const Pending> rows) {
    Database::Refused refused;
    ECLUSE_OK(owner_.Run("SAVEPOINT rows"));
    const Status done = Copy(rows, &refused);
    if (done) {
      stored_ += rows.size();
      return owner_.Run("RELEASE SAVEPOINT rows");
    }
    if (!SpeaksOfTheRow(done.error().sqlstate)) return done;
    ECLUSE_OK(owner_.Run("ROLLBACK TO SAVEPOINT rows; RELEASE SAVEPOINT rows"));
    if (rows.size() == 1) {
      Reject(rows[0].line, RejectReason(done.error().sqlstate, refused.column, refused.constraint));
      return {};
    }
    const size_t half = rows.size() / 2;
    ECLUSE_OK(Store(rows.first(half)));
    return Store(rows.subspan(half));
  }

  // All of them, in their order: rows behind one another that have the same columns by one COPY.
  Status Copy(std::span<const Pending> rows, Database::Refused* refused) {
    for (size_t first = 0; first < rows.size();) {
      size_t end = first;
      std::string data;
      for (; end < rows.size() && rows[end].row.columns == rows[first].row.columns; ++end) {
        const CopyValues& values = rows[end].row.values;
        for (size_t i = 0; i < values.size(); ++i) {
          if (i > 0) data += '\t';
          if (values[i])
            AppendCopyText(data, *values[i], '\t');
          else
            data += "\\N";
        }
        data += '\n';
      }
      ECLUSE_TRY(const uint64_t count,
                 owner_.CopyIn(target_.table(), target_.Names(rows[first].row.columns), data, refused));
      if (count != end - first) return Fail("P0001", "a trigger leaves rows out");
      first = end;
    }
    return {};
  }

  Database& owner_;
  const LoadTarget& target_;
  const RowReader& reader_;
  LoadFile& file_;
  RejectFile& rejects_;
  Notes& notes_;
  Done done_;
  std::vector<std::pair<uint64_t, std::string>> rejected_;  // of this batch: line and reason
  uint64_t stored_ = 0;                                     // of this batch
};

}  // namespace

Result<LoadReport> LoadTable(Database& owner, KeyRing& keys, const LoadOptions& options) {
  const std::string table = options.table.Text();
  ECLUSE_TRY(const LoadTarget target, LoadTarget::Read(owner, keys, options.policy, options.table));
  const auto shown = [&](const std::string& what, uint64_t done, uint64_t all) {
    if (options.progress) options.progress(what, done, all);
  };
  ECLUSE_TRY(LoadFile file, LoadFile::Open(RealFiles(), options.path,
                                           [&](uint64_t rows) { shown("reading " + options.path, rows, 0); }));
  Result<RowReader> reader = RowReader::Jsonl(target.columns());
  if (file.format() == LoadFormat::csv) {
    reader = RowReader::Csv(file.header(), target.columns());
    if (!reader) return std::unexpected(reader.error());
    ECLUSE_OK(target.CheckHeader(reader->header()));
  }

  Notes notes(owner, table, file.sha256(), options.path);
  bool ended = false;
  ECLUSE_TRY(std::optional<Done> done, notes.Read(&ended));
  LoadReport report;
  report.rejects = options.path + ".rejected";
  if (ended) {
    report.before = true;
    report.loaded = done->loaded;
    report.rejected = done->rejected;
    return report;
  }
  const std::string what = fmt::format("{}{} from a file of SHA-256 {}", kLoadEntry, table, file.sha256());
  ECLUSE_TRY(RejectFile rejects,
             RejectFile::Open(RealFiles(), report.rejects, done ? done->rejects : 0, done.has_value()));
  if (done) {
    ECLUSE_OK(options.tell(fmt::format("{}: gone on with at line {}", what, done->place.line), 0));
  } else {
    done = Done{file.first(), 0, 0, 0};
    ECLUSE_OK(options.tell(fmt::format("{}: begun, {} rows", what, file.rows()), 0));
    ECLUSE_OK(notes.Begin(*done));
  }
  Loader loader(owner, target, *reader, file, rejects, notes, *done);
  while (true) {
    auto more = loader.Batch();
    if (!more) {
      Error error = std::move(more).error();
      error.hint += (error.hint.empty() ? "" : "; ");
      error.hint += fmt::format("{} rows are loaded; run the same command again, and it goes on", loader.done().loaded);
      return std::unexpected(std::move(error));
    }
    if (!*more) break;
    shown("loading " + table, loader.done().loaded + loader.done().rejected, file.rows());
  }
  report.loaded = loader.done().loaded;
  report.rejected = loader.done().rejected;
  ECLUSE_OK(options.tell(fmt::format("{}: ended, {} rows rejected", what, report.rejected), report.loaded));
  ECLUSE_OK(notes.End());
  return report;
}

}  // namespace ecluse
