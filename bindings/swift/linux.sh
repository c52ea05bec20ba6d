#!/usr/bin/env bash
# Builds the library, the Swift package over it and its tests, and runs them on Linux: against a second Swift process, a Rust
# process and a relay. Usage: linux.sh [DIRECTORY], where libclave_ffi.so lies if it was built before. Takes the Swift that is
# installed, or fetches one (scripts/swift-toolchain.sh).
set -euo pipefail
cd "$(dirname "$0")/../.."
swift=$PWD/scripts/swift-toolchain.sh
target=$(realpath -m "${CARGO_TARGET_DIR:-target}")
library=${1:+$(realpath "$1")}
if [ -z "$library" ]; then
    cargo build --quiet -p clave-ffi --lib --example counterpart
    cargo build --quiet -p clave-relay
    library="$target/debug"
fi
[ -f "$library/libclave_ffi.so" ] || { echo "linux.sh: there is no libclave_ffi.so in $library" >&2; exit 1; }

cd bindings/swift
package=(--scratch-path "$target/swift" -Xlinker "-L$library" -Xlinker -rpath -Xlinker "$library")
"$swift" swift build --build-tests "${package[@]}"
only=()
if [ -x "$library/examples/counterpart" ]; then
    export CLAVE_COUNTERPART="$library/examples/counterpart" CLAVE_PEER="$target/swift/debug/clave-peer"
else
    echo "SKIPPED: swift: three processes, because $library/examples has no counterpart (cargo build -p clave-ffi --example counterpart)"
    only=(--skip ScenarioTests)
fi
if [ -x "$library/clave-relay" ]; then
    export CLAVE_RELAY="$library/clave-relay"
else
    echo "SKIPPED: swift: over a relay, because $library has no clave-relay (cargo build -p clave-relay)"
    only+=(--skip OverRelayTests)
fi
"$swift" swift test --skip-build "${package[@]}" "${only[@]}"
