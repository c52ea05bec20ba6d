#!/usr/bin/env bash
# Generates bindings/*/generated from the built clave-ffi (`just bindings` is this; CI checks that it changes nothing).
set -euo pipefail
cd "$(dirname "$0")/.."
target="${CARGO_TARGET_DIR:-target}/debug"
cargo build --quiet -p clave-ffi --features bindgen
for language in kotlin swift python; do
    rm -rf "bindings/$language/generated"
    "$target/uniffi-bindgen" generate --library "$target/libclave_ffi.so" --language $language --no-format \
        --out-dir "bindings/$language/generated"
done

# UniFFI gives a Kotlin exception the message `detail=ErrorDetail(code=…)`: people are to read the sentence in it.
kotlin=bindings/kotlin/generated/org/clave/clave.kt
sed -i 's/get() = "detail=${ `detail` }"/get() = `detail`.`reason`/' "$kotlin"
! grep -q '"detail=' "$kotlin" && grep -q 'get() = `detail`.`reason`' "$kotlin" ||
    { echo "UniFFI writes exceptions another way now: bindings/generate.sh has to follow" >&2; exit 1; }
bindings/finish-python.py "$kotlin" bindings/python/generated/clave.py
bindings/finish-swift.py bindings/swift/generated/Clave.swift
# So that editors and git leave it alone.
find bindings/*/generated -type f -exec sed -i 's/[ \t]*$//' {} +
