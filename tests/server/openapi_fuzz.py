#!/usr/bin/env python3
"""Requests made from a server's own description (/openapi.json) by schemathesis, valid ones and broken ones.

No answer may be a 5xx, and every answer has to be one that the description promises: status, headers, content type,
body. With a fixed seed the same requests are made again.

    tests/server/openapi_fuzz.py http://127.0.0.1:8000 --examples 1000
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "unsupported_method",
    "allow_header_conformance",
)


def fuzz(address: str, examples: int, seed: int = 1, flags: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    command = [
        *(str(Path(sys.executable).with_name("schemathesis")), "run", f"{address}/openapi.json", "--no-color"),
        *("--checks", ",".join(CHECKS), "--max-examples", str(examples)),
        *("--seed", str(seed), "--generation-database", "none", "--suppress-health-check", "all"),
        *("--request-timeout", "60", "--warnings", "off", "--no-shrink", "--continue-on-failure"),
    ]
    with tempfile.TemporaryDirectory() as folder:  # it leaves notes of failures where it runs
        return subprocess.run([*command, *flags], capture_output=True, text=True, check=False, cwd=folder)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("address", help="of the server, such as http://127.0.0.1:8000")
    parser.add_argument("--examples", type=int, default=300, help="requests of each route and kind (300)")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    done = fuzz(options.address, options.examples, options.seed, ("--phases", "coverage,fuzzing"))
    print(done.stdout + done.stderr)
    return done.returncode


if __name__ == "__main__":
    sys.exit(main())
