#!/usr/bin/env python3
"""Of what a shared library consists: its sections, and the crates whose functions and constants take most. Usage: library-crates.py
LIBRARY [COUNT], of a library with its symbols.

A function counts for the crate that its name begins with; of `<A as B>::f` that is A's. Generic code therefore counts for whom it was made
for where that is in its name, and for its own crate elsewhere. What has no name of Rust's is C (ring) or the system's."""

import collections
import re
import subprocess
import sys


def lines(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()


def crate(name):
    path = name
    while path.startswith("<"):
        path = path[1:]
    path = re.sub(r"^(?:&|\*const |\*mut |mut |dyn |\(|\[|for<[^>]*> )+", "", path)
    found = re.match(r"([A-Za-z_]\w*)(?:\[[0-9a-f]+\])?::", path)
    return found[1] if found else "C and others"


def main(library, count):
    sections = []
    for line in lines("size", "-A", library):
        fields = line.split()
        if len(fields) == 3 and fields[1].isdigit() and int(fields[2], 0 if fields[2].startswith("0x") else 10) > 0:
            sections.append((int(fields[1]), fields[0]))
    for size, name in sorted(sections, reverse=True)[:8]:
        print(f"{size / 1e6:8.2f} MB  {name}")
    sizes = collections.Counter()
    seen = set()
    for line in lines("nm", "--print-size", "--demangle", "--defined-only", library):
        address, size, kind, name = (line.split(maxsplit=3) + [""] * 4)[:4]
        # What was folded into one counts once.
        if kind.lower() not in "tdrwvb" or kind.lower() == "b" or not name or address in seen:
            continue
        seen.add(address)
        sizes[crate(name)] += int(size, 16)
    total = sum(sizes.values())
    print(f"{total / 1e6:8.2f} MB of functions and constants with a name; the largest:")
    for name, size in sizes.most_common(count):
        print(f"{size / 1e6:8.2f} MB  {size / total:5.1%}  {name}")


main(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 10)
