#!/usr/bin/env python3
"""pdoc, in seconds instead of minutes. Usage: python-reference.py DIRECTORY MODULE.

Up to Python 3.12 `inspect` parses and walks the whole file again for every class whose source it is asked for; pdoc asks for each, and ours
stand in one file of 22,000 lines. Here every file is walked once. Python 3.13 has the line in the class and needs none of this."""

import ast
import functools
import inspect
import linecache
import sys

from pdoc.__main__ import cli


@functools.cache
def classes(file):
    """The line that every class of the file begins on, decorators included, counted from 0."""
    begins = {}

    def walk(node, path):
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.ClassDef):
                first = min(decorator.lineno for decorator in [child, *child.decorator_list])
                begins.setdefault(".".join([*path, child.name]), first - 1)
                walk(child, [*path, child.name])
            elif isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef)):
                walk(child, [*path, child.name, "<locals>"])
            else:
                walk(child, path)

    walk(ast.parse("".join(linecache.getlines(file))), [])
    return begins


def findsource(wanted, slow=inspect.findsource):
    if not inspect.isclass(wanted):
        return slow(wanted)
    file = inspect.getsourcefile(wanted)
    begins = classes(file).get(wanted.__qualname__)
    return slow(wanted) if begins is None else (linecache.getlines(file), begins)


if sys.version_info < (3, 13):
    inspect.findsource = findsource
directory, module = sys.argv[1:]
# What the methods are made of is ctypes: of no use to who reads.
cli(["--no-show-source", "--output-directory", directory, module])
