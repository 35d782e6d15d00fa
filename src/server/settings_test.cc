#include "server/settings.h"

#include <gtest/gtest.h>

namespace ecluse {
namespace {

Settings::Value V(const std::string& text) { return {text, "SET x TO " + text}; }

TEST(Settings, RollbackRestoresWhatStoodBeforeTheTransaction) {
  Settings settings;
  settings.Set("datestyle", V("dmy"), false);
  settings.Commit();
  settings.Set("datestyle", V("mdy"), false);
  settings.Set("timezone", V("utc"), false);
  EXPECT_EQ(settings.Text("datestyle"), "mdy");
  settings.Rollback();
  EXPECT_EQ(settings.Text("datestyle"), "dmy");
  EXPECT_EQ(settings.Find("timezone"), nullptr);
}

TEST(Settings, ALocalDefaultEndsWithTheTransactionToo) {
  Settings settings;
  settings.Set("timezone", V("utc"), false);
  settings.Commit();
  settings.Set("timezone", std::nullopt, true);
  EXPECT_EQ(settings.Find("timezone"), nullptr);
  settings.Commit();
  EXPECT_EQ(settings.Text("timezone"), "utc");
}

TEST(Settings, LocalEndsWithTheTransactionEitherWay) {
  Settings settings;
  settings.Set("timezone", V("utc"), false);
  settings.Commit();
  settings.Set("timezone", V("cet"), true);
  EXPECT_EQ(settings.Text("timezone"), "cet");
  settings.Commit();
  EXPECT_EQ(settings.Text("timezone"), "utc");
}

TEST(Settings, ASetAfterSetLocalOutlivesTheTransaction) {
  Settings settings;
  settings.Set("timezone", V("cet"), true);
  settings.Set("timezone", V("utc"), false);
  settings.Commit();
  EXPECT_EQ(settings.Text("timezone"), "utc");
}

TEST(Settings, SavepointsNest) {
  Settings settings;
  settings.Set("a", V("1"), false);
  settings.Savepoint("s");
  settings.Set("a", V("2"), false);
  settings.Savepoint("s");
  settings.Set("a", V("3"), false);
  settings.RollbackTo("s");
  EXPECT_EQ(settings.Text("a"), "2");
  settings.Release("s");
  settings.Set("a", V("4"), false);
  settings.RollbackTo("s");
  EXPECT_EQ(settings.Text("a"), "1");
  settings.Rollback();
  EXPECT_EQ(settings.Find("a"), nullptr);
}

TEST(Settings, ResetAllKeepsWhoAndWhy) {
  Settings settings;
  settings.Set("ecluse.purpose", Settings::Value{"p", ""}, false);
  settings.Set("timezone", V("utc"), false);
  EXPECT_TRUE(settings.touches_upstream());
  settings.ResetAll();
  EXPECT_EQ(settings.Text("ecluse.purpose"), "p");
  EXPECT_FALSE(settings.touches_upstream());
  EXPECT_EQ(settings.UpstreamScript(), "");
}

TEST(Settings, SearchPathNamesFoldAndUnquote) {
  EXPECT_EQ(SearchPathNames(R"("$user", Taj ,"Mixed ""Case""", ref)"),
            (std::vector<std::string>{"taj", "Mixed \"Case\"", "ref"}));
  EXPECT_TRUE(SearchPathNames("").empty());
}

}  // namespace
}  // namespace ecluse
