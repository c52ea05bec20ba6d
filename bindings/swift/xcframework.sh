#!/usr/bin/env bash
# Makes ClaveFFI.xcframework, which Package.swift takes on Apple's systems: iPhone, its simulator, Mac. Needs a Mac with Xcode
# and rustup; none is here, so CI does not run it.
set -euo pipefail
cd "$(dirname "$0")/../.."
[ "$(uname)" = Darwin ] || { echo "xcframework.sh: this needs a Mac with Xcode" >&2; exit 1; }
target="${CARGO_TARGET_DIR:-target}"
export IPHONEOS_DEPLOYMENT_TARGET=16.0 MACOSX_DEPLOYMENT_TARGET=13.0
slices=(aarch64-apple-ios aarch64-apple-ios-sim x86_64-apple-ios aarch64-apple-darwin x86_64-apple-darwin)
rustup target add "${slices[@]}"
for slice in "${slices[@]}"; do
    # A static library alone: a framework that an app links in has nothing to be found at run time.
    cargo rustc --quiet -p clave-ffi --no-default-features --lib --profile dist --target "$slice" --crate-type staticlib
done

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/headers" "$work/simulator" "$work/mac"
cp bindings/swift/generated/ClaveFFI.h "$work/headers/"
cp bindings/swift/generated/ClaveFFI.modulemap "$work/headers/module.modulemap"
# One slice for both processors where there are two.
built() { echo "$target/$1/dist/libclave_ffi.a"; }
lipo -create "$(built aarch64-apple-ios-sim)" "$(built x86_64-apple-ios)" -output "$work/simulator/libclave_ffi.a"
lipo -create "$(built aarch64-apple-darwin)" "$(built x86_64-apple-darwin)" -output "$work/mac/libclave_ffi.a"
rm -rf bindings/swift/ClaveFFI.xcframework
arguments=()
for slice in "$(built aarch64-apple-ios)" "$work/simulator/libclave_ffi.a" "$work/mac/libclave_ffi.a"; do
    arguments+=(-library "$slice" -headers "$work/headers")
done
xcodebuild -create-xcframework "${arguments[@]}" -output bindings/swift/ClaveFFI.xcframework
