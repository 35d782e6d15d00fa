#include "vault/folding.h"

#include <gtest/gtest.h>

namespace ecluse {
namespace {

TEST(Fold, MeetsWhatPeopleTakeForTheSame) {
  const auto fold = [](std::string_view text) { return Fold(text).value_or("(refused)"); };
  for (const char* text : {"Lefèvre", "LEFÈVRE", "lefevre", "Lefe\xCC\x80vre", "  Lefèvre ", "ＬＥＦＥＶＲＥ"})
    EXPECT_EQ(fold(text), "lefevre") << text;
  EXPECT_EQ(fold("Jean\xC2\xA0\t Paul"), "jean paul");
  for (const char* apostrophe : {"\u2018", "\u2019", "\u02BC", "\u00B4", "`"})
    EXPECT_EQ(fold(std::string("L") + apostrophe + "Hôpital"), "l'hopital") << apostrophe;
  for (const char* hyphen : {"\u2010", "\u2011", "\u2012", "\u2013", "\u2014", "\u2212"})
    EXPECT_EQ(fold(std::string("Saint") + hyphen + "Léger"), "saint-leger") << hyphen;
  EXPECT_EQ(fold("Œuvrard Æsir Straße Łukasz Søren Iþ"), "oeuvrard aesir strasse lukasz soren ith");
  EXPECT_EQ(fold("Ελένη"), fold("ΕΛΕΝΗ"));
  EXPECT_EQ(fold("Ⅳ"), "iv");
  EXPECT_EQ(fold("ﬁn"), "fin");
  EXPECT_NE(fold("Lefèvre"), fold("Lefebvre"));
  EXPECT_EQ(fold(""), "");
  EXPECT_EQ(fold(" \t"), "");
  EXPECT_EQ(fold("\xC3"), "(refused)");
  EXPECT_EQ(fold("a\xED\xA0\x80"), "(refused)");
}

TEST(Fold, ReadsHowALikeBegins) {
  const auto of = [](std::string_view pattern) { return BeginningOf(pattern).value(); };
  EXPECT_EQ(of("Lefè%%")->text, "Lefè");
  EXPECT_TRUE(of("Lefè%")->open);
  EXPECT_EQ(of("Lefè%")->characters, 4u);
  EXPECT_EQ(of("œu%")->characters, 3u) << "folded";
  EXPECT_FALSE(of("Lefè")->open);
  EXPECT_EQ(of("%")->characters, 0u);
  for (const char* more : {"a%b", "%a", "a_", "a\\%", "a %", "a "}) EXPECT_FALSE(of(more)) << more;
  EXPECT_FALSE(BeginningOf("\xff%"));
}

TEST(Fold, IsDoneOnce) {
  for (const char* text : {"Éloïse  D’Aubigné", "ǅ ß ﬃ ½", "İstanbul ılık", "Åse Ångström", "Πα\xCC\x81", "ⅻ℡"}) {
    const std::string once = Fold(text).value();
    EXPECT_EQ(Fold(once).value(), once) << text;
  }
}

TEST(Sound, SpellingsOfOneNameMeet) {
  const std::vector<std::vector<const char*>> names = {
      {"Lefèvre", "Lefebvre", "Lefevre", "LEFÈVRE", "Lefeuvre", "Le Fèvre", "Lefébvre"},
      {"Thibault", "Thibaut", "Thibaud", "Tibaut", "Thibauld", "Tibo"},
      {"Durand", "Durant", "Duran"},
      {"Dupont", "Dupond", "DUPONT"},
      {"Renault", "Renaud", "Renaut", "Reynaud", "Reno"},
      {"Deschamps", "Dechamps", "Déchamp", "Deschamp"},
      {"Schmitt", "Schmidt", "Schmit", "Chmit"},
      {"Philippe", "Filipe", "PHILIPPE"},
      {"Christophe", "Kristof", "Cristophe"},
      {"François", "FRANCOIS", "Fransois"},
      {"Mathieu", "Matthieu", "Mathieux"},
      {"Henri", "Henry"},
      {"Georges", "Jorge"},
      {"Dupré", "DUPRE", "Duprez", "Dupret", "Duprey"},
      {"Guillaume", "Guilhaume", "Guillome"},
      {"Catherine", "Katerine", "CATHERINE"},
      {"Roussel", "Rousselle", "Roucel"},
      {"Gautier", "Gauthier", "Gaultier"},
      {"d'Ormesson", "Dormesson", "D’ORMESSON"},
      {"De las Casas", "Delascasas", "de-las-Casas"},
      {"Van den Berg", "Vandenberg", "VANDENBERG."},
      {"Jean-Pierre", "Jean Pierre", "JEAN PIERRE"},
  };
  for (const auto& same : names) {
    const std::string sound = SoundOf(same[0]).value();
    EXPECT_FALSE(sound.empty());
    for (const char* name : same) EXPECT_EQ(SoundOf(name).value(), sound) << name << " is not as " << same[0];
  }
  for (size_t i = 0; i < names.size(); ++i)
    for (size_t j = 0; j < i; ++j)
      EXPECT_NE(SoundOf(names[i][0]).value(), SoundOf(names[j][0]).value()) << names[i][0] << " " << names[j][0];
}

TEST(Sound, OfWhatIsNoFrenchName) {
  EXPECT_EQ(SoundOf("").value(), "");
  EXPECT_EQ(SoundOf("-- '").value(), "");
  EXPECT_EQ(SoundOf("Ελένη").value(), SoundOf("ΕΛΕΝΗ").value());
  EXPECT_NE(SoundOf("Ελένη").value(), "");
  EXPECT_EQ(SoundOf("75011").value(), "75011");
  EXPECT_FALSE(SoundOf("\xFF"));
  std::string longest;
  while (longest.size() < 65'536) longest += "lacl";
  EXPECT_TRUE(SoundOf(longest)) << "in time that grows with its length";
  EXPECT_EQ(SoundOf(longest + "a").error().sqlstate, "54000");
  EXPECT_EQ(Fold(longest + "a").error().sqlstate, "54000");
  for (const char* letters : {"a", "z", "q", "h", "xyz", "eee", "nnn", "ggggg", "sch", "ault", "er"})
    EXPECT_LE(SoundOf(letters).value().size(), 2 * std::string(letters).size()) << letters;
}

}  // namespace
}  // namespace ecluse
