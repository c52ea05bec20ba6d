#!/usr/bin/env bash
# Builds the sample with Swift (bindings/swift/linux.sh says which) and has two terminals talk, as the Python sample's test does.
set -euo pipefail
here=$(realpath "$(dirname "$0")")
cd "$here/../.."
swift=$PWD/scripts/swift-toolchain.sh
target=$(realpath -m "${CARGO_TARGET_DIR:-target}")
cargo build --quiet -p clave-ffi --lib --example counterpart
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
(cd "$here" && "$swift" swift build --quiet --scratch-path "$target/swift-cli" \
    -Xlinker "-L$target/debug" -Xlinker -rpath -Xlinker "$target/debug")
# Where Swift is not installed, the program too runs where its libraries are.
printf '#!/bin/sh\nexec %q %q "$@"\n' "$swift" "$target/swift-cli/debug/team" > "$work/team"
chmod +x "$work/team"
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check pytest
cd "$work"
TEAM_COMMAND="$work/team" PYTHONDONTWRITEBYTECODE=1 "$work/venv/bin/pytest" -q -p no:cacheprovider "$@" "$here/../python-terminal"
