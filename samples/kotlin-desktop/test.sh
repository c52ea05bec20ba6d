#!/usr/bin/env bash
# Builds the sample and has two windows, each of a process of its own, join, chat and write one note, on a screen that nobody
# looks at. Leaves a picture of one in target/kotlin-desktop.png.
set -euo pipefail
here=$(realpath "$(dirname "$0")")
cd "$here/../.."
toolchain=$(scripts/kotlin-toolchain.sh)
eval "$toolchain"
target=$(realpath -m "${CARGO_TARGET_DIR:-target}")
cargo build --quiet -p clave-ffi --lib --example counterpart
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
$KOTLINC -cp "$KOTLIN_CLASSPATH" -d "$work/classes" -jvm-target 17 \
    bindings/kotlin/generated bindings/kotlin/src "$here/model" "$here/desktop" "$here/test"
# shellcheck disable=SC2086 # KOTLIN is a command with its arguments
timeout 300 scripts/xvfb.sh python3 "$here/test/test.py" "$work" "$target/kotlin-desktop.png" \
    $KOTLIN -ea -Dstdout.encoding=UTF-8 -Dfile.encoding=UTF-8 -Djna.library.path="$target/debug" \
    -cp "$work/classes:$KOTLIN_CLASSPATH" DriveKt
