#!/usr/bin/env bash
# The API reference of the bindings as HTML, from what stands in ffi/src. Usage: api-reference.sh DIRECTORY. Python's by pdoc, from the
# wheel. Fails if something public has no documentation, in Python or in Kotlin. Kotlin's HTML would be Dokka's, which is on Maven
# alone: left out where that cannot be reached; the KDoc is in the sources.
set -euo pipefail
directory=$(realpath -m "${1:?usage: api-reference.sh DIRECTORY}")
cd "$(dirname "$0")/.."
scripts/check-bindings-docs.py
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
wheel=$(bindings/python/build-wheel.sh "$work/wheel")
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check "$wheel" pdoc==16.0.0
"$work/venv/bin/python" scripts/python-reference.py "$directory/python" clave
grep -q 'Founds a space' "$directory/python/clave.html" || { echo "the page does not say what Node does" >&2; exit 1; }
echo "$directory/python/clave.html: $(stat -c %s "$directory/python/clave.html") bytes"
echo "SKIPPED: api-reference: Kotlin's pages, because Dokka is on Maven alone, which cannot be reached on this machine"
