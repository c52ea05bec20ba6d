#!/usr/bin/env bash
# Builds the wheel, installs it into a clean environment, and has two terminals talk: the sample as it stands here.
set -euo pipefail
here=$(realpath "$(dirname "$0")")
cd "$here/../.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
wheel=$(bindings/python/build-wheel.sh "$work/wheel")
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check "$wheel" pytest
cd "$work"
PYTHONDONTWRITEBYTECODE=1 "$work/venv/bin/pytest" -q -p no:cacheprovider "$@" "$here"
