// Variants, choices, grids and requests; traces and profiles.
#include "src/device/launcher.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <tuple>

#include "src/base/json.h"
#include "src/base/paths.h"
#include "src/device/drivers.h"
#include "src/device/launch_profile.h"
#include "src/device/testing/test_kernels.h"
#include "src/device/trace.h"

namespace nereid {
namespace {

using testing::Axpy;
using testing::CountPrograms;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

class LauncherTest : public ::testing::Test {
 protected:
  LauncherTest() {
    char name[] = "/tmp/nereid_launcher_test.XXXXXX";
    dir_ = mkdtemp(name);
  }
  ~LauncherTest() override { std::filesystem::remove_all(dir_); }

  void open(const std::string& driver, bool with_pack) {
    auto device = create_device(driver, {.num_threads = 2});
    ASSERT_TRUE(device.has_value()) << device.error().message;
    device_ = std::move(*device);
    if (!with_pack) return;
    const CountPrograms::Key grids[] = {{.x = 3, .y = 2, .z = 2}};
    testing::write_test_pack(dir_ + "/p.pack", device_->info().target, grids);
    auto pack = Pack::open(dir_ + "/p.pack", device_->info().targets);
    ASSERT_TRUE(pack.has_value()) << pack.error().message;
    pack_.emplace(std::move(*pack));
  }

  std::string dir_;
  std::unique_ptr<Device> device_;
  std::optional<Pack> pack_;
};

TEST(Variants, CanonicalTextAndRequest) {
  const auto key = Axpy::pack_key({.dtype = DType::kBF16, .variant = 7});
  EXPECT_EQ(variant_text(Axpy::decl(), key), "axpy(dtype=bf16,variant=7)");
  const KernelVariant axpy{&Axpy::decl(), {key.begin(), key.end()}};
  const KernelVariant count{&CountPrograms::decl(), {1, 2, 3, 0}};
  const KernelVariant lists[2][3] = {{count, axpy, axpy}, {axpy, count, count}};
  const std::string request = pack_request_json(lists[0]);
  EXPECT_EQ(request, R"({"variants":[{"kernel":"axpy","key":{"dtype":"bf16","variant":7}},)"
                     R"({"kernel":"count_programs","key":{"x":1,"y":2,"z":3,"uneven":0}}]})");
  EXPECT_EQ(pack_request_json(lists[1]), request);
}

TEST_F(LauncherTest, RecordsOnTheNullDevice) {
  open("null", false);
  Launcher launcher(*device_, nullptr);
  const DevicePtr x = *device_->alloc(4096);
  for (int round = 0; round < 3; ++round) {
    for (const int64_t variant : {5, 3}) {
      ASSERT_TRUE(
          launcher.launch<Axpy>({DType::kF32, variant}, {.x = x, .out = x, .n = 4, .a = 1}));
    }
  }
  const auto variants = launcher.variants();
  ASSERT_EQ(variants.size(), 2u);
  EXPECT_EQ(variants[0].decl, &Axpy::decl());
  EXPECT_THAT(variants[0].key, ElementsAre(0, 5));
  EXPECT_THAT(variants[1].key, ElementsAre(0, 3));
}

TEST_F(LauncherTest, WrongArgumentsAreBugs) {
  open("null", false);
  Launcher launcher(*device_, nullptr);
  const DevicePtr x = *device_->alloc(4096);
  EXPECT_DEATH(
      std::ignore = launcher.launch<Axpy>({DType::kF32, 1}, {.x = x, .out = x + 8, .n = 4}),
      "axpy: 'out' = 0x[0-9a-f]+ is no multiple of 16");
  EXPECT_DEATH(std::ignore = launcher.launch<Axpy>({DType::kF32, 1}, {.x = 0, .out = x, .n = 4}),
               "'x' is null");
  EXPECT_DEATH(
      std::ignore = launcher.launch<Axpy>({DType::kF32, 1}, {.x = x + 4096, .out = x, .n = 4}),
      "argument 'x' = 0x[0-9a-f]+ is in no live allocation");
}

TEST_F(LauncherTest, RunsWithAPack) {
  open("cpu", true);
  Launcher launcher(*device_, &*pack_);
  EXPECT_EQ(launcher.target(), pack_->target());
  EXPECT_EQ(Launcher(*device_, nullptr).target(), device_->info().target);
  const int n = 1000;
  const DevicePtr x = *device_->alloc(n * 4);
  const DevicePtr out = *device_->alloc(n * 4);
  std::vector<float> values(n);
  for (int at = 0; at < n; ++at) values[static_cast<size_t>(at)] = static_cast<float>(at);
  ASSERT_TRUE(device_->upload(x, std::as_bytes(std::span(values))));
  for (const int length : {0, 1, 64, 65, n}) {
    std::vector<float> result(n, 1.0f);
    ASSERT_TRUE(device_->upload(out, std::as_bytes(std::span(result))));
    ASSERT_TRUE(launcher.launch<Axpy>({DType::kF32, 2}, {.x = x, .out = out, .n = length, .a = 2}));
    ASSERT_TRUE(device_->download(std::as_writable_bytes(std::span(result)), out));
    for (int at = 0; at < n; ++at) {
      const float expected = at < length ? 1.0f + 2.0f * static_cast<float>(at) : 1.0f;
      ASSERT_EQ(result[static_cast<size_t>(at)], expected) << at << " of " << length;
    }
  }
}

TEST_F(LauncherTest, MissingVariantIsAnError) {
  open("cpu", true);
  Launcher launcher(*device_, &*pack_);
  const DevicePtr x = *device_->alloc(64);
  auto status = launcher.launch<Axpy>({DType::kF32, 99}, {.x = x, .out = x, .n = 1});
  ASSERT_FALSE(status.has_value());
  EXPECT_EQ(status.error().message,
            "axpy(dtype=f32,variant=99): not in the pack " + dir_ + "/p.pack");
  const KernelVariant missing{&CountPrograms::decl(), {9, 9, 9, 0}};
  EXPECT_FALSE(launcher.prepare({&missing, 1}).has_value());
  EXPECT_TRUE(launcher.variants().empty());
}

// Axpy whose x is the launcher's workspace.
constexpr ArgDecl kWorkspaceArgs[] = {
    {.name = "workspace",
     .kind = ArgKind::kPtr,
     .access = Access::kReadWrite,
     .nullable = true,
     .divisible = 16},
    {.name = "out", .kind = ArgKind::kPtr, .access = Access::kReadWrite, .divisible = 16},
    {.name = "n", .kind = ArgKind::kI32},
    {.name = "a", .kind = ArgKind::kF32}};

template <int64_t kBounded, int64_t kUnbounded>
KernelDecl workspace_decl() {
  KernelDecl decl = Axpy::decl();
  decl.args = kWorkspaceArgs;
  decl.workspace_arg = 0;
  decl.workspace = [](const int64_t*, const uint64_t* args, const int64_t*) {
    return args[2] == 64 ? kBounded : kUnbounded;  // n: the first choice is for up to 64
  };
  return decl;
}

TEST_F(LauncherTest, GivesAWorkspaceWhoseFlagsAreZero) {
  open("cpu", true);
  Trace trace;
  const auto traced = make_traced_device(*device_, trace);
  Launcher launcher(*traced, &*pack_);
  const KernelDecl decl = workspace_decl<int64_t{1} << 20, 0>();
  const DevicePtr out = *traced->alloc(256);
  std::vector<float> values(64, 3.0f);
  ASSERT_TRUE(traced->upload(out, std::as_bytes(std::span(values))));
  const auto key = Axpy::pack_key({DType::kF32, 0});
  for (const int32_t n : {64, 5}) {
    const uint64_t args[] = {0, out, arg_slot(n), arg_slot(2.0f)};
    ASSERT_TRUE(launcher.launch_slots(decl, key, args));
  }
  ASSERT_TRUE(traced->download(std::as_writable_bytes(std::span(values)), out));
  EXPECT_THAT(values, ::testing::Each(3.0f));  // 3 + 2 * 0
  std::vector<DevicePtr> workspaces;
  for (const TraceEvent& event : trace.events()) {
    if (event.kind != TraceEvent::Kind::kLaunch) continue;
    workspaces.push_back(event.buffers.at(0).pointer);
    EXPECT_EQ(event.buffers[0].allocation, event.buffers[0].pointer);
  }
  ASSERT_EQ(workspaces.size(), 2u);
  EXPECT_EQ(workspaces[0], workspaces[1]);
}

TEST_F(LauncherTest, WorkspacesAreBounded) {
  open("cpu", true);
  Launcher launcher(*device_, &*pack_);
  const auto key = Axpy::pack_key({DType::kF32, 0});
  const uint64_t args[] = {0, *device_->alloc(256), arg_slot(int32_t{64}), arg_slot(2.0f)};
  const KernelDecl large = workspace_decl<int64_t{1} << 40, 0>();
  const Status too_large = launcher.launch_slots(large, key, args);
  ASSERT_FALSE(too_large.has_value());
  EXPECT_THAT(
      too_large.error().message,
      HasSubstr("1099511627776 bytes of workspace for at most 64 n, expected up to 67108864"));
  const KernelDecl unbounded = workspace_decl<256, 256>();
  const Status any = launcher.launch_slots(unbounded, key, args);
  ASSERT_FALSE(any.has_value());
  EXPECT_THAT(any.error().message, HasSubstr("256 bytes of workspace for any number of n"));
}

TEST_F(LauncherTest, ManyVariantsStayFindable) {
  open("null", false);
  Launcher launcher(*device_, nullptr);
  const DevicePtr x = *device_->alloc(64);
  for (int round = 0; round < 2; ++round) {
    for (int64_t variant = 0; variant < 3000; ++variant) {
      ASSERT_TRUE(launcher.launch<Axpy>({DType::kF32, variant}, {.x = x, .out = x, .n = 1}));
    }
  }
  EXPECT_EQ(launcher.variants().size(), 3000u);
}

TEST(Trace, EndsWhenItIsFull) {
  Trace trace(2);
  for (const char* name : {"a", "b", "c", "d"}) trace.mark(name);
  ASSERT_EQ(trace.events().size(), 3u);
  EXPECT_EQ(trace.events()[1].label, "b");
  EXPECT_TRUE(trace.events()[2].label.starts_with("the trace is full"));
}

TEST_F(LauncherTest, TraceKnowsWhoWroteWhat) {
  open("cpu", true);
  Trace trace;
  auto traced = make_traced_device(*device_, trace);
  Launcher launcher(*traced, &*pack_);
  const DevicePtr x = *traced->alloc(1024);
  const DevicePtr out = *traced->alloc(1024);
  const std::vector<float> values(256, 1.0f);
  ASSERT_TRUE(traced->upload(x, std::as_bytes(std::span(values))));
  trace.mark("ready");
  ASSERT_TRUE(
      launcher.launch<Axpy>({DType::kF32, 0}, {.x = x, .out = out + 256, .n = 100, .a = 1}));
  EXPECT_EQ(trace.events()[2].kind, TraceEvent::Kind::kUpload);
  EXPECT_EQ(trace.events()[2].bytes, 1024u);
  EXPECT_EQ(trace.events()[3].label, "ready");
  // The variant was not prepared: its choices are loaded first.
  const size_t last = trace.events().size() - 1;
  for (size_t at = 4; at < last; ++at) EXPECT_EQ(trace.events()[at].kind, TraceEvent::Kind::kLoad);
  EXPECT_GT(last, 4u);
  const TraceEvent& launch = trace.events()[last];
  EXPECT_EQ(launch.label, "axpy(dtype=f32,variant=0)#1");
  EXPECT_EQ(launch.grid.x, 2u);
  EXPECT_GE(launch.end_ns, launch.start_ns);
  ASSERT_EQ(launch.buffers.size(), 2u);
  EXPECT_EQ(launch.buffers[0].access, Access::kRead);
  EXPECT_EQ(launch.buffers[0].allocation, x);
  EXPECT_EQ(launch.buffers[1].access, Access::kReadWrite);
  EXPECT_EQ(launch.buffers[1].pointer, out + 256);
  EXPECT_EQ(launch.buffers[1].allocation, out);
  ASSERT_TRUE(trace.write_chrome_json(dir_ + "/t.json"));
  auto json = parse_json(*read_file(dir_ + "/t.json", 1 << 20));
  ASSERT_TRUE(json.has_value()) << json.error().message;
  ASSERT_EQ((*json)["traceEvents"].size(), last + 1);
  EXPECT_EQ((*json)["traceEvents"][last]["name"], "axpy");
  EXPECT_EQ((*json)["traceEvents"][last]["ph"], "X");
  EXPECT_THAT((*json)["traceEvents"][last]["args"]["out"].get<std::string>(),
              HasSubstr("readwrite"));
}

TEST(DTypes, NamesAndSizes) {
  for (const char* name :
       {"f32", "f16", "bf16", "i8", "u8", "i16", "i32", "i64", "u32", "u64", "f8e4m3", "f8e5m2"}) {
    ASSERT_TRUE(parse_dtype(name).has_value()) << name;
    EXPECT_EQ(dtype_name(*parse_dtype(name)), name);
  }
  EXPECT_FALSE(parse_dtype("f33").has_value());
  EXPECT_EQ(dtype_size(DType::kBF16), 2u);
  EXPECT_EQ(dtype_size(DType::kI64), 8u);
  EXPECT_EQ(arg_slot(int32_t{-1}), ~uint64_t{0});
  EXPECT_EQ(arg_slot(1.0f), 0x3F800000u);
}

TEST_F(LauncherTest, ProfileHasRolesTimesAndCosts) {
  open("cpu", true);
  LaunchProfile profile;
  auto profiled = make_profiled_device(*device_, profile);
  Launcher launcher(*profiled, &*pack_);
  const DevicePtr x = *profiled->alloc(400), out = *profiled->alloc(400);
  const auto axpy = [&](int32_t n) {
    return launcher.launch<Axpy>({.dtype = DType::kF32, .variant = 1},
                                 {.x = x, .out = out, .n = n, .a = 2});
  };
  ASSERT_TRUE(axpy(100));
  EXPECT_TRUE(profile.launches().empty());  // not asked for

  profile.start();
  launcher.set_role("first");
  profile.set_step({.sequences = 3, .queries = 1, .context = 7});
  ASSERT_TRUE(profiled->begin_sequence());
  ASSERT_TRUE(axpy(100));
  launcher.set_role("second");
  profile.set_step({.sequences = 1});
  ASSERT_TRUE(launcher.launch<CountPrograms>({.x = 3, .y = 2, .z = 2}, {.counts = out}));
  ASSERT_TRUE(axpy(10));
  ASSERT_TRUE(profiled->end_sequence());
  profile.stop();
  ASSERT_TRUE(axpy(100));

  const auto launches = profile.launches();
  ASSERT_EQ(launches.size(), 3u);
  EXPECT_STREQ(launches[0].role, "first");
  EXPECT_STREQ(launches[2].role, "second");
  EXPECT_STREQ(launches[1].decl->name, "count_programs");
  for (size_t at = 0; at < launches.size(); ++at) {
    EXPECT_LE(launches[at].start_ns, launches[at].end_ns);
    if (at > 0) EXPECT_LE(launches[at - 1].end_ns, launches[at].start_ns);
  }
  EXPECT_EQ(profile.cost(launches[0]).bytes, 1200);
  EXPECT_EQ(profile.cost(launches[0]).operations, 600);
  EXPECT_EQ(profile.cost(launches[1]).bytes, 0);  // its declaration says nothing
  EXPECT_EQ(profile.cost(launches[2]).operations, 20);

  profile.start();
  EXPECT_TRUE(profile.launches().empty());
  for (const DevicePtr pointer : {x, out}) profiled->free(pointer);
}

}  // namespace
}  // namespace nereid
