#!/usr/bin/env bash
# Runs bindings/python/smoke.py with the generated module beside the built library.
set -euo pipefail
cd "$(dirname "$0")/../.."
cargo build --quiet -p clave-ffi --lib
module=$(mktemp -d)
trap 'rm -rf "$module"' EXIT
ln -s "$PWD/bindings/python/generated/clave.py" "$(realpath "${CARGO_TARGET_DIR:-target}")/debug/libclave_ffi.so" "$module"
PYTHONPATH="$module" PYTHONDONTWRITEBYTECODE=1 python3 bindings/python/smoke.py
