#!/usr/bin/env bash
# Builds the wheel, installs it into a clean environment, and runs the tests there with pytest, against a Rust process and
# another Python process. Arguments go to pytest.
set -euo pipefail
here=$(realpath "$(dirname "$0")")
cd "$here/../.."
target="$(realpath -m "${CARGO_TARGET_DIR:-target}")/debug"
cargo build --quiet -p clave-ffi --example counterpart
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
wheel=$(bindings/python/build-wheel.sh "$work/wheel")
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check "$wheel" pytest
cd "$work"
CLAVE_COUNTERPART="$target/examples/counterpart" PYTHONDONTWRITEBYTECODE=1 \
    "$work/venv/bin/pytest" -q -p no:cacheprovider "$@" "$here/tests"
