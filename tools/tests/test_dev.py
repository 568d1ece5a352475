"""The script `dev`: its help and errors, and that a failing step of the tests is never lost."""

from __future__ import annotations

import re
import subprocess
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
setup_tools() { :; }; setup_model() { :; }; build() { :; }
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


def test_ci_runs_the_same() -> None:
    assert "./dev test" in (ROOT / ".ci" / "run").read_text()
