#!/usr/bin/env bash
# Finds or installs what the Kotlin bindings need beside Java 17, and prints it as lines for `eval`:
#
#     eval "$(scripts/kotlin-toolchain.sh)"
#     $KOTLINC -cp "$KOTLIN_CLASSPATH" -d classes Main.kt
#     $KOTLIN -cp "classes:$KOTLIN_CLASSPATH" MainKt
#
# The compiler, its standard library and kotlinx.coroutines lie together in one jar of a package on PyPI (a notebook
# kernel, of which nothing else is used); JNA is Debian's libjna-java. Both are kept in the cache, outside the repository,
# and neither needs root. --self-test compiles and runs a program that uses coroutines and calls libc through JNA.
set -euo pipefail

kernel=kotlin-jupyter-kernel version=0.19.0.944
home="${XDG_CACHE_HOME:-$HOME/.cache}/clave/kotlin-$version"
jar="$home/kotlin.jar"

say() { echo "kotlin-toolchain: $*" >&2; }

compiler() {
    [ -f "$jar" ] && return
    say "fetching $kernel $version from PyPI (80 MB)"
    local wheel
    wheel=$(mktemp -d)
    python3 -m pip download --quiet --disable-pip-version-check --no-deps --only-binary :all: --dest "$wheel" "$kernel==$version" >&2
    mkdir -p "$home"
    python3 - "$wheel" "$jar" <<'PYTHON'
import glob, os, shutil, sys, zipfile

wheel, jar = sys.argv[1:]
with zipfile.ZipFile(glob.glob(f"{wheel}/*.whl")[0]) as archive:
    name = next(name for name in archive.namelist() if name.endswith("-all.jar"))
    with archive.open(name) as source, open(f"{jar}.part", "wb") as target:
        shutil.copyfileobj(source, target)
os.rename(f"{jar}.part", jar)
PYTHON
    rm -rf "$wheel"
}

# Sets `jna` and `jni`: the jar, and the folder of its native half.
jna() {
    local root
    for root in "" "$home/jna"; do
        jna="$root/usr/share/java/jna.jar"
        jni=$(compgen -G "$root/usr/lib/*/jni/libjnidispatch.system.so" | head -1) || true
        [ -f "$jna" ] && [ -n "$jni" ] && { jni=$(dirname "$jni"); return; }
    done
    [ "${1:-}" = again ] && { say "no JNA: install the Debian package libjna-java, then run this again"; exit 1; }
    say "fetching libjna-java with apt-get"
    local packages
    packages=$(mktemp -d)
    (
        cd "$packages"
        apt-get -qq download libjna-java libjna-jni 2> log || { apt-get -qq update && apt-get -qq download libjna-java libjna-jni 2> log; } ||
            { cat log; exit 1; }
        for package in *.deb; do dpkg-deb -x "$package" "$home/jna"; done
    ) >&2
    rm -rf "$packages"
    jna again
}

command -v java > /dev/null || { say "no Java: install a JDK, 17 or later"; exit 1; }
compiler
jna

KOTLINC="java -Xmx1g -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -cp $jar org.jetbrains.kotlin.cli.jvm.K2JVMCompiler -no-stdlib -no-reflect"
KOTLIN="java -Djna.nosys=false -Djava.library.path=$jni -Djna.boot.library.name=jnidispatch.system"
KOTLIN_CLASSPATH="$jar:$jna"

if [ "${1:-}" = --self-test ]; then
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
    cat > "$work/Main.kt" <<'KOTLIN'
import com.sun.jna.Library
import com.sun.jna.Native
import kotlinx.coroutines.async
import kotlinx.coroutines.awaitAll
import kotlinx.coroutines.delay
import kotlinx.coroutines.flow.flow
import kotlinx.coroutines.flow.toList
import kotlinx.coroutines.runBlocking

interface LibC : Library { fun getpid(): Int }

fun main() = runBlocking {
    val pid = Native.load("c", LibC::class.java).getpid()
    check(pid.toLong() == ProcessHandle.current().pid()) { "JNA says $pid" }
    val squares = (1..3).map { n -> async { delay(1); n * n } }.awaitAll()
    val flowed = flow { squares.forEach { emit(it) } }.toList()
    check(flowed == listOf(1, 4, 9)) { "coroutines say $flowed" }
    println("Kotlin ${KotlinVersion.CURRENT}, coroutines say $flowed, libc says this is process $pid")
}
KOTLIN
    $KOTLINC -cp "$KOTLIN_CLASSPATH" -d "$work/classes" "$work/Main.kt"
    $KOTLIN -cp "$work/classes:$KOTLIN_CLASSPATH" MainKt
    exit
fi
printf '%s=%q\n' KOTLINC "$KOTLINC" KOTLIN "$KOTLIN" KOTLIN_CLASSPATH "$KOTLIN_CLASSPATH"
