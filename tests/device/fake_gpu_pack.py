"""A pack for the stand-in GPU driver (fake_gpu.h), made where `python -m kernels.pack` would make one for a
GPU: the variants asked for, compiled for this machine's processor, dressed up as images for a GPU.

The stand-in calls a kernel as the cpu driver does, so that a whole model runs on the cuda or hip driver
without a GPU. $NEREID_PYTHON names a script that runs this with the arguments of kernels.pack."""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from kernels import objects, pack, pack_file  # noqa: E402

ELF_MACHINES = {"cuda": 190, "hip": 224}
_SCRATCH_UNIT = 128  # of a program, as Triton's launchers count it


def _for_gpu(made: objects.Object, machine: int) -> objects.Object:
    blob = made.blob[:18] + machine.to_bytes(2, "little") + made.blob[20:]
    scratch = -(-made.scratch_bytes // _SCRATCH_UNIT) * _SCRATCH_UNIT
    return replace(made, blob=blob, scratch_bytes=scratch, num_warps=4)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-m", dest="module")
    for flag in ("--request", "--out", "--cc", "--cache"):
        parser.add_argument(flag, type=Path)
    parser.add_argument("--target")
    parser.add_argument("--jobs", type=int, default=2)
    options, _ = parser.parse_known_args()
    tools = objects.toolchain("cpu:native", options.cc, options.cache or objects.default_cache())
    results = pack.compile_all(pack.read_request(options.request), tools, options.jobs, lambda _: None)
    machine = ELF_MACHINES[options.target.split(":")[0]]
    dressed = [
        (name, key, [(choice, _for_gpu(made, machine)) for choice, made in compiled])
        for name, key, compiled in results
    ]
    pack_file.write_atomically(options.out, *pack_file.build(options.target, dressed))


if __name__ == "__main__":
    main()
