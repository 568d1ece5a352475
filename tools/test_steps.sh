# shellcheck shell=bash
# The steps of `./dev test`, cheap ones first. Sourced by dev; each step's output goes to build/logs,
# its closing lines and time to the terminal, and a failed step does not keep the next ones from
# running. The exit status says whether all passed.

FAILED_STEPS=()
SUMMARY=()
TESTS_RUN=0

# step NAME COMMAND...
step() {
  local name=$1 log="$LOGS/test-$1.log" start=$SECONDS status=0
  shift
  mkdir -p "$LOGS"
  set +e  # not `|| status=$?`: that would turn -e off inside the step
  (
    set -e
    "$@"
  ) >"$log" 2>&1
  status=$?
  set -e
  local seconds=$((SECONDS - start))
  TESTS_RUN=$((TESTS_RUN + $(count_tests "$log")))
  if [ $status = 0 ]; then
    closing_lines "$log"
    SUMMARY+=("$(printf '  ok      %4d s  %s' $seconds "$name")")
    say "$name: ok, $seconds s"
  else
    tail -n "${LOG_LINES:-80}" "$log" >&2
    FAILED_STEPS+=("$name")
    SUMMARY+=("$(printf '  FAILED  %4d s  %s (%s)' $seconds "$name" "$log")")
    say "$name: FAILED, $seconds s (all of it: $log)"
  fi
}

# What ctest, pytest, the conformance runner and the fuzzers say at the end.
closing_lines() {
  grep -E 'tests passed|Total Test time|^=+ .*(passed|failed|error|no tests).* =+$|^[0-9]+ passed|cases? (ran|passed)|^(fuzz_|tidy: [0-9])' \
    "$1" | tail -n 12 || true
}

# How many tests ran, passed or not, by the closing lines of ctest and pytest.
count_tests() {
  awk '
    /% tests passed, .* out of [0-9]+/ { count += $NF }
    /^(=+ )?[0-9]+ [a-z]+(, [0-9]+ [a-z]+)* in [0-9.]+s/ {
      for (i = 1; i < NF; i++) if ($(i + 1) ~ /^(passed|failed|errors?|xfailed|xpassed),?$/) count += $i
    }
    END { print count + 0 }' "$1"
}

pytest_run() { # folders and flags of pytest
  local status=0
  PYTHONDONTWRITEBYTECODE=1 NEREID_CC=$PWD/build/release/nereid-cc \
    NEREID_TEST_CACHE=$PWD/build/test-cache/objects $PY -m pytest -q -n 2 --durations=3 \
    -p no:cacheprovider ${EXPR:+-k "$EXPR"} "$@" || status=$?
  # With -k, a folder without a test of that name is fine; run_all_tests wants one somewhere.
  if [ $status = 5 ] && [ -n "$EXPR" ]; then status=0; fi
  return $status
}

step_checks() {
  check_format
  $PY tools/check_layers.py
  $PY tools/check_docs.py
  $PY tools/check_size.py
}

step_ctest() { # build folder, flags of ctest
  local folder=$1
  shift
  if [ -n "$EXPR" ]; then
    set -- -R "$EXPR" "$@"
  else
    set -- --no-tests=error "$@"
  fi
  ctest --test-dir "$folder" -j 2 --output-on-failure "$@"
}

step_compiler() {
  pytest_run tests/compiler || return 1
  [ -n "$ALL_TARGETS" ] || return 0
  local target
  for target in x86-64-v3 x86-64-v4; do
    echo "== $target"
    pytest_run tests/compiler --cpu "$target" || return 1
  done
}

# Kernel cases compiled for other processors, for each kind of code that there is for Arm and for x86-64: some of
# them, more of those for Arm with dot products; with --all-targets all. Arm is emulated; of x86-64 only what this
# processor can run.
step_other_cpus() {
  local target every runs cases="tests/kernels/test_cases.py"
  runs=" $(targets_of cpu) cpu:generic cpu:neoverse-n1 cpu:neoverse-v2 " || return 1
  for target in generic neoverse-n1 neoverse-v2 x86-64-v3 x86-64-v4 cascadelake; do
    if [ "${runs/ cpu:$target /}" = "$runs" ]; then
      echo "== $target: left out, this processor cannot run it"
      continue
    fi
    echo "== $target"
    every="--every 16"
    [ $target = neoverse-n1 ] && every="--every 4"
    [ -n "$ALL_TARGETS" ] && every="" && cases="tests/kernels/test_cases.py tests/kernels/test_native.py"
    pytest_run $cases --target "cpu:$target" $every || return 1
  done
}

# DEVICE: the targets that it runs, the best first, as `nereid devices` says.
targets_of() {
  build/release/nereid devices --json | $PY -c 'import json, sys
print(*next(d["targets"] for d in json.load(sys.stdin) if d["device"] == sys.argv[1]))' "$1"
}

best_target() {
  targets_of "$1" | cut -d " " -f 1
}

# Every kernel case on this processor. Compiled as the program does it, so that step_conformance finds the
# objects.
step_kernels() {
  local target
  target=$(best_target cpu) || return 1
  pytest_run tests/kernels --target "$target" ${ALL_TARGETS:+--all-targets}
}

# Every kernel case again, through the C++ launcher on the device under test; for a GPU the device
# contract too, whose test kernels have to be assembled for it.
step_conformance() {
  local cases=build/kernel-cases device=${NEREID_TEST_DEVICE:-cpu} target
  target=$(best_target "${device/#cpu:*/cpu}") || return 1
  case $device in cpu:*) target=$device ;; esac
  rm -rf $cases
  $PY -m kernels.export_cases --out $cases
  if [[ $device == cuda* ]]; then
    $PY tests/conformance/assemble_gpu_kernels.py "$target" $cases/device.cubin
    NEREID_TEST_GPU_KERNELS=$cases/device.cubin \
      build/release/tests/conformance/device_conformance_test --gtest_filter='*/cuda'
  fi
  $PY -m kernels.pack --request $cases/request.json --target "$target" --out $cases/cases.pack \
    --cc "$PWD/build/release/nereid-cc" --cache build/test-cache/objects --quiet
  build/release/kernel_cases --driver "$device" --pack $cases/cases.pack --cases $cases
}

# The list is target sanitized_tests in tests/fuzz/CMakeLists.txt, and device_conformance_test again over
# the stand-in for GPU drivers.
readonly SANITIZED='^(base|pack|kv|sched|serving_null|quant|text|openai|weights|commands|device|server|loadgen|hostile_models|device_conformance|device_conformance_fake_gpu|gpu_driver)_test$'
step_sanitizers() {
  step_ctest build/fuzz -R "$SANITIZED"
}

# What runs threads, under the thread sanitizer: the worker pool and launches on it, files read ahead, the serving
# engine with its scheduler, the server and the load generator.
readonly THREADED='device_test quant_test device_conformance_test serving_null_test openai_test server_test loadgen_test'
step_threads() {
  TSAN_OPTIONS=suppressions=$PWD/tools/thread_sanitizer.supp step_ctest build/tsan -R "^(${THREADED// /|})\$"
}

# SECONDS FUZZ_TARGET...: each for that many seconds, from its seeds.
step_fuzzers() {
  local seconds=$1 target name seeds log status=0
  shift
  mkdir -p "$LOGS" build/fuzz-corpus
  for target in "$@"; do
    [ -x "$target" ] || { echo "$target was not built"; return 1; }
    name=$(basename "$target")
    seeds=tests/fuzz/seeds/${name#fuzz_}
    log="$LOGS/$name.log"
    mkdir -p "build/fuzz-corpus/$name"
    if "$target" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -verbosity=0 -keep_seed=1 \
      -print_final_stats=1 -artifact_prefix="build/fuzz-corpus/$name-" \
      "build/fuzz-corpus/$name" $([ -d "$seeds" ] && echo "$seeds") >"$log" 2>&1; then
      echo "$name: $(awk '/number_of_executed_units/ { print $2 }' "$log") inputs, no failure"
    else
      tail -n 40 "$log"
      echo "$name: FAILED (all of it: $log)"
      status=1
    fi
  done
  return $status
}

run_all_tests() {
  local start=$SECONDS line
  setup_tools
  setup_chromium
  setup_emulation
  setup_model
  if [ -z "$EXPR" ]; then
    step checks step_checks
    step tools pytest_run tools/tests
  fi
  step build build release all
  step unit step_ctest build/release
  step cli pytest_run tests/cli
  step server pytest_run tests/server
  step kernels step_kernels
  step other-cpus step_other_cpus
  if [ -z "$EXPR" ]; then step conformance step_conformance; fi
  if [ -z "$FAST" ] || [ -n "$EXPR" ]; then step compiler step_compiler; fi
  if [ -z "$FAST$EXPR" ]; then
    step tidy check_tidy --part
    step sanitizer-build build fuzz sanitized_tests fuzzers
    step sanitizers step_sanitizers
    # shellcheck disable=SC2086
    step thread-sanitizer-build build tsan $THREADED
    step thread-sanitizer step_threads
    step fuzzers step_fuzzers 10 build/fuzz/fuzzers/fuzz_*
  fi
  say "all steps, $((SECONDS - start)) s:"
  for line in "${SUMMARY[@]}"; do printf '%s\n' "$line" >&2; done
  [ ${#FAILED_STEPS[@]} = 0 ] || die "failed: ${FAILED_STEPS[*]}"
  [ $TESTS_RUN -gt 0 ] || die "no test ran${EXPR:+: none has a name that matches '$EXPR'}"
  say "all passed"
}
