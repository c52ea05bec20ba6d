#!/usr/bin/env bash
# Prints how large the shared library for apps is as it ships (profile dist, stripped), and fails above the limit.
# Usage: library-size.sh [BYTES_MAX]. A long build: several minutes on four cores.
set -euo pipefail
cd "$(dirname "$0")/.."
most=${1:-10485760}
cargo build --quiet -p clave-ffi --lib --profile dist
bytes=$(stat -c %s "$(realpath "${CARGO_TARGET_DIR:-target}")/dist/libclave_ffi.so")
echo "libclave_ffi.so (dist): $bytes bytes, of at most $most"
[ "$bytes" -le "$most" ]
