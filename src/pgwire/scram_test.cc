#include "pgwire/scram.h"

#include <gtest/gtest.h>

#include "base/bytes.h"
#include "base/limits.h"

namespace ecluse {
namespace {

// RFC 7677, section 3: user "user", password "pencil".
constexpr std::string_view kSalt64 = "W22ZaJ0SNY7soEsUEjb6gQ==";
constexpr std::string_view kServerNonce = "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";

ScramVerifier Pencil() {
  auto salt = *Base64Decode(kSalt64);
  return ScramVerifier::Make("pencil", std::string(salt.begin(), salt.end()), 4096);
}

TEST(Scram, ServerFollowsTheExampleOfRfc7677) {
  ScramServer server(Pencil(), std::string(kScramSha256), false, "", std::string(kServerNonce));
  auto first = server.First("n,,n=user,r=rOprNGfwEbeRWgbNEkqO");
  ASSERT_TRUE(first);
  EXPECT_EQ(*first, "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096");
  auto outcome = server.Final(
      "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,"
      "p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=");
  ASSERT_TRUE(outcome);
  EXPECT_TRUE(outcome->authenticated);
  EXPECT_EQ(outcome->server_final, "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=");
}

// One exchange between our two sides; false where either refuses.
struct Exchange {
  std::string password = "pencil";
  std::string mechanism = {};  // empty: the client's choice
  bool offered = false;
  std::string client_end_point = {}, server_end_point = {};
  ScramVerifier verifier = Pencil();

  bool Run() const {
    ScramClient client(password, client_end_point, offered, ScramNonce());
    ScramServer server(verifier, mechanism.empty() ? std::string(client.mechanism()) : mechanism, offered,
                       server_end_point, ScramNonce());
    auto first = server.First(client.First());
    if (!first) return false;
    auto final = client.Final(*first);
    if (!final) return false;
    auto outcome = server.Final(*final);
    return outcome && outcome->authenticated && client.Verify(outcome->server_final);
  }
};

TEST(Scram, BothSidesAgreeAndAWrongPasswordDoesNot) {
  EXPECT_TRUE(Exchange{}.Run());
  EXPECT_FALSE(Exchange{.password = "Pencil"}.Run());
  EXPECT_FALSE(Exchange{.password = ""}.Run());
}

TEST(Scram, OnlyTheRightProofAuthenticates) {
  for (const char* password : {"pencil", "pencil2", ""}) {
    ScramClient client(password, "", false, "abc");
    ScramServer server(Pencil(), std::string(kScramSha256), false, "", "def");
    auto first = server.First(client.First());
    auto outcome = server.Final(*client.Final(*first));
    ASSERT_TRUE(outcome);
    EXPECT_EQ(outcome->authenticated, password == std::string("pencil")) << password;
  }
}

TEST(Scram, ChannelBindingTiesTheExchangeToTheConnection) {
  Exchange bound{.offered = true, .client_end_point = "cert-hash", .server_end_point = "cert-hash"};
  EXPECT_TRUE(bound.Run());
  bound.server_end_point = "another";
  EXPECT_FALSE(bound.Run()) << "somebody in the middle has another certificate";
}

TEST(Scram, AHiddenOfferOfChannelBindingIsNoticed) {
  ScramServer server(Pencil(), std::string(kScramSha256), true, "cert", ScramNonce());
  auto refused = server.First("y,,n=,r=abc");
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().rule, "wire.scram-downgrade");
  ScramServer unoffered(Pencil(), std::string(kScramSha256), false, "", ScramNonce());
  EXPECT_TRUE(unoffered.First("y,,n=,r=abc"));
}

TEST(Scram, MalformedFirstMessages) {
  std::string long_nonce(limits::kScramNonce + 1, 'a');
  for (std::string message :
       {std::string(""), std::string("n"), std::string("n,"), std::string("n,,"), std::string("n,a=root,n=,r=abc"),
        std::string("n,,m=x,n=,r=abc"), std::string("n,,n=user"), std::string("n,,n=,r="), std::string("n,,n=,r=a\x01"),
        std::string("p=tls-unique,,n=,r=abc"), "n,,n=,r=" + long_nonce}) {
    ScramServer server(Pencil(), std::string(kScramSha256), false, "", ScramNonce());
    EXPECT_FALSE(server.First(message)) << message;
  }
  ScramServer plus(Pencil(), std::string(kScramSha256Plus), true, "cert", ScramNonce());
  EXPECT_FALSE(plus.First("n,,n=,r=abc")) << "PLUS without binding";
}

TEST(Scram, MalformedFinalMessages) {
  std::string nonce = "abc" + std::string(kServerNonce);
  std::string good_proof = "dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
  for (std::string message :
       {std::string(""), std::string("c=biws"), "c=biws,r=" + nonce, "r=" + nonce + ",p=" + good_proof,
        "c=biws,r=abc,p=" + good_proof, "c=eSws,r=" + nonce + ",p=" + good_proof, "c=biws,r=" + nonce + ",p=short",
        "c=biws,r=" + nonce + ",p=" + good_proof + "AAAA"}) {
    ScramServer server(Pencil(), std::string(kScramSha256), false, "", std::string(kServerNonce));
    ASSERT_TRUE(server.First("n,,n=,r=abc"));
    EXPECT_FALSE(server.Final(message)) << message;
  }
  ScramServer early(Pencil(), std::string(kScramSha256), false, "", std::string(kServerNonce));
  EXPECT_FALSE(early.Final("c=biws,r=abc,p=" + good_proof)) << "before the first message";
}

TEST(Scram, ClientRefusesAServerThatCheats) {
  auto final = [](std::string first) {
    ScramClient client("pencil", "", false, "abc");
    return client.Final(first).has_value();
  };
  std::string salt(kSalt64);
  EXPECT_TRUE(final("r=abcdef,s=" + salt + ",i=4096"));
  EXPECT_FALSE(final("r=abc,s=" + salt + ",i=4096")) << "no nonce of its own";
  EXPECT_FALSE(final("r=xyzdef,s=" + salt + ",i=4096")) << "another nonce";
  EXPECT_FALSE(final("r=abcdef,s=,i=4096"));
  EXPECT_FALSE(final("r=abcdef,s=" + salt + ",i=0"));
  EXPECT_FALSE(final("r=abcdef,s=" + salt + ",i=1000001")) << "work without end";
  EXPECT_FALSE(final("r=abcdef,s=" + salt + ",i=99999999999999999999"));
  ScramClient client("pencil", "", false, "abc");
  ASSERT_TRUE(client.Final("r=abcdef,s=" + salt + ",i=4096"));
  EXPECT_FALSE(client.Verify("v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=")) << "the signature of another exchange";
  EXPECT_FALSE(client.Verify("e=other-error"));
}

TEST(Scram, KeysAreKeptAndDoNotOutliveTheirSalt) {
  ScramClientKeys keys;
  auto proof = [&](std::string_view salt) {
    ScramClient client("pencil", "", false, "abc");
    return *client.Final("r=abcdef,s=" + std::string(salt) + ",i=4096", &keys);
  };
  std::string one = proof(kSalt64);
  ScramKey kept = keys.client_key;
  EXPECT_EQ(proof(kSalt64), one);
  EXPECT_NE(proof("AAAAAAAAAAAAAAAAAAAAAA=="), one);
  EXPECT_NE(keys.client_key, kept);
}

TEST(Scram, VerifierText) {
  std::string text = Pencil().Text();
  EXPECT_EQ(text,
            "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:"
            "wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=");
  auto parsed = ScramVerifier::Parse(text);
  ASSERT_TRUE(parsed);
  EXPECT_EQ(parsed->Text(), text);
  EXPECT_TRUE(parsed->Matches("pencil"));
  EXPECT_FALSE(parsed->Matches("pencils"));
  for (std::string bad : {std::string(""), std::string("md5abc"), text.substr(1), text.substr(0, text.size() - 1),
                          std::string("SCRAM-SHA-256$0:AAAA$x:y"), std::string("SCRAM-SHA-256$4096:$:")}) {
    EXPECT_FALSE(ScramVerifier::Parse(bad)) << bad;
  }
}

TEST(Scram, MockIsStablePerNameAndSecretAndFitsNoPassword) {
  ScramVerifier one = ScramVerifier::Mock("ghost", "secret");
  EXPECT_EQ(one.Text(), ScramVerifier::Mock("ghost", "secret").Text());
  EXPECT_NE(one.salt, ScramVerifier::Mock("ghost2", "secret").salt);
  EXPECT_NE(one.salt, ScramVerifier::Mock("ghost", "other").salt);
  EXPECT_EQ(one.salt.size(), 16u);
  EXPECT_EQ(one.iterations, limits::kScramIterations);
  EXPECT_FALSE(Exchange{.verifier = one}.Run());
}

TEST(Scram, SaslPrepAsRfc4013AndBytesWhereItCannot) {
  EXPECT_EQ(SaslPrep("plain"), "plain");
  EXPECT_EQ(SaslPrep("I\u00adX"), "IX");  // soft hyphen maps to nothing
  EXPECT_EQ(SaslPrep("\u00aa"), "a");     // normalised by NFKC
  EXPECT_EQ(SaslPrep("\u2168"), "IX");
  EXPECT_EQ(SaslPrep("a\u00a0b"), "a b");       // non-ASCII space
  EXPECT_EQ(SaslPrep("\xff\xfe"), "\xff\xfe");  // not UTF-8
  EXPECT_EQ(SaslPrep("\x07"), "\x07");          // prohibited
}

TEST(Scram, NoncesDiffer) { EXPECT_NE(ScramNonce(), ScramNonce()); }

}  // namespace
}  // namespace ecluse
