#!/usr/bin/env bash
# Prints how large the shared library for apps is, stripped, of what it consists and which crates are the largest. Usage: library-size.sh
# [PROFILE] [BYTES_MAX]. dist, if none is named: as it ships, and it fails above the limit; a long build, 10 to 40 minutes. dev: as it
# was built anyway, in seconds, without a limit: says what a change adds, not what ships.
set -euo pipefail
cd "$(dirname "$0")/.."
profile=${1:-dist} most=${2:-10485760}
library=$(scripts/build-library.sh "$profile")
if [ "$profile" = dev ]; then
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
    symbols=$library
    strip -s -o "$work/libclave_ffi.so" "$symbols"
    library=$work/libclave_ffi.so
else
    symbols="$(dirname "$library")/../libclave_ffi.so"
fi
bytes=$(stat -c %s "$library")
scripts/library-crates.py "$symbols"
if [ "$profile" = dev ]; then
    echo "libclave_ffi.so (dev, stripped): $bytes bytes"
    echo "SKIPPED: library-size: what ships, because it takes over ten minutes to optimise (just library-size)"
    exit
fi
echo "libclave_ffi.so ($profile, stripped): $bytes bytes, of at most $most"
[ "$bytes" -le "$most" ]
