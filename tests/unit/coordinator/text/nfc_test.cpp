#include "coordinator/text/nfc.h"

#include <gtest/gtest.h>

namespace leadline::coordinator {
namespace {

TEST(Nfc, ComposesAndOrders) {
  EXPECT_EQ(to_nfc("e\u0301"), "\u00e9");
  EXPECT_EQ(to_nfc("q\u0307\u0323"), "q\u0323\u0307");  // classes 230, 220
  EXPECT_EQ(to_nfc("d\u0307\u0323"), "\u1e0d\u0307");
  EXPECT_EQ(to_nfc("\u212b"), "\u00c5");        // a singleton
  EXPECT_EQ(to_nfc("\u0344"), "\u0308\u0301");  // excluded from composition
  EXPECT_EQ(to_nfc("\u0958"), "\u0915\u093c");
  EXPECT_EQ(to_nfc("\u01d5"), to_nfc("U\u0308\u0304"));  // two steps
  EXPECT_EQ(to_nfc("plain ascii"), "plain ascii");
  EXPECT_EQ(to_nfc(""), "");
  EXPECT_EQ(to_nfc("\u0301e"), "\u0301e");  // nothing to compose with
}

TEST(Nfc, HangulByArithmetic) {
  EXPECT_EQ(to_nfc("\u1112\u1161\u11ab"), "\ud55c");
  EXPECT_EQ(to_nfc("\ud558\u11ab"), "\ud55c");
  EXPECT_EQ(to_nfc("\uc758\u11a7"), "\uc758\u11a7");  // U+11A7 is no trailing consonant
}

TEST(Nfc, MarksAfterUnicode9AreStarters) {
  EXPECT_EQ(to_nfc("q\u0345\u08ca"), "q\u0345\u08ca");
}

TEST(Nfc, IsIdempotent) {
  const std::string text =
      "e\u0301\u0323 \u1100\u1161\u11a8 \u0f73 \u212b \u0958 \U0001d15e \U00011938 \U000110ba";
  EXPECT_EQ(to_nfc(to_nfc(text)), to_nfc(text));
}

}  // namespace
}  // namespace leadline::coordinator
