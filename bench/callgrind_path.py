"""Counts the instructions of a packet of an established flow, and fails when they are more than a bound.

    callgrind_path.py PROGRAM TRANSLATION BOUND

The difference of two runs, so that what only the first packets cost is left out. The same on every machine that runs the
same binary. Skipped (77) without valgrind.
"""
import re
import shutil
import subprocess
import sys


def counted(program, translation, batches):
    command = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", "--toggle-collect=process_batch",
               program, translation, str(batches)]
    run = subprocess.run(command, capture_output=True, text=True)
    instructions = re.search(r"Collected : (\d+)", run.stderr)
    packets = re.search(r"packets (\d+)", run.stdout)
    if run.returncode != 0 or not instructions or not packets:
        sys.exit(f"{' '.join(command)}: status {run.returncode}\n{run.stdout}{run.stderr}")
    return int(instructions[1]), int(packets[1])


def main():
    program, translation, bound = sys.argv[1:]
    if shutil.which("valgrind") is None:
        print("SKIP: valgrind is not installed")
        sys.exit(77)
    (few, few_packets), (many, many_packets) = (counted(program, translation, n) for n in (1, 5))
    each = (many - few) / (many_packets - few_packets)
    print(f"NAT{translation}, established: {each:.1f} instructions a packet, at most {bound}")
    if few == 0:
        sys.exit("callgrind did not find process_batch")
    sys.exit(0 if each <= float(bound) else 1)


main()
