#!/usr/bin/env python3
"""Each header, compiled as C++17, is refused with one line that says why, and the compiler stops there.

    needs_cxx20.py INCLUDE_DIR COMPILER...    the first compiler reads all headers, the others what programs include
"""

import os
import re
import subprocess
import sys
from pathlib import Path

EXPECTED = "kubeproxy needs C++20 or newer: compile with -std=c++20"
MAX_LINES = 20  # the error, where the compiler stopped, and the way there through other headers
# These are compiled; the preprocessor alone reads the others.
PROGRAMS_INCLUDE = ["kubeproxy/kubeproxy.hpp", "kubeproxy/control/controller.hpp"]


def fault_of(header: str, include_dir: Path, compiler: str) -> str:
    work = ["-fsyntax-only"] if header in PROGRAMS_INCLUDE else ["-E", "-o", os.devnull]
    command = [compiler, "-std=c++17", *work, f"-I{include_dir}", "-x", "c++", "-"]
    text, environment = f'#include "{header}"\n', {**os.environ, "LC_ALL": "C"}
    run = subprocess.run(command, input=text, capture_output=True, text=True, env=environment)
    errors = re.findall(r": (?:fatal )?error: .*", run.stderr)
    if run.returncode == 0:
        return "compiles"
    if not errors or EXPECTED not in errors[0]:
        return f"is refused with another error first: {errors[:1] or run.stderr[:200]}"
    if len(errors) != 2 or "fatal error" not in errors[1]:
        return f"is refused with {len(errors)} errors"
    lines = run.stderr.count("\n")
    return f"is refused with {lines} lines" if lines > MAX_LINES else ""


def main() -> int:
    if len(sys.argv) < 3:
        print(__doc__)
        return 2
    include_dir, first, others = Path(sys.argv[1]), sys.argv[2], sys.argv[3:]
    headers = [path.relative_to(include_dir).as_posix() for path in sorted(include_dir.rglob("*.hpp"))]
    runs = [(header, first) for header in headers]
    runs += [(header, compiler) for compiler in others for header in PROGRAMS_INCLUDE]
    faults = [f"{h} {fault} by {compiler}" for h, compiler in runs if (fault := fault_of(h, include_dir, compiler))]
    print("\n".join(faults) or f"{len(headers)} headers are refused as they should be")
    return 1 if faults or not headers else 0


if __name__ == "__main__":
    sys.exit(main())
