#!/usr/bin/env bash
# Builds the wheel, installs it into a clean environment, and checks it there: that it says its types as mypy wants them, and the tests,
# with pytest, against a Rust process, another Python process and a relay. Arguments go to pytest. `test.sh --leaks COUNT` makes and
# drops so many listeners, and cancels so many calls, instead.
set -euo pipefail
here=$(realpath "$(dirname "$0")")
cd "$here/../.."
target="$(realpath -m "${CARGO_TARGET_DIR:-target}")/debug"
cargo build --quiet -p clave-ffi --example counterpart
cargo build --quiet -p clave-relay
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
wheel=$(bindings/python/build-wheel.sh "$work/wheel")
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check "$wheel" pytest mypy
cd "$work"
export PYTHONDONTWRITEBYTECODE=1
venv/bin/python -c 'import clave; print(f"clave {clave.version()}, installed from its wheel")'
if [ "${1:-}" = --leaks ]; then
    venv/bin/python "$here/tests/leaks.py" "$2"
    exit
fi
venv/bin/mypy --strict --no-error-summary --cache-dir "$work/mypy" "$here/tests/typed.py"
CLAVE_COUNTERPART="$target/examples/counterpart" CLAVE_RELAY="$target/clave-relay" venv/bin/pytest -q -p no:cacheprovider "$@" "$here/tests"
