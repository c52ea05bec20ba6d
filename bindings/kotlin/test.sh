#!/usr/bin/env bash
# Builds the library, compiles the generated Kotlin, the wrapper and the tests, and runs them: this JVM against a Rust process.
# Ends with `N passed, 0 failed`. Needs a JDK (17 or later); fetches the Kotlin compiler and JNA the first time.
set -euo pipefail
cd "$(dirname "$0")/../.."
toolchain=$(scripts/kotlin-toolchain.sh)
eval "$toolchain"
target="$(realpath "${CARGO_TARGET_DIR:-target}")/debug"
cargo build --quiet -p clave-ffi --lib --example counterpart
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

$KOTLINC -cp "$KOTLIN_CLASSPATH" -d "$work/classes" -jvm-target 17 \
    bindings/kotlin/generated bindings/kotlin/src bindings/kotlin/test
$KOTLIN -ea -Djna.library.path="$target" -cp "$work/classes:$KOTLIN_CLASSPATH" MainKt "$target/examples/counterpart" "$work"
