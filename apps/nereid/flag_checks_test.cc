// What the checks of flag values say.
#include "apps/nereid/flag_checks.h"

#include <gtest/gtest.h>

namespace nereid::commands {
namespace {

TEST(FlagChecks, WholeNumbers) {
  for (const char* text : {"1", "64", "2147483647"}) EXPECT_EQ(whole_number(1)(text), "") << text;
  EXPECT_EQ(whole_number(1)("0"), "found 0, expected at least 1");
  EXPECT_EQ(whole_number(1)("-1"), "found -1, expected at least 1");
  for (const char* text : {"1e18", "99999999999", "x", "", " 1", "1.5", "0x10", "2147483648"}) {
    EXPECT_EQ(whole_number(1)(text),
              fmt::format("found '{}', expected a whole number from 1 to 2147483647", text));
  }
  EXPECT_EQ(whole_number(0, 32)("-1"), "found '-1', expected a whole number from 0 to 32");
  EXPECT_EQ(whole_number(0, 32)("33"), "found '33', expected a whole number from 0 to 32");
}

TEST(FlagChecks, Seeds) {
  for (const char* text : {"0", "18446744073709551615"}) EXPECT_EQ(seed_number()(text), "");
  for (const char* text : {"-1", "18446744073709551616", "1e3"}) {
    EXPECT_EQ(
        seed_number()(text),
        fmt::format("found '{}', expected a whole number from 0 to 18446744073709551615", text));
  }
}

TEST(FlagChecks, NumbersInRanges) {
  for (const char* text : {"0", "0.7", "100"}) {
    EXPECT_EQ(number_in(kTemperatureRange)(text), "");
  }
  for (const char* text : {"nan", "inf", "-0.1", "1e99", "warm", ""}) {
    EXPECT_EQ(number_in(kTemperatureRange)(text),
              fmt::format("found '{}', expected 0 to 100", text));
  }
  EXPECT_EQ(number_in(kTopPRange)("0"), "found '0', expected more than 0 and at most 1");
  EXPECT_EQ(number_in(kTopPRange)("1"), "");
}

TEST(FlagChecks, LargeNumbers) {
  const FlagCheck check = whole_number(0, 1'000'000'000'000);
  for (const char* text : {"0", "2147483648", "1000000000000"}) EXPECT_EQ(check(text), "") << text;
  for (const char* text : {"-1", "1000000000001", "1e12", "99999999999999999999"}) {
    EXPECT_EQ(check(text),
              fmt::format("found '{}', expected a whole number from 0 to 1000000000000", text));
  }
}

TEST(FlagChecks, PlainNumbers) {
  for (const char* text : {"0.01", "30", "1e2"}) EXPECT_EQ(number_in(0.01, 100)(text), "") << text;
  for (const char* text : {"nan", "inf", "0", "101", "-1", "soon", ""}) {
    EXPECT_EQ(number_in(0.01, 100)(text),
              fmt::format("found '{}', expected a number from 0.01 to 100", text));
  }
}

TEST(FlagChecks, TokenBiases) {
  EXPECT_EQ(token_bias()("42:-5.5"), "");
  for (const char* text : {"42", "42:", ":1", "x:1", "-1:1", "1:x", "99999999999:1"}) {
    EXPECT_EQ(token_bias()(text),
              fmt::format("found '{}', expected ID:VALUE such as 42:-5.5", text));
  }
  EXPECT_EQ(token_bias()("1:nan"),
            "found '1:nan', expected ID:VALUE with a value from -100 to 100");
}

}  // namespace
}  // namespace nereid::commands
