"""Writes random blocks of every block format with the values that the `gguf` package gives them.

    python tools/golden/quant_blocks.py tests/quant/blocks.json
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
from pathlib import Path

import gguf
import numpy as np
from gguf import GGMLQuantizationType as Type

BLOCKS = 3
# Byte offsets of the f16 scales in a block; random bytes there could be NaN.
SCALES: dict[Type, tuple[int, ...]] = {
    Type.Q4_0: (0,),
    Type.Q4_1: (0, 2),
    Type.Q5_0: (0,),
    Type.Q5_1: (0, 2),
    Type.Q8_0: (0,),
    Type.Q4_K: (0, 2),
    Type.Q5_K: (0, 2),
    Type.Q6_K: (208,),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("output", type=Path)
    options = parser.parse_args()
    rng = np.random.default_rng(11)
    formats = []
    for kind, offsets in SCALES.items():
        block_bytes = gguf.GGML_QUANT_SIZES[kind][1]
        raw = rng.integers(0, 256, (1, BLOCKS * block_bytes), dtype=np.uint8)
        for block in range(BLOCKS):
            for offset in offsets:
                # ordinary, negative, and subnormal in f16
                scale = np.float16(rng.uniform(0.5, 2) * (0.01, -0.3, 3e-6)[block])
                at = block * block_bytes + offset
                raw[0, at : at + 2] = np.frombuffer(scale.tobytes(), np.uint8)
        values = gguf.quants.dequantize(raw, kind).astype(np.float32)
        formats.append(
            {"format": kind.name, "stored": raw.tobytes().hex(), "values": values.tobytes().hex()}
        )
    head = {"versions": {name: importlib.metadata.version(name) for name in ("gguf", "numpy")}}
    body = ",\n".join(json.dumps(entry) for entry in formats)
    options.output.write_text(json.dumps(head)[:-1] + f', "formats": [\n{body}\n]}}\n')


if __name__ == "__main__":
    main()
