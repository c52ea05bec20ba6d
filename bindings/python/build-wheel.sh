#!/usr/bin/env bash
# Builds the wheel into DIRECTORY, of the library as PROFILE builds it (dev, if none is named; dist for what ships).
set -euo pipefail
directory=$(realpath -m "${1:?usage: build-wheel.sh DIRECTORY [PROFILE]}") profile=${2:-dev}
cd "$(dirname "$0")/../.."
library=$(scripts/build-library.sh "$profile")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cp -r bindings/python/{pyproject.toml,setup.py,src} "$work"
rm -rf "$work"/src/clave/__pycache__
cp bindings/python/generated/clave.py "$work/src/clave/_clave.py"
cp "$library" "$work/src/clave"
python3 -m pip wheel --quiet --disable-pip-version-check --no-deps --wheel-dir "$directory" "$work"
ls "$directory"/clave-*.whl
