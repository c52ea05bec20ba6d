#!/usr/bin/env bash
# Builds the library, compiles the generated Kotlin, the wrapper and the tests, and runs them: this JVM against a second one, a Rust process and a relay.
# Ends with `N passed, 0 failed`. `test.sh --leaks COUNT` makes and drops so many listeners, and cancels so many calls, instead. Needs a JDK (17 or later); fetches the Kotlin compiler and JNA the first time.
set -euo pipefail
cd "$(dirname "$0")/../.."
toolchain=$(scripts/kotlin-toolchain.sh)
eval "$toolchain"
target="$(realpath "${CARGO_TARGET_DIR:-target}")/debug"
cargo build --quiet -p clave-ffi --lib --example counterpart
cargo build --quiet -p clave-relay
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# The README's example has to compile, given what it takes for granted.
{
    sed -n '/^```kotlin/,/^```$/p' bindings/README.md | grep '^import'
    echo 'import kotlinx.coroutines.*'
    echo 'fun draw(messages: List<Message>) = println(messages)'
    echo 'fun tell(sentence: String?, mayRetry: Boolean) = println("$sentence $mayRetry")'
    echo 'suspend fun readme(directory: String, passphrase: String, link: String, scope: CoroutineScope) {'
    sed -n '/^```kotlin/,/^```$/p' bindings/README.md | grep -v '^import\|^```'
    echo '}'
} > "$work/Readme.kt"

$KOTLINC -cp "$KOTLIN_CLASSPATH" -d "$work/classes" -jvm-target 17 \
    bindings/kotlin/generated bindings/kotlin/src bindings/kotlin/test "$work/Readme.kt"
if [ "${1:-}" = --leaks ]; then
    # Java's heap has its full size from the beginning: what the process grows by is the library's.
    arguments=("$@") heap="-XX:+UseSerialGC -Xms192m -Xmx192m -XX:+AlwaysPreTouch"
else
    arguments=("$target/examples/counterpart" "$target/clave-relay" "$work") heap=""
fi
$KOTLIN -ea $heap -Djna.library.path="$target" -cp "$work/classes:$KOTLIN_CLASSPATH" MainKt "${arguments[@]}"
