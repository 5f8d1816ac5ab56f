#!/usr/bin/env python3
"""Two machines' nat_tests print the same digests: each random packet left both with the same bytes, or was refused.

    same_digests.py COMMAND... -- OTHER_COMMAND...
"""

import subprocess
import sys

DIGESTS = 4  # one for each pair of IP versions


def digests_of(command: list[str]) -> list[str]:
    run = subprocess.run([*command, "--gtest_filter=hostile_packets.*"], stdout=subprocess.PIPE, text=True, check=True)
    return [line for line in run.stdout.splitlines() if line.startswith("digest of ")]


def main() -> int:
    if "--" not in sys.argv:
        print(__doc__)
        return 2
    border = sys.argv.index("--")
    one, other = digests_of(sys.argv[1:border]), digests_of(sys.argv[border + 1 :])
    print("\n".join([*one, "and there:", *other]))
    return 0 if len(one) == DIGESTS and one == other else 1


if __name__ == "__main__":
    sys.exit(main())
