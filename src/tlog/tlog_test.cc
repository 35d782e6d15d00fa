// Trees against the definition of RFC 6962, notes against one that Go's library signed, and what is refused.
#include <gtest/gtest.h>

#include <bit>

#include "base/bytes.h"
#include "tlog/checkpoint.h"
#include "tlog/note.h"
#include "tlog/testing.h"
#include "tlog/tile.h"

namespace ecluse {
namespace {

std::string Hex(const Hash& hash) { return HexEncode(hash); }

TEST(TreeTest, HashesOfRfc6962) {
  EXPECT_EQ(Hex(EmptyRoot()), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(Hex(LeafHash("")), "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d");
  // The eight leaves that Certificate Transparency's implementations test with.
  std::vector<Hash> leaves;
  for (const char* hex :
       {"", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"}) {
    const auto bytes = *HexDecode(hex);
    leaves.push_back(LeafHash({reinterpret_cast<const char*>(bytes.data()), bytes.size()}));
  }
  EXPECT_EQ(Hex(RootOf(leaves)), "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328");
}

TEST(TreeTest, TheEdgeOfEveryTreeHasItsRoot) {
  Leaves tree(300);
  Frontier frontier;
  for (size_t size = 0; size <= 300; ++size) {
    EXPECT_EQ(frontier.Root(), tree.Root(size));
    EXPECT_EQ(*RootAt(size, tree), tree.Root(size));
    const Frontier read = *Frontier::Of(size, tree);
    EXPECT_EQ(read.Root(), tree.Root(size));
    EXPECT_EQ(read.size(), size);
    if (size < 300) frontier.Append(tree.leaves[size]);
  }
  Frontier jumped;
  jumped.AppendSubtree(8, tree.Root(256));
  for (size_t i = 256; i < 300; ++i) jumped.Append(tree.leaves[i]);
  EXPECT_EQ(jumped.Root(), tree.Root(300));
}

TEST(TreeTest, InclusionIsProvenOfThatLeafThereAlone) {
  Leaves tree(70);
  for (uint64_t size = 1; size <= 70; ++size) {
    const Hash root = tree.Root(size);
    for (uint64_t index = 0; index < size; ++index) {
      auto proof = *InclusionProof(index, size, tree);
      ASSERT_TRUE(VerifyInclusion(tree.leaves[index], index, size, proof, root)) << index << " of " << size;
      EXPECT_FALSE(VerifyInclusion(tree.leaves[(index + 1) % 70], index, size, proof, root));
      EXPECT_FALSE(VerifyInclusion(tree.leaves[index], size, size, proof, root));
      for (uint64_t other = 0; other < size; ++other) {
        if (other != index) EXPECT_FALSE(VerifyInclusion(tree.leaves[index], other, size, proof, root));
      }
      for (Hash& hash : proof) {
        hash[5] ^= 1;
        EXPECT_FALSE(VerifyInclusion(tree.leaves[index], index, size, proof, root));
        hash[5] ^= 1;
      }
      proof.push_back(root);
      EXPECT_FALSE(VerifyInclusion(tree.leaves[index], index, size, proof, root));
      proof.pop_back();
      if (!proof.empty()) {
        proof.pop_back();
        EXPECT_FALSE(VerifyInclusion(tree.leaves[index], index, size, proof, root));
      }
    }
  }
}

TEST(TreeTest, ConsistencyIsProvenOfTheStartAlone) {
  Leaves tree(70);
  for (uint64_t size = 0; size <= 70; ++size) {
    const Hash root = tree.Root(size);
    for (uint64_t old_size = 0; old_size <= size; ++old_size) {
      auto proof = *ConsistencyProof(old_size, size, tree);
      const Hash old_root = tree.Root(old_size);
      ASSERT_TRUE(VerifyConsistency(old_size, old_root, size, root, proof)) << old_size << " in " << size;
      Hash forked = old_root;
      forked[0] ^= 1;
      EXPECT_FALSE(VerifyConsistency(old_size, forked, size, root, proof));
      Hash other = root;
      other[31] ^= 1;
      // Nothing is proven from the empty tree: it is the start of everything.
      if (old_size > 0) EXPECT_FALSE(VerifyConsistency(old_size, old_root, size, other, proof));
      if (old_size < size) EXPECT_FALSE(VerifyConsistency(size, root, old_size, old_root, proof));
      for (Hash& hash : proof) {
        hash[9] ^= 1;
        EXPECT_FALSE(VerifyConsistency(old_size, old_root, size, root, proof));
        hash[9] ^= 1;
      }
      proof.push_back(root);
      EXPECT_FALSE(VerifyConsistency(old_size, old_root, size, root, proof));
    }
  }
}

TEST(TileTest, PathsAreSpelledInOneWay) {
  EXPECT_EQ(TilePath({0, 1'234'067, 256}), "tile/0/x001/x234/067");
  EXPECT_EQ(TilePath({kEntriesLevel, 7, 12}), "tile/entries/007.p/12");
  for (const Tile& tile : {Tile{0, 0, 256}, Tile{7, 999, 1}, Tile{3, 1'000, 255}, Tile{kEntriesLevel, 1'234'067, 256},
                           Tile{0, 72'057'594'037'927'935, 3}}) {
    EXPECT_EQ(ParseTilePath(TilePath(tile)), tile) << TilePath(tile);
  }
  for (const char* path : {"",
                           "tile/",
                           "tile/0/",
                           "tile/0/1",
                           "tile/0/0001",
                           "tile/0/x001",
                           "tile/0/x001/",
                           "tile/0/x000/001",
                           "tile/8/001",
                           "tile/00/001",
                           "tile/-1/001",
                           "tile/0/001.p/0",
                           "tile/0/001.p/256",
                           "tile/0/001.p/01",
                           "tile/0/001.p/",
                           "tile/0/001/",
                           "tile/entries",
                           "tile/entries/x1/001",
                           "tile/0/../001",
                           "tile/0/001.p/1/",
                           "/tile/0/001",
                           "tile/8/0/001",
                           "tile/0/x999/x999/x999/x999/x999/x999/x999/999"}) {
    EXPECT_FALSE(ParseTilePath(path)) << path;
  }
}

// The example of tlog-tiles: 70,000 leaves.
TEST(TileTest, PartialTilesAreTheEdge) {
  const std::vector<Tile> expected = {{kEntriesLevel, 273, 112}, {0, 273, 112}, {1, 1, 17}, {2, 0, 1}};
  EXPECT_EQ(PartialTiles(70'000), expected);
  EXPECT_EQ(PartialTiles(256), (std::vector<Tile>{{1, 0, 1}}));
  EXPECT_TRUE(PartialTiles(0).empty());
}

TEST(TileTest, ProofsComeFromTiles) {
  Leaves tree(70'000);
  std::vector<std::vector<Hash>> levels = {tree.leaves};
  while (levels.back().size() >= 256) {
    std::vector<Hash> next;
    for (size_t i = 0; i + 256 <= levels.back().size(); i += 256) {
      next.push_back(RootOf(std::span(levels.back()).subspan(i, 256)));
    }
    levels.push_back(std::move(next));
  }
  const auto source_of = [&](uint64_t size) {
    return TileSource(size, [&levels](const Tile& tile) -> Result<std::string> {
      const Hash* from = levels[static_cast<size_t>(tile.level)].data() + tile.number * 256;
      return std::string(reinterpret_cast<const char*>(from), tile.width * sizeof(Hash));
    });
  };
  for (uint64_t size : {uint64_t{70'000}, uint64_t{65'536}, uint64_t{65'535}, uint64_t{257}, uint64_t{1}}) {
    TileSource source = source_of(size);
    const Hash root = tree.Root(size);
    EXPECT_EQ(*RootAt(size, source), root);
    for (uint64_t index : {uint64_t{0}, size / 3, size - 1}) {
      EXPECT_TRUE(VerifyInclusion(tree.leaves[index], index, size, *InclusionProof(index, size, source), root));
    }
    EXPECT_TRUE(
        VerifyConsistency(size / 2, tree.Root(size / 2), size, root, *ConsistencyProof(size / 2, size, source)));
  }
  TileSource torn(300, [](const Tile&) -> Result<std::string> { return std::string(31, 'x'); });
  EXPECT_FALSE(RootAt(300, torn));
}

TEST(TileTest, BundlesHoldTheirNumberOfEntries) {
  std::string bundle;
  AppendToBundle(bundle, "one");
  AppendToBundle(bundle, "");
  EXPECT_EQ(*ReadBundle(bundle, 2), (std::vector<std::string_view>{"one", ""}));
  EXPECT_FALSE(ReadBundle(bundle, 1));
  EXPECT_FALSE(ReadBundle(bundle, 3));
  EXPECT_FALSE(ReadBundle(bundle + "\x01", 2));
  EXPECT_FALSE(ReadBundle(bundle.substr(0, 3), 1));
}

// The note of the documentation of golang.org/x/mod/sumdb/note.
TEST(NoteTest, GosNoteIsRead) {
  const auto key = ParseVerifierKey("PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW");
  ASSERT_TRUE(key) << key.error().message;
  const auto note = ParseNote(
      "If you think cryptography is the answer to your problem,\n"
      "then you don't know what your problem is.\n"
      "\n"
      "\xE2\x80\x94 PeterNeumann "
      "x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n");
  ASSERT_TRUE(note) << note.error().message;
  EXPECT_TRUE(VerifyNote(*note, *key));
  const auto seed = *Base64Decode("gQoUAtUUbI2E8kQzMPVAgOv5juF9nHT2JS/F1ccoMXM=");
  const SigningKey signer("PeterNeumann", SignatureType::ed25519, Secret(std::span<const uint8_t>(seed)));
  EXPECT_EQ(signer.verifier(), *key);
  EXPECT_EQ(SignNote(note->text, signer).Text(), note->Text());
}

TEST(NoteTest, WhatIsNoNote) {
  const SigningKey key = TestKey("example.com/log");
  const std::string good = SignNote("text\n\nmore\n", key).Text();
  ASSERT_TRUE(VerifyNote(*ParseNote(good), key.verifier()));
  EXPECT_EQ(ParseNote(good)->text, "text\n\nmore\n");
  EXPECT_EQ(ParseNote(good)->Text(), good);
  for (const std::string& bad :
       {std::string(), std::string("text\n"), good + "x", good.substr(0, good.size() - 1), "\t" + good, "\xFF" + good,
        std::string("text\n\n"), std::string("text\n\n\xE2\x80\x94 name\n"),
        std::string("text\n\n\xE2\x80\x94 name AAAA\n"), std::string("text\n\n- name AAAAAAAA\n"),
        std::string("text\n\n\xE2\x80\x94 na+me AAAAAAAA\n"), std::string("text\n\n\xE2\x80\x94  AAAAAAAA\n"),
        std::string(70'000, 'x') + good}) {
    EXPECT_FALSE(ParseNote(bad)) << bad.substr(0, 60);
  }
  // Any other byte in the text: no signature of the key is right.
  for (size_t i = 0; i < 5; ++i) {
    std::string changed = good;
    changed[i] = changed[i] == 'y' ? 'z' : 'y';
    const auto note = ParseNote(changed);
    EXPECT_FALSE(note && VerifyNote(*note, key.verifier())) << i;
  }
  // One right signature does not make up for a wrong one of the same key.
  Note twice = *ParseNote(good);
  twice.signatures.push_back(twice.signatures[0]);
  twice.signatures[1].bytes[3] ^= 1;
  EXPECT_FALSE(VerifyNote(twice, key.verifier()));
  // Those of strangers are not looked at.
  Note strange = *ParseNote(good);
  strange.signatures.push_back({"stranger", 1, "xxx"});
  EXPECT_TRUE(VerifyNote(strange, key.verifier()));
  EXPECT_FALSE(VerifyNote(strange, TestKey("example.com/other").verifier()));
}

TEST(NoteTest, VerifierKeys) {
  const VerifierKey key = TestKey("example.com/log").verifier();
  EXPECT_EQ(*ParseVerifierKey(key.Text()), key);
  EXPECT_EQ(*ParseVerifierKey(key.Text() + "\n"), key);
  std::string wrong = key.Text();
  wrong[key.name.size() + 1] = wrong[key.name.size() + 1] == '0' ? '1' : '0';
  for (const std::string& bad : {std::string(), std::string("a+b"), wrong, "x" + key.Text(), key.Text() + "A",
                                 std::string("a b+00000000+AAAA")}) {
    EXPECT_FALSE(ParseVerifierKey(bad)) << bad;
  }
}

TEST(CheckpointTest, SignedReadAndRefused) {
  const SigningKey key = TestKey("reg/gate");
  const Checkpoint checkpoint{"reg/gate", 17, LeafHash("x")};
  const std::string note = SignNote(checkpoint.Text(), key).Text();
  EXPECT_EQ(*OpenCheckpoint(note, key.verifier()), checkpoint);
  EXPECT_EQ(checkpoint.Text(), "reg/gate\n17\n" + Base64Encode(checkpoint.root) + "\n");
  EXPECT_FALSE(OpenCheckpoint(note, TestKey("reg/other").verifier()));
  VerifierKey forged = TestKey("reg/other").verifier();
  forged.name = "reg/gate";
  EXPECT_FALSE(OpenCheckpoint(note, forged));
  for (const char* text :
       {"", "reg\n", "reg\n017\nAA==\n", "reg\n-1\nAA==\n", "reg\n1\nAAAA\n", "\n1\n", "reg\n1x\n"}) {
    EXPECT_FALSE(ParseCheckpoint(text)) << text;
  }
  // Of others: with extension lines.
  EXPECT_EQ(*ParseCheckpoint(checkpoint.Text() + "extension\n"), checkpoint);
}

TEST(CheckpointTest, CosignaturesSayWhen) {
  const SigningKey witness = TestKey("witness.example/1", SignatureType::cosignature);
  const std::string text = Checkpoint{"reg/gate", 17, LeafHash("x")}.Text();
  NoteSignature cosignature = Cosign(text, witness, 1'700'000'000);
  EXPECT_EQ(VerifyCosignature(text, cosignature, witness.verifier()), 1'700'000'000u);
  EXPECT_FALSE(VerifyCosignature(text + "x\n", cosignature, witness.verifier()));
  EXPECT_FALSE(
      VerifyCosignature(text, cosignature, TestKey("witness.example/2", SignatureType::cosignature).verifier()));
  for (size_t i = 0; i < cosignature.bytes.size(); ++i) {
    cosignature.bytes[i] ^= 1;
    EXPECT_FALSE(VerifyCosignature(text, cosignature, witness.verifier())) << i;
    cosignature.bytes[i] ^= 1;
  }
}

TEST(CheckpointTest, RequestsAndProofsComeBack) {
  const SigningKey key = TestKey("reg/gate");
  const std::string note = SignNote(Checkpoint{"reg/gate", 17, LeafHash("x")}.Text(), key).Text();
  const AddCheckpoint request{5, {LeafHash("a"), LeafHash("b")}, note};
  const auto read = ParseAddCheckpoint(request.Text());
  ASSERT_TRUE(read);
  EXPECT_EQ(read->Text(), request.Text());
  EXPECT_EQ(read->proof, request.proof);
  EXPECT_FALSE(ParseAddCheckpoint("old 05\n\n" + note));
  EXPECT_FALSE(ParseAddCheckpoint("new 5\n\n" + note));
  EXPECT_FALSE(ParseAddCheckpoint("old 5\n" + note));
  EXPECT_FALSE(ParseAddCheckpoint(AddCheckpoint{5, std::vector<Hash>(64), note}.Text()));

  const TlogProof proof{3, {LeafHash("a")}, note, "extra"};
  const auto proof_read = ParseTlogProof(proof.Text());
  ASSERT_TRUE(proof_read);
  EXPECT_EQ(proof_read->Text(), proof.Text());
  EXPECT_EQ(proof_read->note, note);
  EXPECT_EQ(proof_read->extra, "extra");
  EXPECT_EQ(ParseTlogProof(TlogProof{0, {}, note, ""}.Text())->index, 0u);
  EXPECT_FALSE(ParseTlogProof("c2sp.org/tlog-proof@v2\nindex 3\n\n" + note));
  EXPECT_FALSE(ParseTlogProof("c2sp.org/tlog-proof@v1\nindex 03\n\n" + note));
  EXPECT_FALSE(ParseTlogProof("c2sp.org/tlog-proof@v1\nindex 3\n" + note));
}

}  // namespace
}  // namespace ecluse
