"""The script `dev`: its help and errors, and that a failing step of the tests is never lost."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def dev(*args: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([ROOT / "dev", *args], capture_output=True, text=True, check=False)


def steps(script: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Runs `script` after the step functions, with the surroundings that `dev` gives them."""
    text = f"""
set -euo pipefail
LOGS={folder} EXPR='' FAST='' ALL_TARGETS=''
say() {{ echo "dev: $*" >&2; }}
die() {{ echo "dev: error: $*" >&2; exit 1; }}
source {ROOT}/tools/test_steps.sh
{script}
"""
    return subprocess.run(["bash", "-c", text], capture_output=True, text=True, check=False)


def test_help_names_every_command() -> None:
    done = dev("--help")
    assert done.returncode == 0
    commands = re.findall(r"^cmd_(\w+)\(\)", (ROOT / "dev").read_text(), re.MULTILINE)
    assert len(commands) >= 8
    assert all(re.search(rf"^  {command}\b", done.stdout, re.MULTILINE) for command in commands)


def test_wrong_usage_is_one_line() -> None:
    for args in (["fly"], ["test", "--fastest"], ["build", "relaese"]):
        done = dev(*args)
        assert done.returncode != 0
        assert done.stderr.splitlines()[-1].startswith("dev: error: ")


def test_a_failure_in_the_middle_of_a_step_counts(tmp_path: Path) -> None:
    done = steps("bad() { echo before; false; echo after; }; step s bad; echo ${FAILED_STEPS[*]}", tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "s"
    assert (tmp_path / "test-s.log").read_text() == "before\n"


def test_all_steps_run_and_the_exit_code_says_failed(tmp_path: Path) -> None:
    script = """
setup_tools() { :; }; setup_model() { :; }; setup_chromium() { :; }; setup_emulation() { :; }; build() { :; }; check_tidy() { :; }; targets_of() { echo cpu:generic; }
check_format() { false; }
pytest_run() { echo "== 1 passed in 1s =="; }
step_ctest() { echo "100% tests passed, 0 tests failed out of 3"; }
step_conformance() { :; }; step_fuzzers() { :; }
run_all_tests
"""
    done = steps(script, tmp_path)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == "dev: error: failed: checks"
    assert "ok" in done.stderr and "FAILED" in done.stderr
    assert "100% tests passed" in done.stdout + done.stderr
    passing = steps(script.replace("false", "true").replace(
        "check_format() { true; }", "step_checks() { :; }"), tmp_path)
    assert passing.returncode == 0, passing.stderr
    assert passing.stderr.splitlines()[-1] == "dev: all passed"


NOTHING_ELSE = """
setup_tools() { :; }; setup_model() { :; }; setup_chromium() { :; }; setup_emulation() { :; }; build() { :; }; step_checks() { :; }
step_conformance() { :; }; step_fuzzers() { :; }; check_tidy() { :; }; targets_of() { echo cpu:generic; }
"""
NO_CTEST = "step_ctest() { echo 'No tests were found!!!'; }\n"


def test_a_name_that_matches_nothing_is_a_failure(tmp_path: Path) -> None:
    none = NOTHING_ELSE + NO_CTEST + "EXPR=typo PY=none\n"
    none += "pytest_run() { echo '5 deselected in 0.10s'; }\nrun_all_tests\n"
    done = steps(none, tmp_path)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == (
        "dev: error: no test ran: none has a name that matches 'typo'"
    )
    one = steps(none.replace("5 deselected", "1 passed, 4 deselected"), tmp_path)
    assert one.returncode == 0, one.stderr


def test_tests_are_counted_by_the_closing_lines(tmp_path: Path) -> None:
    for text, count in (
        ("100% tests passed, 0 tests failed out of 12", 12),
        ("98% tests passed, 1 tests failed out of 40", 40),
        ("No tests were found!!!", 0),
        ("3 passed in 1.20s", 3),
        ("1 failed, 2 passed, 7 skipped in 61.00s (0:01:01)", 3),
        ("==== 2 passed, 1 error in 0.50s ====", 3),
        ("no tests ran in 0.01s", 0),
        ("4 skipped, 9 deselected in 0.01s", 0),
        ("2 passed in 1.20s\n3 passed, 1 warning in 1.20s", 5),
    ):
        log = tmp_path / "some.log"
        log.write_text(f"before\n{text}\n")
        assert steps(f"count_tests {log}", tmp_path).stdout.strip() == str(count), text


def test_a_failing_pytest_step_fails_the_whole(tmp_path: Path) -> None:
    folder = tmp_path / "cases"
    folder.mkdir()
    (folder / "test_bad.py").write_text("def test_bad():\n    assert False\n")
    script = NOTHING_ELSE + NO_CTEST + f"PY={sys.executable}\n"
    script += f"step_checks() {{ pytest_run {folder}; }}\n"
    script += "step cli step_checks\n[ ${#FAILED_STEPS[@]} = 1 ]\n"
    script += 'pytest_run() { echo "1 passed in 1.00s"; }; step_checks() { :; }\nrun_all_tests\n'
    done = steps(script, tmp_path)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == "dev: error: failed: cli"
    assert "1 failed" in done.stderr


def test_every_sanitized_test_is_built_and_run() -> None:
    built = re.search(r"foreach\(test ([\w\s]+)\)", (ROOT / "tests/fuzz/CMakeLists.txt").read_text())
    run = re.search(r"SANITIZED='\^\(([\w|]+)\)_test\$'", (ROOT / "tools/test_steps.sh").read_text())
    assert built and run
    again = "device_conformance_fake_gpu"  # the program device_conformance_test, over the stand-in for GPU drivers
    assert sorted([*built[1].split(), again]) == sorted(run[1].split("|"))


def test_a_fuzz_target_that_is_missing_or_fails_is_a_failure(tmp_path: Path) -> None:
    def run(*targets: Path) -> subprocess.CompletedProcess[str]:
        script = f"cd {tmp_path}\nstep_fuzzers 1 {' '.join(map(str, targets))}"
        return steps(script, tmp_path)

    good, bad = tmp_path / "fuzz_good", tmp_path / "fuzz_bad"
    good.write_text("#!/bin/sh\necho stat::number_of_executed_units: 7\n")
    bad.write_text("#!/bin/sh\nexit 77\n")
    for file in (good, bad):
        file.chmod(0o755)
    done = run(good)
    assert done.returncode == 0 and "fuzz_good: 7 inputs, no failure" in done.stdout
    assert run(bad, good).returncode == 1
    missing = run(good, tmp_path / "fuzz_*_none")
    assert missing.returncode == 1 and "was not built" in missing.stdout


def test_every_fuzz_target_is_listed() -> None:
    folder = ROOT / "tests" / "fuzz"
    listed = (folder / "CMakeLists.txt").read_text() + (folder / "ttir.cmake").read_text()
    missing = [
        file.stem
        for file in sorted(folder.glob("fuzz_*.cc"))
        if not re.search(rf"\b{file.stem}\b", listed)
    ]
    assert not missing


def test_ci_runs_the_same() -> None:
    assert "./dev test" in (ROOT / ".ci" / "run").read_text()
