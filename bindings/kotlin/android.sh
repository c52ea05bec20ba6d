#!/usr/bin/env bash
# Builds the library for Android's ABIs into jniLibs/, for Gradle to take. Needs the NDK (ANDROID_NDK_HOME), cargo-ndk and the
# Rust targets; none of these is here, so CI does not run it.
set -euo pipefail
cd "$(dirname "$0")/../.."
[ -d "${ANDROID_NDK_HOME:-}" ] || { echo "android.sh: set ANDROID_NDK_HOME to the NDK (r26 or later)" >&2; exit 1; }
rustup target add aarch64-linux-android armv7-linux-androideabi x86_64-linux-android
# `rustc --crate-type` and not `build`, and without features: scripts/build-library.sh says why.
cargo ndk --platform 26 -t arm64-v8a -t armeabi-v7a -t x86_64 -o bindings/kotlin/jniLibs \
    rustc --package clave-ffi --no-default-features --lib --crate-type cdylib --profile dist
