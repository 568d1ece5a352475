#!/usr/bin/env python3
"""Documents are binding: every path that a Markdown file names must exist.

Looked at: `code spans` and [links](target) in text, and words in fenced blocks that start with a folder of
the project. A span is taken for a path when it holds a slash or ends in a known suffix. It may be
relative to the root, to the document, to a folder named earlier in the same line, or be the end of a
path (`targets/cpu.toml`). A bare name such as `request.json` is checked only after such a folder, in a
link, or when it is a document.
Placeholders (<name>, {name}, $NAME, ~, ...) and generated places (build/, .venv/, .cache/) are skipped.
Also checked: `./dev COMMAND` names a command that the script has.
"""

from __future__ import annotations

import fnmatch
import re
import sys
from pathlib import Path

from repo_files import repo_files, run_check

SUFFIXES = ("cc", "h", "c", "py", "md", "toml", "rs", "txt", "json", "jsonl", "cmake", "sh", "td")
PATH_LIKE = re.compile(r"^\.?[\w./*+@-]+$")
SKIPPED_STARTS = ("build/", ".venv", ".cache", "/", "~", "http", "-", "target/", "DIR/", "./build/")
SPAN = re.compile(r"`([^`\n]+)`")
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
DEV_COMMAND = re.compile(r"(?:^|[\s`(])\./dev +([a-z]+)\b")


def is_path(span: str) -> bool:
    if not PATH_LIKE.match(span) or span.startswith(SKIPPED_STARTS) or "..." in span:
        return False
    suffix = span.rsplit(".", 1)[-1] if "." in span.rsplit("/", 1)[-1] else ""
    if suffix:
        return suffix in SUFFIXES and not span.startswith(".")
    # Without a suffix only what ends in a slash, or starts at a folder of the root, is a path.
    return span.endswith("/") or span.split("/", 1)[0] in TOP_FOLDERS and "/" in span


TOP_FOLDERS: set[str] = set()


def exists(files: list[str], bases: list[Path], name: str) -> bool:
    if "/" in name and any(fnmatch.fnmatch(file, f"*/{name}") for file in files):
        return True
    if any(part in name for part in "*?"):
        return any(any(base.glob(name)) for base in bases)
    return any((base / name).exists() for base in bases)


def line_paths(line: str, fenced: bool) -> list[str]:
    if fenced:
        words = re.split(r"[\s`'\"(),;:=]+", line)
        found = [w for w in words if w.split("/", 1)[0] in TOP_FOLDERS and "/" in w and is_path(w)]
        return found
    spans = [s.strip() for s in SPAN.findall(line)]
    links = [t.split("#", 1)[0] for t in LINK.findall(line)]
    return [s for s in spans if is_path(s)] + [t for t in links if t and is_path(t)]


def check_document(root: Path, doc: Path, files: list[str], dev_commands: set[str]) -> list[str]:
    problems = []
    fenced = False
    text = (root / doc).read_text(encoding="utf-8", errors="replace")
    for number, line in enumerate(text.splitlines(), 1):
        if line.lstrip().startswith("```"):
            fenced = not fenced
            continue
        bases = [root, (root / doc).parent]
        for name in line_paths(line, fenced):
            bare = "/" not in name and not name.endswith(".md") and f"({name})" not in line
            if bare and len(bases) == 2:
                continue
            if not exists(files, bases, name):
                problems.append(f"{doc}:{number}: '{name}' does not exist")
            elif (root / name).is_dir():
                bases.append(root / name)
        for command in DEV_COMMAND.findall(line):
            if command not in dev_commands:
                problems.append(f"{doc}:{number}: './dev {command}' is not a command of dev")
    return problems


def commands_of_dev(root: Path) -> set[str]:
    """The functions cmd_NAME of the script `dev`."""
    dev = root / "dev"
    if not dev.is_file():
        return set()
    return set(re.findall(r"^cmd_(\w+)\(\)", dev.read_text(encoding="utf-8"), re.MULTILINE))


def check(root: Path) -> list[str]:
    files = repo_files(root)
    TOP_FOLDERS.clear()
    TOP_FOLDERS.update(p.parts[0] for p in files if len(p.parts) > 1)
    commands = commands_of_dev(root)
    documents = [p for p in files if p.suffix == ".md" and "data" not in p.parts]
    names = [str(path) for path in files]
    return [p for doc in documents for p in check_document(root, doc, names, commands)]


if __name__ == "__main__":
    sys.exit(run_check(check, __doc__))
