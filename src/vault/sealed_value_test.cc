#include "vault/sealed_value.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <random>
#include <set>

#include "base/bytes.h"
#include "vault/folding.h"
#include "vault/vault_fixture_test.h"

namespace ecluse {
namespace {

constexpr KeyId kId = {1, 2, 3, 4, 5, 6, 7, 8};
constexpr Cell kCell{"interior", "taj.person", "nir", "person:4242"};

TEST(SealedValue, OpensInItsOwnCellAlone) {
  const Xaes key(KeyOf(0));
  for (const std::string& plain : {std::string(), std::string("1 85 05 78 006 084 91"), std::string(70'000, 'x')}) {
    const std::string sealed = SealValue(key, kId, kCell, plain);
    EXPECT_EQ(sealed.size(), plain.size() + kEnvelopeOverhead);
    EXPECT_EQ(EnvelopeKeyId(sealed), kId);
    EXPECT_EQ(OpenValue(key, kCell, sealed), plain);
    EXPECT_NE(SealValue(key, kId, kCell, plain), sealed) << "twice the same";
  }
  const std::string sealed = SealValue(key, kId, kCell, "value");
  const Cell others[] = {
      {"interieur", "taj.person", "nir", "person:4242"}, {"interior", "taj.persons", "nir", "person:4242"},
      {"interior", "taj.person", "name", "person:4242"}, {"interior", "taj.person", "nir", "person:4243"},
      {"interior", "taj.person", "nir", "plate:4242"},   {"interior", "taj.personnir", "", "person:4242"},
      {"interiortaj", ".person", "nir", "person:4242"},  {"interior", "taj.person", "nirp", "erson:4242"},
  };
  for (const Cell& other : others) EXPECT_FALSE(OpenValue(key, other, sealed)) << other.table << other.column;
  EXPECT_FALSE(OpenValue(Xaes(KeyOf(1)), kCell, sealed));
  for (size_t i = 0; i < sealed.size(); ++i) {
    std::string bent = sealed;
    bent[i] = static_cast<char>(bent[i] ^ 1);
    EXPECT_FALSE(OpenValue(key, kCell, bent)) << i;
    EXPECT_FALSE(OpenValue(key, kCell, sealed.substr(0, i))) << i;
  }
  EXPECT_FALSE(OpenValue(key, kCell, sealed + "x"));
}

TEST(SealedValue, IsUnderItsPersonsOwnKeyToo) {
  const Xaes key(KeyOf(0));
  const Secret own = KeyOf(7), another = KeyOf(8);
  Cell cell = kCell;
  cell.own = &own;
  const std::string sealed = SealValue(key, kId, cell, "value");
  EXPECT_TRUE(UnderOwnKey(sealed));
  EXPECT_FALSE(UnderOwnKey(SealValue(key, kId, kCell, "value")) || UnderOwnKey(""));
  EXPECT_EQ(ValueKeyId(sealed), kId);
  EXPECT_EQ(OpenValue(key, cell, sealed), "value");
  EXPECT_FALSE(OpenValue(key, kCell, sealed)) << "without it";
  EXPECT_FALSE(OpenValue(Xaes(KeyOf(1)), cell, sealed)) << "under another data key";
  cell.own = &another;
  EXPECT_FALSE(OpenValue(key, cell, sealed));
  cell.own = &own;
  std::string as_the_other = sealed;
  as_the_other[0] = 1;
  EXPECT_FALSE(OpenValue(key, cell, as_the_other)) << "the version is bound";
  for (size_t i = 0; i < sealed.size(); ++i) {
    std::string bent = sealed;
    bent[i] = static_cast<char>(bent[i] ^ 1);
    EXPECT_FALSE(OpenValue(key, cell, bent)) << i;
  }
  // What was sealed before its table had such keys opens with one at hand.
  EXPECT_EQ(OpenValue(key, cell, SealValue(key, kId, kCell, "before")), "before");
}

TEST(BlindIndex, KeysAndKindsDoNotMeet) {
  const auto index = [](uint8_t first, std::string_view register_name, std::string_view column) {
    return BlindIndex(KeyOf(first), register_name, column);
  };
  const BlindIndex nir = index(0, "interior", "nir");
  EXPECT_EQ(nir.Equality("x"), index(0, "interior", "nir").Equality("x"));
  std::set<BlindToken> all = {nir.Equality("x"),    nir.Equality("y"),     nir.Sound("x"),   *nir.Prefix("x", 1),
                              *nir.Prefix("xy", 2), *nir.Prefix("xyz", 3), nir.Block(0, 0),  nir.Block(1, 0),
                              nir.Block(0, 1),      nir.Block(-1, 0),      nir.Block(-1, 1), nir.Equality(""),
                              nir.Sound("")};
  EXPECT_EQ(all.size(), 13u);
  EXPECT_FALSE(all.contains(index(1, "interior", "nir").Equality("x"))) << "of another key";
  EXPECT_FALSE(all.contains(index(0, "other", "nir").Equality("x")));
  EXPECT_FALSE(all.contains(index(0, "interiorn", "ir").Equality("x")));
  EXPECT_FALSE(all.contains(index(0, "interior", "name").Equality("x")));
}

TEST(BlindIndex, PrefixesAreOfCharacters) {
  const BlindIndex index(KeyOf(0), "interior", "name");
  const std::string text = Fold("Ελένη").value();
  EXPECT_EQ(index.Prefix(text, 2), index.Prefix(Fold("ελ").value(), 2));
  EXPECT_NE(index.Prefix(text, 2), index.Prefix(text, 3));
  EXPECT_TRUE(index.Prefix(text, 5));
  EXPECT_FALSE(index.Prefix(text, 6)) << "it has five";
}

TEST(BlindIndex, BlocksHoldTheirStepsTogether) {
  const BlindIndex index(KeyOf(0), "interior", "birth_date");
  EXPECT_EQ(index.Block(6, 1), index.Block(7, 1));
  EXPECT_NE(index.Block(7, 1), index.Block(8, 1));
  EXPECT_EQ(index.Block(-2, 1), index.Block(-1, 1));
  EXPECT_NE(index.Block(-1, 1), index.Block(0, 1));
  EXPECT_EQ(index.Block(INT64_MIN, 63), index.Block(-1, 63));
}

// Every step of a range is in one block, and no other is.
TEST(Blocks, CoverARangeAndNoMore) {
  std::mt19937_64 random(3);
  for (int i = 0; i < 20'000; ++i) {
    const auto first = static_cast<int64_t>(random() % 600) - 300,
               last = first + static_cast<int64_t>(random() % 300) - 5;
    const unsigned levels = 1 + static_cast<unsigned>(random() % 10);
    const auto blocks = BlocksOf(first, last, levels, SIZE_MAX);
    ASSERT_TRUE(blocks);
    std::vector<int64_t> steps;
    for (const StepBlock& block : *blocks) {
      ASSERT_LT(block.level, levels);
      for (int64_t step = block.number << block.level; step < (block.number + 1) << block.level; ++step)
        steps.push_back(step);
    }
    std::ranges::sort(steps);
    std::vector<int64_t> due;
    for (int64_t step = first; step <= last; ++step) due.push_back(step);
    ASSERT_EQ(steps, due) << first << " " << last << " " << levels;
    const size_t highest = due.size() >> (levels - 1);
    EXPECT_LE(blocks->size(), 2 * (levels - 1) + highest + 1);
  }
  EXPECT_EQ(BlocksOf(5, 4, 3, 100)->size(), 0u);
  EXPECT_FALSE(BlocksOf(0, 1'000, 2, 100)) << "more than wanted";
  EXPECT_EQ(BlocksOf(INT64_MIN, INT64_MAX, 64, 100)->size(), 2u);
  EXPECT_TRUE(BlocksOf(INT64_MAX, INT64_MAX, 64, 100));
  EXPECT_TRUE(BlocksOf(INT64_MIN, INT64_MIN, 1, 100));
}

// The examples of docs/vault_format.md, which tests/test_vault_format.py makes by what the page says.
TEST(SealedValue, ExamplesOfTheFormatPage) {
  const BlindIndex index(KeyOf(0), "interior", "family_name");
  EXPECT_EQ(HexEncode(index.Equality(Fold("Lefèvre").value())), "173dfd00dfed110ece0c3e96f3e89200");
  EXPECT_EQ(HexEncode(*index.Prefix(Fold("Lefèvre").value(), 3)), "260660550363b19df069654757926fd7");
  EXPECT_EQ(HexEncode(index.Sound(SoundOf("Lefèvre").value())), "aefd88881c841b34fbdf6d3755f97f62");
  EXPECT_EQ(HexEncode(index.Block(9'617, 4)), "4c501ea339a19e35e571fa8162821634");
  const auto sealed = HexDecode(
      "0101020304050607084142434445464748494a4b4c4d4e4f505152535455565758"
      "bb855ebe94c1f54ee891ae06b1a43df04b7fbccd8f888fee50dc12a90178aa");
  ASSERT_TRUE(sealed);
  EXPECT_EQ(OpenValue(Xaes(KeyOf(0)), kCell, std::string(sealed->begin(), sealed->end())), "185057800608491");
}

}  // namespace
}  // namespace ecluse
