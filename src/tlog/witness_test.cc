// A witness cosigns what goes on from what it saw, remembers it first, and refuses everything else.
#include "tlog/witness.h"

#include <gtest/gtest.h>

#include <thread>

#include "tlog/testing.h"

namespace ecluse {
namespace {

constexpr uint64_t kNow = 1'700'000'000;

class WitnessTest : public testing::Test {
 protected:
  Witness Make() {
    return Witness(TestKey("witness.example/1", SignatureType::cosignature),
                   {log_.verifier(), TestKey("reg/other").verifier()},
                   [this](const std::string& origin, const std::string& note) -> Status {
                     if (full_) return Fail(sqlstate::kIo, "full");
                     remembered_[origin] = note;
                     return {};
                   });
  }
  std::string Note(uint64_t size, const Leaves& tree, const SigningKey& key) const {
    return SignNote(Checkpoint{"reg/gate", size, tree.Root(size)}.Text(), key).Text();
  }
  std::string Body(uint64_t old_size, uint64_t size) {
    return AddCheckpoint{old_size, *ConsistencyProof(old_size, size, tree_), Note(size, tree_, log_)}.Text();
  }
  void ExpectCosigned(const WitnessAnswer& answer, uint64_t size) {
    ASSERT_EQ(answer.status, 200u) << answer.body;
    auto lines = ParseSignatureLines(answer.body);
    ASSERT_TRUE(lines && lines->size() == 1);
    const VerifierKey key = TestKey("witness.example/1", SignatureType::cosignature).verifier();
    EXPECT_EQ(VerifyCosignature(Checkpoint{"reg/gate", size, tree_.Root(size)}.Text(), lines->front(), key), kNow);
  }

  Leaves tree_{40};
  SigningKey log_ = TestKey("reg/gate");
  std::map<std::string, std::string> remembered_;
  bool full_ = false;
};

TEST_F(WitnessTest, CosignsEverySizeFromEverySmallerOne) {
  for (uint64_t old_size = 0; old_size <= 40; ++old_size) {
    for (uint64_t size = old_size; size <= 40; ++size) {
      Witness witness = Make();
      ExpectCosigned(witness.Add(Body(0, old_size), kNow), old_size);
      ExpectCosigned(witness.Add(Body(old_size, size), kNow), size);
      EXPECT_EQ(remembered_["reg/gate"], Note(size, tree_, log_));
      ExpectCosigned(witness.Add(Body(size, size), kNow), size);
    }
  }
}

TEST_F(WitnessTest, KnowsWhatItSawBefore) {
  Witness first = Make();
  ExpectCosigned(first.Add(Body(0, 20), kNow), 20);
  Witness witness = Make();
  ASSERT_TRUE(witness.Recall(remembered_["reg/gate"]));
  WitnessAnswer answer = witness.Add(Body(0, 30), kNow);
  EXPECT_EQ(answer.status, 409u);
  EXPECT_EQ(answer.body, "20\n");
  EXPECT_EQ(answer.type, "text/x.tlog.size");
  EXPECT_EQ(witness.Add(Body(10, 30), kNow).status, 409u);
  EXPECT_EQ(witness.Add(Body(10, 10), kNow).status, 409u) << "not back";
  ExpectCosigned(witness.Add(Body(20, 30), kNow), 30);
  EXPECT_FALSE(witness.Recall(Note(20, tree_, TestKey("reg/gate", SignatureType::cosignature))));
}

TEST_F(WitnessTest, RefusesForksForgeriesAndStrangers) {
  Witness witness = Make();
  ExpectCosigned(witness.Add(Body(0, 20), kNow), 20);
  Leaves fork(40);
  fork.leaves[7] = LeafHash("another");
  const auto proof = *ConsistencyProof(20, 30, fork);
  const WitnessAnswer forked = witness.Add(AddCheckpoint{20, proof, Note(30, fork, log_)}.Text(), kNow);
  EXPECT_EQ(forked.status, 422u);
  EXPECT_EQ(forked.body, Note(20, tree_, log_)) << "what shows that the log's key has signed two trees";
  const WitnessAnswer same = witness.Add(AddCheckpoint{20, {}, Note(20, fork, log_)}.Text(), kNow);
  EXPECT_EQ(same.status, 409u);
  EXPECT_EQ(same.body, "20\n");
  auto one_wrong = *ConsistencyProof(20, 30, tree_);
  one_wrong[0][3] ^= 1;
  EXPECT_EQ(witness.Add(AddCheckpoint{20, one_wrong, Note(30, tree_, log_)}.Text(), kNow).status, 422u);
  EXPECT_EQ(witness.Add(AddCheckpoint{20, {}, Note(30, tree_, log_)}.Text(), kNow).status, 422u);

  const uint8_t other[SigningKey::kSeed] = {9};
  const SigningKey forger("reg/gate", SignatureType::ed25519, Secret(std::span<const uint8_t>(other)));
  EXPECT_EQ(
      witness.Add(AddCheckpoint{20, *ConsistencyProof(20, 30, tree_), Note(30, tree_, forger)}.Text(), kNow).status,
      403u);
  const SigningKey stranger = TestKey("reg/stranger");
  const std::string foreign = SignNote(Checkpoint{"reg/stranger", 0, EmptyRoot()}.Text(), stranger).Text();
  EXPECT_EQ(witness.Add(AddCheckpoint{0, {}, foreign}.Text(), kNow).status, 404u);
  EXPECT_EQ(witness.Add(AddCheckpoint{30, {}, Note(20, tree_, log_)}.Text(), kNow).status, 400u);
  for (const std::string& body : {std::string(), std::string("old 20"), "old 020\n\n" + Note(20, tree_, log_),
                                  "old 20\n" + Note(20, tree_, log_), Note(20, tree_, log_)})
    EXPECT_EQ(witness.Add(body, kNow).status, 400u) << body;
  ExpectCosigned(witness.Add(Body(20, 40), kNow), 40);  // none of it moved it
}

TEST_F(WitnessTest, AnEmptyTreeHasOneRoot) {
  Witness witness = Make();
  Checkpoint wrong{"reg/gate", 0, tree_.Root(1)};
  EXPECT_EQ(witness.Add(AddCheckpoint{0, {}, SignNote(wrong.Text(), log_).Text()}.Text(), kNow).status, 409u);
  EXPECT_EQ(witness.Add(AddCheckpoint{0, {tree_.Root(1)}, Note(20, tree_, log_)}.Text(), kNow).status, 422u)
      << "nothing has to be proved of it";
  ExpectCosigned(witness.Add(Body(0, 0), kNow), 0);
}

TEST_F(WitnessTest, DoesNotCosignWhatItCannotRemember) {
  Witness witness = Make();
  ExpectCosigned(witness.Add(Body(0, 10), kNow), 10);
  full_ = true;
  EXPECT_EQ(witness.Add(Body(10, 20), kNow).status, 500u);
  full_ = false;
  EXPECT_EQ(witness.Add(Body(20, 30), kNow).body, "10\n");
  ExpectCosigned(witness.Add(Body(10, 20), kNow), 20);
}

TEST_F(WitnessTest, OneAtATime) {
  Witness witness = Make();
  std::vector<std::thread> threads;
  std::atomic<int> cosigned = 0;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (uint64_t size = 1; size <= 40; ++size)
        if (witness.Add(Body(size - 1, size), kNow).status == 200) ++cosigned;
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(cosigned, 40) << "each size goes on from the one before once, however many ask";
}

}  // namespace
}  // namespace ecluse
