"""Hostile inputs for every door, with plain seeds.

    python tests/fuzz/run.py --seconds 60                    every door for its share of a minute
    python tests/fuzz/run.py --inputs 500 fit onnx           so many inputs for each of these doors
    python tests/fuzz/run.py --key 0-17 fit                  one input again, as a finding names it

The exit status is 1 where something was found. A crash leaves the name of its input in the file of --note.
"""

import argparse
import faulthandler
import os
import sys
import time
import traceback
from random import Random

import doors_data  # noqa: F401 - registers doors
import doors_descriptions  # noqa: F401
import doors_files  # noqa: F401
import harness


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("doors", nargs="*", metavar="DOOR", help=f"of {', '.join(harness.DOORS)}; default: all")
    parser.add_argument("--inputs", type=int, metavar="N", help="of each door")
    parser.add_argument("--seconds", type=float, metavar="S", help="for all doors together")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="other inputs (default: 0)")
    parser.add_argument("--key", metavar="KEY", help="one input, with its traceback")
    parser.add_argument("--note", metavar="FILE", help="where the input that is tried is written")
    parser.add_argument("--strict", action="store_true", help="find errors of other libraries that are let through")
    options = parser.parse_args()
    doors = options.doors or list(harness.DOORS)
    if options.key:
        harness.DOORS[doors[0]](Random(f"{doors[0]} {options.key}"))
        return 0
    faulthandler.enable()
    os.fsync = lambda handle: None  # thousands of files that nobody needs tomorrow
    harness.limit_memory()
    note = open(options.note, "w") if options.note else None  # noqa: SIM115 - as long as the process

    def write(name: str, key: str) -> None:
        if note:
            note.seek(0)
            note.truncate()
            note.write(f"{name} {key}\n")
            note.flush()

    total, wrong = 0, 0
    for name in doors:
        share = options.seconds / len(doors) if options.seconds else None
        begin = time.monotonic()
        count, findings = harness.try_many(
            name, seed=options.seed, inputs=options.inputs, seconds=share, strict=options.strict, note=write
        )
        total, wrong = total + count, wrong + len(findings)
        print(f"{name:25} {count:7} inputs in {time.monotonic() - begin:5.1f} s, {len(findings)} findings", flush=True)
        for finding in findings:
            print(f"    {finding}", flush=True)
    print(f"{total} inputs tried, {wrong} findings", flush=True)
    return 1 if wrong else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Exception:
        traceback.print_exc()
        sys.exit(2)
