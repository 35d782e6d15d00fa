#include "seal/load_file.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "base/limits.h"
#include "seal/load_rejects.h"

namespace ecluse {
namespace {

const std::vector<FileColumn> kColumns = {{"id", false}, {"name", false}, {"about", true}};

struct Cut {
  std::vector<std::pair<uint64_t, std::string>> rows;  // line and text
  std::string error;
  friend bool operator==(const Cut&, const Cut&) = default;
};

Cut CutInto(LoadFormat format, std::string_view bytes, size_t piece) {
  Cut cut;
  RowCutter cutter(format);
  for (size_t at = 0;; at += piece) {
    const bool end = at + piece >= bytes.size();
    if (at < bytes.size()) cutter.Add(bytes.substr(at, piece));
    while (true) {
      const auto row = cutter.Next(end);
      if (!row) {
        cut.error = row.error().message;
        return cut;
      }
      if (!*row) break;
      cut.rows.emplace_back((*row)->at.line, (*row)->text);
    }
    if (end) break;
  }
  EXPECT_EQ(cutter.place().byte, bytes.size());
  return cut;
}

void ExpectCut(LoadFormat format, std::string_view bytes, const Cut& expected) {
  for (size_t piece = 1; piece <= bytes.size() + 1; ++piece)
    EXPECT_EQ(CutInto(format, bytes, piece), expected) << "pieces of " << piece;
}

TEST(LoadFile, RowsBeginAtTheLineAnEditorShows) {
  ExpectCut(LoadFormat::csv, "a,b\r\n1,\"two\nlines, and\r\nthree\"\n\n4,\"say \"\"x\"\"\"",
            {{{1, "a,b"}, {2, "1,\"two\nlines, and\r\nthree\""}, {5, ""}, {6, "4,\"say \"\"x\"\"\""}}, ""});
  ExpectCut(LoadFormat::csv, "a\rb\r", {{{1, "a"}, {2, "b"}}, ""});
  ExpectCut(LoadFormat::jsonl, "{\"a\": \"\\\"\"}\r\n\n{}", {{{1, "{\"a\": \"\\\"\"}"}, {2, ""}, {3, "{}"}}, ""});
}

TEST(LoadFile, AnOpenQuoteAndALongRowAreRefusedWithTheirLine) {
  ExpectCut(LoadFormat::csv, "a\n\"b\nc\n",
            {{{1, "a"}}, "the quote of a value in the row that begins at line 2 has no end"});
  RowCutter cutter(LoadFormat::jsonl);
  std::string long_row = "{}\n" + std::string(limits::kLoadRow + 1, ' ');
  cutter.Add(long_row);
  ASSERT_TRUE(cutter.Next(false).has_value());
  const auto row = cutter.Next(false);
  ASSERT_FALSE(row.has_value());
  EXPECT_EQ(row.error().sqlstate, "54000");
  EXPECT_TRUE(row.error().message.contains("line 2"));
}

TEST(LoadFile, TheHeaderNamesColumnsOnce) {
  const auto reader = RowReader::Csv("name,\"id\"", kColumns);
  ASSERT_TRUE(reader.has_value());
  EXPECT_EQ(reader->header(), (std::vector<int>{1, 0}));
  const auto row = reader->Read(",\"\"");
  ASSERT_TRUE(row.has_value());
  EXPECT_EQ(row->values, (CopyValues{std::nullopt, ""})) << "unquoted it is NULL, quoted the empty text";
  for (const std::string_view bad : {"id,nobody", "id,name,id", "id,", "id, name", "", "\"id", "id,na\xFFme"})
    EXPECT_FALSE(RowReader::Csv(bad, kColumns).has_value()) << bad;
}

std::string Refused(const RowReader& reader, std::string_view row) {
  const auto read = reader.Read(row);
  return read ? "" : read.error().message;
}

TEST(LoadFile, RowsThatAreNone) {
  const RowReader csv = *RowReader::Csv("id,name", kColumns);
  EXPECT_EQ(Refused(csv, "SECRET"), "1 values for 2 columns");
  EXPECT_EQ(Refused(csv, "1,2,SECRET"), "3 values for 2 columns");
  EXPECT_EQ(Refused(csv, "1,\xC3\x28"), "the row is not UTF-8");
  EXPECT_EQ(Refused(csv, std::string_view("1,a\0b", 5)), "a value holds a zero byte");
  const RowReader jsonl = RowReader::Jsonl(kColumns);
  for (const std::string_view none :
       {"", "SECRET", "7", "\"SECRET\"", "[]", "null", "{\"id\": 1", "{\"id\": 1} 2", "{\"id\" 1}", "{\"id\": 01}",
        "{\"id\": \"\\ud800\"}", "{'id': 1}", "{\"id\": 1,}", "{}{}"})
    EXPECT_EQ(Refused(jsonl, none), "the line is no JSON object") << none;
  EXPECT_EQ(Refused(jsonl, "{\"SECRET\": 1}"), "a member is no column that can be loaded");
  EXPECT_EQ(Refused(jsonl, "{\"id\": 1, \"id\": 1}"), "a member stands there twice");
  EXPECT_EQ(Refused(jsonl, "{\"id\": [1]}"), "an array or object stands where its column is not json");
  EXPECT_EQ(Refused(jsonl, "{\"id\": \"a\\u0000b\"}"), "a value holds a zero byte");
  std::string deep(2'000, '[');
  EXPECT_NE(Refused(jsonl, "{\"about\": " + deep + std::string(2'000, ']') + "}"), "");
}

TEST(LoadFile, JsonKeepsHowNumbersAreSpelled) {
  const RowReader reader = RowReader::Jsonl(kColumns);
  const auto row = reader.Read("{\"name\": 123456789012345678901234567890.10, \"id\": -1e2} ");
  ASSERT_TRUE(row.has_value());
  EXPECT_EQ(row->columns, (std::vector<int>{0, 1}));
  EXPECT_EQ(row->values, (CopyValues{"-1e2", "123456789012345678901234567890.10"}));
  const auto scalars = reader.Read("{\"id\": true, \"name\": \"caf\\u00e9 \\n\\\"\", \"about\": null}");
  ASSERT_TRUE(scalars.has_value());
  EXPECT_EQ(scalars->values, (CopyValues{"true", "café \n\"", std::nullopt}));
  const auto about = [&](const std::string& json) {
    const auto read = reader.Read("{\"about\":" + json + "}");
    return read ? read->values[0].value_or("NULL") : read.error().message;
  };
  EXPECT_EQ(about(" { \"a\" : [ 1.00 , { } , [ ] , \"x\\ty\" , false , null ] , \"b\" : 1E400 } "),
            "{\"a\":[1.00,{},[],\"x\\ty\",false,null],\"b\":1E400}");
  EXPECT_EQ(about("\"text\""), "\"text\"") << "a text is one of JSON, and is not read as JSON";
  EXPECT_EQ(about("12"), "12");
  EXPECT_TRUE(reader.Read("{}").has_value());
}

class LoadFileOnDisk : public testing::Test {
 protected:
  LoadFileOnDisk() {
    std::string pattern = (std::filesystem::temp_directory_path() / "ecluse-load-XXXXXX").string();
    folder = mkdtemp(pattern.data());
  }
  ~LoadFileOnDisk() override { std::filesystem::remove_all(folder); }
  std::string Write(const std::string& name, const std::string& content) {
    std::ofstream(folder + "/" + name, std::ios::binary) << content;
    return folder + "/" + name;
  }
  std::string folder;
};

TEST_F(LoadFileOnDisk, IsReadFromAnyRowOn) {
  std::string content = "\xEF\xBB\xBFid,name\n";
  for (int i = 0; i < 300'000; ++i) content += std::to_string(i) + ",\"some\nname " + std::to_string(i * 7) + "\"\n";
  ASSERT_GT(content.size(), limits::kLoadBlock + 100);
  const std::string path = Write("people.csv", content);
  auto file = LoadFile::Open(RealFiles(), path, {});
  ASSERT_TRUE(file.has_value()) << file.error().message;
  EXPECT_EQ(file->header(), "id,name");
  EXPECT_EQ(file->rows(), 300'000u);
  std::vector<FilePlace> places;
  file->Seek(file->first());
  while (true) {
    const auto row = file->Next();
    ASSERT_TRUE(row.has_value());
    if (!*row) break;
    places.push_back((*row)->at);
  }
  ASSERT_EQ(places.size(), 300'000u);
  EXPECT_EQ(file->place().byte, content.size());
  for (const size_t number : {size_t{0}, size_t{1}, size_t{150'000}, size_t{299'999}}) {
    EXPECT_EQ(places[number].line, 2 + 2 * number);
    file->Seek(places[number]);
    const auto row = file->Next();
    ASSERT_TRUE(row.has_value() && row->has_value());
    EXPECT_TRUE((*row)->text.starts_with(std::to_string(number) + ",")) << (*row)->text;
  }
  // A byte that changes behind its back, and a file that is cut.
  {
    std::fstream change(path, std::ios::in | std::ios::out | std::ios::binary);
    change.seekp(static_cast<std::streamoff>(limits::kLoadBlock + 5));
    change.put('#');
  }
  file->Seek(file->first());
  Result<std::optional<FileRow>> row = std::optional<FileRow>();
  uint64_t read = 0;
  do row = file->Next();
  while (row && *row && ++read);
  ASSERT_FALSE(row.has_value());
  EXPECT_EQ(row.error().rule, "load.changed");
  EXPECT_GT(read, 0u);
  std::filesystem::resize_file(path, limits::kLoadBlock / 2);
  file->Seek(file->first());
  EXPECT_FALSE(file->Next().has_value());
}

TEST_F(LoadFileOnDisk, RefusesWhatCannotBeGoneOnWith) {
  const auto refused = [&](const std::string& path) { return !LoadFile::Open(RealFiles(), path, {}).has_value(); };
  EXPECT_TRUE(refused(Write("empty.csv", "")));
  EXPECT_TRUE(refused(Write("people.txt", "id\n1\n")));
  EXPECT_TRUE(refused(folder + "/nothing.csv"));
  std::filesystem::create_directory(folder + "/folder.csv");
  EXPECT_TRUE(refused(folder + "/folder.csv"));
  EXPECT_TRUE(refused(Write("open.csv", "id\n1\n\"2\n")));
  EXPECT_FALSE(refused(Write("header.csv", "id")));
}

TEST_F(LoadFileOnDisk, TheSideFileIsGoneOnWith) {
  const std::string path = folder + "/people.csv.rejected";
  const auto content = [&] { return *ReadWholeFile(RealFiles(), path, 10'000); };
  {
    auto rejects = RejectFile::Open(RealFiles(), path, 0, false);
    ASSERT_TRUE(rejects.has_value());
    ASSERT_TRUE(rejects->Sync().has_value());
    EXPECT_FALSE(std::filesystem::exists(path)) << "made with the first reject";
    rejects->Add(3, RejectReason("23505", "", "person_pkey"));
    ASSERT_TRUE(rejects->Sync().has_value());
    rejects->Add(5, RejectReason("22P02", "risk", ""));
    ASSERT_TRUE(rejects->Sync().has_value());
  }
  const std::string first =
      "{\"line\":3,\"reason\":\"another row has the same key: constraint person_pkey (23505)\"}\n";
  EXPECT_EQ(content(),
            first + "{\"line\":5,\"reason\":\"a value is none of its column's type: column risk (22P02)\"}\n");
  EXPECT_EQ((*RealFiles().Find(path))->mode, 0600u);
  EXPECT_FALSE(RejectFile::Open(RealFiles(), path, 0, false).has_value()) << "somebody else's";
  EXPECT_FALSE(RejectFile::Open(RealFiles(), path, 1'000, true).has_value()) << "it has lost something";
  EXPECT_FALSE(RejectFile::Open(RealFiles(), folder + "/other", 1, true).has_value());
  auto again = RejectFile::Open(RealFiles(), path, first.size(), true);
  ASSERT_TRUE(again.has_value());
  EXPECT_EQ(content(), first);
}

TEST(LoadRejects, OnlyWhatSpeaksOfTheRow) {
  for (const std::string_view row : {"22P02", "23505", "23P01", "P0001"}) EXPECT_TRUE(SpeaksOfTheRow(row));
  for (const std::string_view other : {"08006", "53100", "55P03", "40001", "42501", "57014", "25P02"})
    EXPECT_FALSE(SpeaksOfTheRow(other));
}

}  // namespace
}  // namespace ecluse
