"""check_tidy.py with a stand-in for clang-tidy: which files it takes, and which it knows to be clean."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

TOOL = Path(__file__).resolve().parents[1] / "check_tidy.py"
NAMES = [f"src/base/file{index:02}.cc" for index in range(12)]
# Finds fault with BAD in the file; notes the names it was given.
FAKE = """#!/bin/sh
if [ "$1" = --version ]; then echo fake 1; exit 0; fi
for last; do :; done
echo "$last" >> "$(dirname "$0")/checked"
if grep -q BAD "$last"; then echo "$last: finding"; exit 1; fi
"""


class Project:
    def __init__(self, root: Path) -> None:
        self.root = root
        self.write("fake/clang-tidy", FAKE)
        (root / "fake/clang-tidy").chmod(0o755)
        self.write(".clang-tidy", "Checks: x\n")
        self.write(".gitignore", "build/\nfake/\n")
        for name in NAMES:
            self.write(name, "// old\n")
        self.write("src/base/some.h", "// old\n")
        self.write(NAMES[7], '#include "src/base/some.h"\n')
        self.write("tests/other.cc", "BAD\n")
        self.git("init", "-q")
        self.commit()

    def write(self, name: str, text: str) -> None:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def git(self, *args: str) -> None:
        who = ["-c", "user.name=x", "-c", "user.email=x@example.org"]
        subprocess.run(["git", "-C", self.root, *who, *args], check=True, capture_output=True)

    def commit(self) -> None:
        self.git("add", ".")
        self.git("commit", "-q", "-m", "x")

    def check(self, *flags: str) -> tuple[int, set[str], str]:
        """(exit status, files that the stand-in saw, closing line)"""
        sources = [str(p) for p in self.root.rglob("*.cc")]
        commands = [
            {"file": name, "directory": str(self.root), "command": f"c++ -I{self.root} -c {name}"}
            for name in sources
        ]
        self.write("build/release/compile_commands.json", json.dumps(commands))
        checked = self.root / "fake/checked"
        checked.unlink(missing_ok=True)
        tidy = str(self.root / "fake/clang-tidy")
        done = subprocess.run(
            [sys.executable, TOOL, "--root", self.root, "--tidy", tidy, *flags],
            capture_output=True,
            text=True,
            check=False,
        )
        seen = checked.read_text().split() if checked.exists() else []
        names = {str(Path(name).relative_to(self.root)) for name in seen}
        return done.returncode, names, done.stdout.splitlines()[-1]


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


def test_changed_files(project: Project) -> None:
    project.write(NAMES[3], "// committed\n")
    project.commit()
    project.write(NAMES[5], "// not committed\n")
    project.write("src/base/new.cc", "// new\n")
    assert project.check()[:2] == (0, {NAMES[3], NAMES[5], "src/base/new.cc"})


def test_clean_files_are_not_checked_again(project: Project) -> None:
    assert project.check("--all")[:2] == (0, set(NAMES))
    status, names, closing = project.check("--all")
    assert (status, names) == (0, set())
    assert closing.startswith("tidy: 0 files checked, 12 known to be clean")
    project.write("src/base/some.h", "// new\n")
    assert project.check("--all")[1] == {NAMES[7]}
    project.write(".clang-tidy", "Checks: y\n")
    assert project.check("--all")[1] == set(NAMES)


def test_a_finding_fails_until_it_is_gone(project: Project) -> None:
    project.write(NAMES[2], "BAD\n")
    for _ in range(2):
        status, names, closing = project.check("--all")
        assert status == 1 and NAMES[2] in names
        assert closing.endswith("1 with findings")
    project.write(NAMES[2], "// good\n")
    assert project.check("--all")[:2] == (0, {NAMES[2]})


def test_part_takes_others_while_there_is_time(project: Project) -> None:
    project.write(NAMES[3], "// changed\n")
    project.commit()
    status, names, closing = project.check("--part", "--seconds", "0")
    assert (status, names) == (0, {NAMES[3]})
    assert "11 left for another time" in closing
    assert project.check("--part")[1] == set(NAMES) - {NAMES[3]}
