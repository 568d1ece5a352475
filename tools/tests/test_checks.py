"""The checks must fail on what they are for, and pass on the project itself (that is `./dev lint`)."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

TOOLS = Path(__file__).resolve().parent.parent


def run(tool: str, root: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(TOOLS / tool), "--root", str(root)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def write(root: Path, name: str, text: str) -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


@pytest.mark.parametrize(
    ("file", "include", "message"),
    [
        ("src/base/log.h", '"src/pack/pack.h"', "base may not include pack"),
        ("src/kv/page_pool.h", '"src/device/device.h"', "kv may not include device"),
        ("src/text/t.cc", '"src/engine/engine.h"', "text may not include engine"),
        ("src/engine/e.cc", '"src/server/http.h"', "engine may not include server"),
        ("src/engine/e.cc", '"src/compiler/target.h"', "engine may not include compiler"),
        ("apps/nereid/run.cc", '"src/compiler/target.h"', "apps may not include compiler"),
        ("src/device/x.cc", '"apps/nereid/commands.h"', "device may not include apps"),
        ("src/ops/x.cc", '"llvm/IR/Module.h"', "only compiler may include llvm/"),
        ("src/ops/x.cc", "<cuda_runtime.h>", "vendor headers stay in src/device/"),
        ("src/misc/x.h", "<vector>", "layer 'misc' is not in the table"),
        ("src/ops/x.cc", '"tests/support/fake.h"', "only tests include tests/"),
        ("src/nn/x.cc", '"kernels/kernels.h"', "only ops, quant may include it"),
        ("src/engine/x.cc", '"kernels/kernels.h"', "only ops, quant may include it"),
        ("src/device/x.cc", '"kernels/identity.h"', "only engine may include it"),
        ("src/ops/x.cc", '"kernels/other.h"', "no such header is generated"),
    ],
)
def test_layers_refuses(tmp_path: Path, file: str, include: str, message: str) -> None:
    write(tmp_path, file, f"// why\n#include {include}\n")
    result = run("check_layers.py", tmp_path)
    assert result.returncode == 1
    assert message in result.stderr
    assert file in result.stderr


def test_layers_accepts_downward_includes(tmp_path: Path) -> None:
    write(tmp_path, "src/engine/e.cc", '#include "src/base/log.h"\n#include "src/nn/decoder.h"\n')
    write(tmp_path, "apps/nereid/run.cc", '#include "src/engine/engine.h"\n#include <vector>\n')
    write(tmp_path, "src/compiler/x.cc", '#include "mlir/IR/Module.h"\n')
    write(tmp_path, "src/ops/x_test.cc", '#include "tests/support/fake.h"\n')
    write(tmp_path, "src/ops/x.cc", '#include "kernels/kernels.h"\n')
    write(tmp_path, "src/engine/x.cc", '#include "kernels/identity.h"\n')
    assert run("check_layers.py", tmp_path).returncode == 0


def test_size(tmp_path: Path) -> None:
    write(tmp_path, "src/base/long.cc", "x\n" * 601)
    write(tmp_path, "src/base/middle.cc", "x\n" * 400)
    write(tmp_path, "tests/data/large.json", "1\n" * 5000)
    result = run("check_size.py", tmp_path)
    assert result.returncode == 1
    assert "src/base/long.cc: 601 lines, at most 600" in result.stderr
    assert "middle.cc: 400 lines" in result.stdout
    assert "large.json" not in result.stdout + result.stderr
    write(tmp_path, "src/base/long.cc", "x\n" * 600)
    assert run("check_size.py", tmp_path).returncode == 0


@pytest.mark.parametrize(
    ("text", "bad"),
    [
        ("see `src/base/gone.h`", "src/base/gone.h"),
        ("see [here](docs/gone.md)", "docs/gone.md"),
        ("| `src/base/` | `gone.h` |", "gone.h"),
        ("```\n$ python src/gone.py\n```", "src/gone.py"),
        ("`src/*/nothing_like_it.cc`", "src/*/nothing_like_it.cc"),
        ("run `./dev fly`", "./dev fly"),
    ],
)
def test_docs_refuses(tmp_path: Path, text: str, bad: str) -> None:
    write(tmp_path, "src/base/result.h", "")
    write(tmp_path, "dev", "cmd_build() {\n}\n")
    write(tmp_path, "README.md", text + "\n")
    result = run("check_docs.py", tmp_path)
    assert result.returncode == 1, result.stdout
    assert bad in result.stderr


def test_docs_accepts(tmp_path: Path) -> None:
    write(tmp_path, "src/base/result.h", "")
    write(tmp_path, "dev", "cmd_build() {\n}\n")
    write(
        tmp_path,
        "docs/guide.md",
        "`../src/base/result.h` [x](../src/base/result.h#L3) | `src/base/` | `result.h` |\n"
        "`src/<name>/x.cc`, `build/release/nereid`, `tok/s`, `a.b()`, `application/json`, `./dev build`\n"
        "`src/*/*.h` and $HOME/`~/x.h`\n```\nls src/base/result.h build/x\n```\n",
    )
    result = run("check_docs.py", tmp_path)
    assert result.returncode == 0, result.stderr
