#include "vault/link.h"

#include <gtest/gtest.h>

#include <numeric>
#include <random>

#include "base/bytes.h"
#include "vault/vault_fixture_test.h"
#include "vault/xaes.h"

namespace ecluse {
namespace {

TEST(Links, AreTheSameForTheSamePersonAndComeBack) {
  const Links links(KeyOf(0), "interior", "person");
  std::mt19937 draw(7);
  for (int i = 0; i < 500; ++i) {
    std::string id(1 + draw() % 512, 'x');
    for (char& c : id) c = static_cast<char>(1 + draw() % 255);
    const std::string pseudonym = links.Of(id);
    EXPECT_EQ(pseudonym, links.Of(id));
    EXPECT_EQ(links.IdOf(pseudonym), id);
    EXPECT_EQ((pseudonym.size() - kLinkTag) % kLinkBlock, 0u);
    EXPECT_NE(pseudonym, links.Of(id + "0"));
  }
  EXPECT_EQ(links.Of("1").size(), links.Of("-9223372036854775808").size()) << "a number's length does not show";
}

TEST(Links, OpenUnderTheirOwnKeyRegisterAndSpaceAlone) {
  const Links links(KeyOf(0), "interior", "person");
  const std::string pseudonym = links.Of("4242");
  const Links others[] = {Links(KeyOf(1), "interior", "person"), Links(KeyOf(0), "interieur", "person"),
                          Links(KeyOf(0), "interior", "plate"), Links(KeyOf(0), "interiorper", "son")};
  for (const Links& other : others) {
    EXPECT_FALSE(other.IdOf(pseudonym));
    EXPECT_NE(other.Of("4242"), pseudonym);
  }
  for (size_t i = 0; i < pseudonym.size(); ++i) {
    std::string bent = pseudonym;
    bent[i] = static_cast<char>(bent[i] ^ 1);
    EXPECT_FALSE(links.IdOf(bent)) << i;
    EXPECT_FALSE(links.IdOf(pseudonym.substr(0, i))) << i;
  }
  EXPECT_FALSE(links.IdOf(pseudonym + "x"));
  EXPECT_FALSE(links.IdOf(pseudonym + pseudonym));
}

// The example of docs/vault_format.md, which tests/test_vault_format.py makes by what the page says.
TEST(Links, ExampleOfTheFormatPage) {
  const Links links(KeyOf(0), "interior", "person");
  EXPECT_EQ(HexEncode(AsBytes(links.Of("4242"))),
            "d580178f644f41dfd19ac0fa79ae97c5cbbcbf9e81434a1375463195d20acf6c03260f8e");
}

}  // namespace
}  // namespace ecluse
