#!/usr/bin/env python3
"""That everything public in the generated Python and Kotlin, and in the wrappers, says what it is for: rustc sees to it in ffi/src, and
this that it arrives."""

import ast
import pathlib
import re
import sys

bindings = pathlib.Path(__file__).resolve().parent.parent / "bindings"
# Made by UniFFI, for itself or by the dozen.
MACHINERY = re.compile(r"_|uniffi|Uniffi|InternalError$|is_|__")
missing, seen = [], 0


def python(path):
    global seen

    def within(body, before):
        global seen
        for node in body:
            if not isinstance(node, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)) or MACHINERY.match(node.name):
                continue
            seen += 1
            if not ast.get_docstring(node):
                missing.append(f"{path}: {before}{node.name}")
            if isinstance(node, ast.ClassDef):
                within(node.body, f"{before}{node.name}.")

    within(ast.parse(path.read_text()).body, "")


def kotlin(path, begins):
    global seen
    lines = path.read_text().splitlines()
    # What stands before is UniFFI's own.
    first = next(number for number, line in enumerate(lines) if begins in line)
    for number in range(first, len(lines)):
        declares = re.match(r"(?:    )?(?:(?:public|open|data|sealed|enum|suspend) )*(class|interface|fun) (?:\w+\.)?`?(\w+)", lines[number])
        if not declares or MACHINERY.match(declares[2]) or declares[2].startswith("Ffi"):
            continue
        seen += 1
        above = number - 1
        while not lines[above].strip() or lines[above].strip().startswith("@"):
            above -= 1
        if not lines[above].strip().endswith("*/"):
            missing.append(f"{path}:{number + 1}: {lines[number].strip()}")


python(bindings / "python/generated/clave.py")
python(bindings / "python/src/clave/streams.py")
kotlin(bindings / "kotlin/generated/org/clave/clave.kt", "interface CalendarInterface")
kotlin(bindings / "kotlin/src/org/clave/Flows.kt", "package org.clave")
print(f"{seen} public things, {len(missing)} without documentation")
print(*missing, sep="\n")
sys.exit(bool(missing) or seen < 500)
