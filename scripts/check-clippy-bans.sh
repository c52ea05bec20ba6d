#!/usr/bin/env bash
# Shows that the bans in the clippy.toml files are in force: the copies for pure rooms are equal, every ban of the
# root is repeated in them, and clippy refuses each violation of a toy package that stands under each kind of file.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
pure=(crypto crdt core/engine relay/protocol)
passed=0 failed=0

verdict() { # verdict DESCRIPTION COMMAND...
    if "${@:2}"; then passed=$((passed + 1)); else failed=$((failed + 1)); echo "FAILED   $1"; return; fi
    echo "ok       $1"
}

for room in "${pure[@]:1}"; do
    verdict "$room/clippy.toml equals ${pure[0]}/clippy.toml" cmp -s "$root/${pure[0]}/clippy.toml" "$root/$room/clippy.toml"
done
repeats() { ! grep '^    { path' "$root/clippy.toml" | grep -vxFf "$root/${pure[0]}/clippy.toml"; }
verdict "the pure rooms repeat every ban of the root" repeats

toy=$(mktemp -d)
trap 'rm -rf "$toy"' EXIT
mkdir "$toy/src"
printf '[package]\nname = "toy"\nversion = "0.1.0"\nedition = "2024"\n[workspace]\n' > "$toy/Cargo.toml"
cat > "$toy/src/lib.rs" <<'RUST'
//! One violation a function.
use std::time::{Instant, SystemTime};
pub fn queue() { let _ = std::sync::mpsc::channel::<u8>(); }
pub fn instant() -> Instant { Instant::now() }
pub fn system_time() -> SystemTime { SystemTime::now() }
pub fn spawn() { let _ = std::thread::spawn(|| ()); }
pub fn sleep() { std::thread::sleep(std::time::Duration::ZERO) }
pub fn read() { let _ = std::fs::read("x"); }
pub fn connect() { let _ = std::net::TcpStream::connect("x"); }
RUST

refused() { # refused CLIPPY_TOML: the names of the banned paths that clippy reports
    cp "$1" "$toy/clippy.toml"
    touch "$toy/src/lib.rs"
    CARGO_TARGET_DIR="$toy/target" cargo clippy --quiet --offline --manifest-path "$toy/Cargo.toml" 2>&1 |
        sed -nE 's/^warning: use of a disallowed (method|type) `([^`]*)`.*/\2/p' | sort -u | tr '\n' ' '
}
expect() { [ "$(refused "$root/$1")" = "$2 " ] || { echo "         found: $(refused "$root/$1")"; return 1; }; }
verdict "the root refuses an unbounded channel" expect clippy.toml "std::sync::mpsc::channel"
verdict "a pure room refuses clock, threads, I/O and the channel" expect "${pure[0]}/clippy.toml" \
    "std::fs::read std::net::TcpStream std::sync::mpsc::channel std::thread::sleep std::thread::spawn std::time::Instant::now std::time::SystemTime::now"

echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
