#include "deliver/copy_rows.h"

#include <gtest/gtest.h>

namespace ecluse {
namespace {

Plan::Copy Text() { return {}; }

Plan::Copy Csv() {
  Plan::Copy copy;
  copy.format = Plan::Copy::Format::csv;
  copy.delimiter = ',';
  copy.null = "";
  return copy;
}

std::string Line(const Plan::Copy& copy, std::vector<pg::Values::Value> values) {
  std::string row, out;
  pg::WriteDataRow(row, values);
  WriteCopyRow(out, std::string_view(row).substr(5), copy);
  return out.substr(5);
}

TEST(CopyOut, TextEscapesWhatWouldBeMisread) {
  EXPECT_EQ(Line(Text(), {"a\tb", std::nullopt, "c\\d\n"}), "a\\tb\t\\N\tc\\\\d\\n\n");
  Plan::Copy copy = Text();
  copy.delimiter = '|';
  EXPECT_EQ(Line(copy, {"a|b"}), "a\\|b\n");
}

TEST(CopyOut, CsvQuotesWhereItMust) {
  EXPECT_EQ(Line(Csv(), {"plain", "a,b", "say \"x\"", "", std::nullopt, "two\nlines"}),
            "plain,\"a,b\",\"say \"\"x\"\"\",\"\",,\"two\nlines\"\n");
  EXPECT_EQ(Line(Csv(), {"\\."}), "\"\\.\"\n");
}

std::vector<CopyValues> Read(const Plan::Copy& copy, size_t columns, std::string_view data, size_t piece,
                             Status* status) {
  CopyReader reader(copy, columns);
  std::vector<CopyValues> rows;
  *status = {};
  for (size_t at = 0; at < data.size() && *status; at += piece) *status = reader.Take(data.substr(at, piece), &rows);
  if (*status) *status = reader.Finish(&rows);
  return rows;
}

// Every way of cutting the data into pieces reads the same.
void ExpectRows(const Plan::Copy& copy, size_t columns, std::string_view data,
                const std::vector<CopyValues>& expected) {
  for (size_t piece = 1; piece <= data.size(); ++piece) {
    Status status;
    EXPECT_EQ(Read(copy, columns, data, piece, &status), expected) << "pieces of " << piece;
    EXPECT_TRUE(status);
  }
}

TEST(CopyIn, TextInAnyPieces) {
  ExpectRows(Text(), 2, "a\\tb\t\\N\n\\101\\x42\\\\\tlast\r\nx\\\ny\t",
             {{"a\tb", std::nullopt}, {"AB\\", "last"}, {"x\ny", ""}});
  ExpectRows(Text(), 1, "1\n\\.\nrubbish that is not read\n", {{"1"}});
}

TEST(CopyIn, CsvInAnyPieces) {
  ExpectRows(Csv(), 2, "a,\"b,\"\"c\"\"\nd\"\r\n,\"\"\n", {{"a", "b,\"c\"\nd"}, {std::nullopt, ""}});
  Plan::Copy header = Csv();
  header.header = true;
  ExpectRows(header, 1, "name\nAnne\n", {{"Anne"}});
}

TEST(CopyIn, ErrorsNameTheLine) {
  Status status;
  Read(Text(), 2, "a\tb\nc\n", 4, &status);
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().sqlstate, "22P04");
  EXPECT_NE(status.error().message.find("line 2"), std::string::npos);
  Read(Csv(), 1, "\"open\n", 3, &status);
  EXPECT_FALSE(status);
  Read(Text(), 1, "a\tb\n", 9, &status);
  EXPECT_FALSE(status);
}

}  // namespace
}  // namespace ecluse
