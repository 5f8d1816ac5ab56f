#!/usr/bin/env python3
"""A typical mistake does not compile, and the first lines that the compiler writes say what is wrong.

    misuse.py INCLUDE_DIR FILE COMPILER...

FILE begins with `// error: ` and a regular expression, which must match within the first five lines of each compiler.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

READ_LINES = 5


def fault_of(file: Path, include_dir: str, compiler: str) -> str:
    expected = re.match(r"// error: (.+)\n", file.read_text())
    if not expected:
        return f"{file} does not begin with `// error: ` and what to expect"
    command = [compiler, "-std=c++20", "-fsyntax-only", f"-I{include_dir}", file.name]
    run = subprocess.run(command, cwd=file.parent, capture_output=True, text=True, env={**os.environ, "LC_ALL": "C"})
    first_lines = "\n".join(run.stderr.splitlines()[:READ_LINES])
    if run.returncode == 0:
        return f"{compiler} compiles it"
    if not re.search(expected[1], first_lines):
        return f"{compiler} does not say {expected[1]!r} in its first {READ_LINES} lines:\n{first_lines}"
    return ""


def main() -> int:
    if len(sys.argv) < 4:
        print(__doc__)
        return 2
    include_dir, file, compilers = sys.argv[1], Path(sys.argv[2]), sys.argv[3:]
    faults = [fault for compiler in compilers if (fault := fault_of(file, include_dir, compiler))]
    print("\n".join(faults) or f"{file.name}: {', '.join(compilers)} say what is wrong")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
