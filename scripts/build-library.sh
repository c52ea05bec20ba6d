#!/usr/bin/env bash
# Builds the shared library for apps and prints where it is, stripped. Usage: build-library.sh [PROFILE] (dev, if none is named;
# dist for what ships). One directory above it the same with its symbols, for crash reports and scripts/library-crates.py.
#
# `cargo rustc --crate-type` because of LTO: cargo leaves it out, without a word, for a library that is also to be linked from
# Rust (crate-type `lib`), whatever the profile says.
set -euo pipefail
cd "$(dirname "$0")/.."
profile=${1:-dev}
[ "$profile" = dev ] && built=debug || built=$profile
directory=$(realpath -m "${CARGO_TARGET_DIR:-target}")/$built
if [ "$profile" = dev ]; then
    cargo build --quiet -p clave-ffi --lib
    echo "$directory/libclave_ffi.so"
    exit
fi
# Without sled: an app cannot choose it. Functions that came out the same are kept once: none of ours is told from another by
# its address.
CARGO_PROFILE_DIST_STRIP=none cargo rustc --quiet -p clave-ffi --no-default-features --lib --crate-type cdylib \
    --profile "$profile" -- -C link-arg=-Wl,--icf=all
mkdir -p "$directory/stripped"
strip -s -o "$directory/stripped/libclave_ffi.so" "$directory/libclave_ffi.so"
echo "$directory/stripped/libclave_ffi.so"
