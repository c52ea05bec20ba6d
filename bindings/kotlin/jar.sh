#!/usr/bin/env bash
# Makes a jar for the plain JVM on this platform: classes, wrappers and the library where JNA finds it in a jar. Usage:
# jar.sh FILE [PROFILE] (dev, if none is named; dist for what ships). Beside it an app needs JNA, Kotlin's library and coroutines.
set -euo pipefail
jar=$(realpath -m "${1:?usage: jar.sh FILE [PROFILE]}") profile=${2:-dev}
cd "$(dirname "$0")/../.."
toolchain=$(scripts/kotlin-toolchain.sh)
eval "$toolchain"
library=$(scripts/build-library.sh "$profile")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
$KOTLINC -cp "$KOTLIN_CLASSPATH" -d "$work" -module-name clave -jvm-target 17 bindings/kotlin/generated bindings/kotlin/src
case "$(uname -m)" in x86_64) machine=x86-64 ;; *) machine=$(uname -m) ;; esac
mkdir "$work/linux-$machine"
cp "$library" "$work/linux-$machine/"
python3 - "$work" "$jar" <<'PYTHON'
import pathlib, sys, zipfile

root, jar = map(pathlib.Path, sys.argv[1:])
jar.parent.mkdir(parents=True, exist_ok=True)
with zipfile.ZipFile(jar, "w", zipfile.ZIP_DEFLATED) as archive:
    for path in sorted(path for path in root.rglob("*") if path.is_file()):
        archive.write(path, path.relative_to(root))
PYTHON
ls -l "$jar"
