#!/usr/bin/env bash
# From nothing to the first list of 50 on a space of 10,000 messages: Kotlin on the JVM beside Rust, fresh processes in turn, both
# as PROFILE builds them; Kotlin as it comes, and with an archive of its classes, as an app for the JVM can ship it. Usage: cold-start.sh [PROFILE] [ROUNDS]
# (release, 15). Fails if Kotlin with its archive takes more than 1.5 times as long.
set -euo pipefail
cd "$(dirname "$0")/.."
profile=${1:-release} rounds=${2:-15} messages=10000
toolchain=$(scripts/kotlin-toolchain.sh)
eval "$toolchain"
library=$(scripts/build-library.sh "$profile")
# As build-library.sh has it: another setting would compile everything once more.
CARGO_PROFILE_DIST_STRIP=none cargo build --quiet -p clave --no-default-features --example cold_start --profile "$profile"
rust="$(realpath "${CARGO_TARGET_DIR:-target}")/$profile/examples/cold_start"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
$KOTLINC -cp "$KOTLIN_CLASSPATH" -d "$work/classes" -jvm-target 17 \
    bindings/kotlin/generated bindings/kotlin/src bindings/kotlin/measure
jar --create --file "$work/app.jar" -C "$work/classes" .
"$rust" build "$work/device" "$messages"
start="-Djna.library.path=$(dirname "$library") -cp $work/app.jar:$KOTLIN_CLASSPATH ColdStartKt"
$KOTLIN -XX:ArchiveClassesAtExit="$work/app.jsa" $start "$work/device" > "$work/log" 2>&1 || { cat "$work/log" >&2; exit 1; }
PLAIN="$KOTLIN $start" ARCHIVED="$KOTLIN -XX:SharedArchiveFile=$work/app.jsa $start" \
    python3 - "$rust" "$work/device" "$rounds" <<'PYTHON'
import os, statistics, subprocess, sys

rust, device, rounds = sys.argv[1], sys.argv[2], int(sys.argv[3])
limit = 1.5
kotlin, archived = os.environ["PLAIN"].split(), os.environ["ARCHIVED"].split()


def run(*command):
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return [int(number) / 1000 for number in output.split()]


def told(name, times):
    print(f"{name:48} {statistics.median(times):7.1f} ms   ({min(times):.1f} to {max(times):.1f})")


def compared(name, theirs, ours):
    ratios = sorted(one / other for one, other in zip(theirs, ours))
    print(f"{name} / Rust, by rounds: x{statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})")
    return statistics.median(ratios)


# Whatever is to be read from disk is in memory from here on, for all.
run(rust, "open", device), run(*kotlin, device)
rows = [(*run(rust, "open", device), *run(*kotlin, device), *run(*archived, device)) for _ in range(rounds)]
ours, loading, first, again, archived_loading, archived_first, _ = zip(*rows)
told("Rust, to the first list", ours)
told("Kotlin, to the first list", first)
told("Kotlin, a second time in one process", again)
told("Kotlin, loading the library before", loading)
told("Kotlin with its archive, to the first list", archived_first)
told("Kotlin with its archive, loading the library", archived_loading)
compared("Kotlin", first, ours)
compared("Kotlin, a second time,", again, ours)
ratio = compared("Kotlin with its archive", archived_first, ours)
print(f"at most x{limit}")
sys.exit(ratio > limit)
PYTHON
