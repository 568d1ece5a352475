"""Stands in for nereid-cc where a test is about packs: makes a shared object with the right
symbols."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path


def main() -> int:
    if sys.argv[1:3] == ["--print-cpu", "--cpu"]:
        cpu = sys.argv[3]
        if cpu == "abacus":
            print("nereid-cc: error: --cpu: found 'abacus', expected 'testcpu'", file=sys.stderr)
            return 1
        print("testcpu" if cpu == "native" else cpu)
        return 0
    source, _, out, _, cpu = sys.argv[1:]
    text = Path(source).read_text()
    name, arguments = re.search(r"tt\.func public @(\w+)\((.*?)\) attributes", text, re.S).groups()
    if cpu == "broken":
        print(
            f"nereid-cc: error: {name}.ttir:3:4: 'tt.load' is not supported here", file=sys.stderr
        )
        return 1
    count = len(re.findall(r"%\w+: ", arguments))
    code = (
        "struct Info { unsigned abi, args; unsigned long long scratch; unsigned align, reserved; };\n"
        f"const struct Info {name}_info = {{1, {count}, 4096, 64, 0}};\n"
        f"void {name}(void) {{}}\n"
    )
    compiled = subprocess.run(
        ["cc", "-shared", "-fPIC", "-x", "c", "-", "-o", out], input=code, text=True, check=False
    )
    return compiled.returncode


if __name__ == "__main__":
    sys.exit(main())
