#!/usr/bin/env python3
"""What UniFFI leaves out of the Python that it generates. Usage: finish-python.py KOTLIN PYTHON.

- The documentation of a record's fields: a list in the docstring of its class, taken from the Kotlin that is generated beside it. Fails if a
  field has none.
- The methods of an error are those of its cases only, so that whoever catches the error as a whole has none, says mypy: its class gets
  them as well."""

import pathlib
import re
import sys

kotlin, python = (pathlib.Path(path) for path in sys.argv[1:])
records = {}
for name, body in re.findall(r"^data class (\w+) \(\n(.*?)^\)", kotlin.read_text(), re.M | re.S):
    # Cases of enums are data classes too, but further in.
    fields = re.findall(r"/\*\*\n(.*?)\*/\s*va[lr] `(\w+)`", body, re.S)
    if len(fields) != len(re.findall(r"^    va[lr] `", body, re.M)):
        sys.exit(f"{name}: a field without documentation")
    snake = lambda field: re.sub(r"(?<=[a-z0-9])([A-Z])", r"_\1", field).lower()
    said = lambda text: " ".join(line.strip(" *") for line in text.splitlines()).strip()
    records[name] = [f"    - `{snake(field)}`: {said(text)}\n" for text, field in fields]

text = python.read_text()
for name, fields in records.items():
    begins = re.escape(f"@dataclass\nclass {name}:\n    \"\"\"\n")
    # Functions, for backslashes in what is put in.
    text, done = re.subn(rf"({begins}.*?)(?=^\"\"\"$)", lambda found: found[1] + "\n" + "".join(fields), text, count=1, flags=re.M | re.S)
    if done != 1:
        sys.exit(f"{name}: UniFFI writes records another way now, this has to follow")

error = re.compile(
    r"^(class (\w+)\(Exception\):\n    \"\"\".*?^\"\"\"\n)    pass\n(?=\n_UniffiTemp\2 = \2\n.*?^    class (\w+)\(_UniffiTemp\2\):.*?"
    r"(^        def (?!__).*?)^    _UniffiTemp\2\.\3 = \3)",
    re.M | re.S,
)


def with_methods(found):
    methods = re.sub(r"^    ", "", found[4], flags=re.M)
    return f"{found[1]}\n    detail: ErrorDetail\n\n{methods}"


text, done = error.subn(with_methods, text)
if done != 1:
    sys.exit("UniFFI writes errors another way now, this has to follow")
python.write_text(text)
