// What a driver need not do, and why. A test that is not named here runs on every driver.
#pragma once

#include <span>
#include <string_view>

namespace nereid::testing {

struct Exemption {
  std::string_view driver;
  std::string_view test;  // name of the TEST_P
  std::string_view reason;
};

inline constexpr std::string_view kNoResults = "runs nothing and holds no data";

inline constexpr Exemption kExemptions[] = {
    {"null", "UploadAndDownload", kNoResults},
    {"null", "CopiesAreOrderedAmongLaunches", kNoResults},
    {"null", "LaunchesRunInOrder", kNoResults},
    {"null", "Sequences", kNoResults},
    {"null", "SequencesThatNeedScratch", kNoResults},
    {"null", "ScratchGrowsAfterASequence", kNoResults},
    {"null", "EveryProgramOnce", kNoResults},
    {"null", "ScratchIsPrivateAndAligned", kNoResults},
    {"null", "ObjectsStayApart", kNoResults},
    {"null", "LoadFailures", "does not look at code"},
    {"null", "DevicesInSeveralThreads", kNoResults},
    {"cuda", "LoadFailures", "says other things of an image: tests/device/gpu_driver_test.cc"},
    {"hip", "LoadFailures", "says other things of an image: tests/device/gpu_driver_test.cc"},
    {"hip", "EmptyAndHugeGrids", "a grid has at most 2^32 - 1 threads"},
};

}  // namespace nereid::testing
