"""gpu_kernels.ptx to a cubin, by the assembler that comes with Triton.

python tests/conformance/assemble_gpu_kernels.py cuda:90 OUT
"""

import subprocess
import sys
from pathlib import Path

import triton


def main() -> None:
    target, out = sys.argv[1:]
    arch = int(target.removeprefix("cuda:"))
    tools = Path(triton.__file__).parent / "backends" / "nvidia" / "bin"
    ptxas = tools / ("ptxas-blackwell" if arch >= 90 else "ptxas")
    source = Path(__file__).with_name("gpu_kernels.ptx")
    subprocess.run([ptxas, f"-arch=sm_{arch}", source, "-o", out], check=True)


if __name__ == "__main__":
    main()
