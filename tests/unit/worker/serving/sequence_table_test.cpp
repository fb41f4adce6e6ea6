#include "worker/serving/sequence_table.h"

#include <gtest/gtest.h>

namespace leadline::worker {
namespace {

Sequence sequence(std::uint64_t link, std::uint64_t request) {
  Sequence s;
  s.link = LinkId{link};
  s.request = transport::RequestId{request};
  return s;
}

TEST(SequenceTable, FindsByIdAndByRequestAndForgetsBoth) {
  SequenceTable table;
  const SequenceId a = table.add(sequence(1, 7)).id;
  const SequenceId b = table.add(sequence(2, 7)).id;
  EXPECT_NE(a, b);
  EXPECT_EQ(table.find(LinkId{2}, transport::RequestId{7})->id, b);
  table.erase(a);
  EXPECT_EQ(table.find(a), nullptr);
  EXPECT_EQ(table.find(LinkId{1}, transport::RequestId{7}), nullptr);
  EXPECT_NE(table.find(b), nullptr);
}

TEST(SequenceTable, IdsAreNeverReused) {
  SequenceTable table;
  const SequenceId a = table.add(sequence(1, 1)).id;
  table.erase(a);
  EXPECT_NE(table.add(sequence(1, 1)).id, a);
}

TEST(SequenceTable, ListsTheRequestsOfALink) {
  SequenceTable table;
  const SequenceId a = table.add(sequence(1, 1)).id;
  table.add(sequence(2, 1));
  const SequenceId c = table.add(sequence(1, 2)).id;
  EXPECT_EQ(table.of_link(LinkId{1}), (std::vector<SequenceId>{a, c}));
}

TEST(SequenceTableDeathTest, TheSameRequestTwiceIsABug) {
  SequenceTable table;
  table.add(sequence(1, 1));
  EXPECT_DEATH(table.add(sequence(1, 1)), "sequence table twice");
}

}  // namespace
}  // namespace leadline::worker
