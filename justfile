# Everything that CI does can be run by hand: .ci/run calls these recipes and nothing else.
# A recipe that leaves something out prints a line that starts with `SKIPPED:`; .ci/run gathers those lines.

set shell := ["bash", "-euo", "pipefail", "-c"]

# One target directory for the workspaces fuzz/ and bench/ too: their profiles are the root's, so what is built is shared.
export CARGO_TARGET_DIR := justfile_directory() / "target"

# Real input lies outside the repository (see CONTRIBUTING.md).
data := env("CLAVE_DATA", justfile_directory() / "../shared/data")

_list:
    @just --list --unsorted

# Every quick gate: run this before handing in.
check: fmt clippy doc crate-graph clippy-bans deny

# README's second command.
test:
    cargo test --workspace

# One layout for all, the two workspaces of their own included.
fmt:
    cargo fmt --all --check
    cd fuzz && cargo fmt --check
    cd bench && cargo fmt --check

# No warning anywhere, in tests and examples neither.
clippy:
    cargo clippy --workspace --all-targets -- -D warnings
    cd fuzz && cargo clippy --all-targets -- -D warnings
    cd bench && cargo clippy --all-targets -- -D warnings

# Documentation must build without a warning: no broken link, no undocumented item. The command goes first: its name is the
# library's too, and what stays at the end should be the library's.
doc $RUSTDOCFLAGS="-D warnings":
    cargo doc -p clave-cli --no-deps
    cargo doc --workspace --exclude clave-cli --no-deps

# Runs every program of examples/.
examples:
    scripts/run-examples.sh

# Who may know whom: first that the checker catches violations, then the house itself.
crate-graph:
    scripts/check-crate-graph.py --self-test
    scripts/check-crate-graph.py

# That clippy really refuses what the clippy.toml files ban.
clippy-bans:
    scripts/check-clippy-bans.sh

# Licences, bans and sources of all dependencies; advisories where their database can be fetched.
deny:
    #!/usr/bin/env bash
    set -euo pipefail
    deny=$(scripts/cargo-deny.sh)
    "$deny" --log-level error check licenses bans sources
    if "$deny" --log-level error fetch db > /dev/null 2>&1; then
        "$deny" --log-level error check advisories
    else
        echo "SKIPPED: deny: advisories, because the advisory database cannot be fetched on this machine"
    fi

# The relay against bare JetStream, its sessions' memory and its fan-out: all, or those named (embedded, clustered, idle, fan-out).
relay-bench *WHAT="":
    cargo bench --quiet -p clave-relay --bench relay -- {{ WHAT }}

# A relay among thousands of devices that come and go, well-meaning and not: whether memory, files, threads or disk grow.
relay-soak MINUTES="30":
    cargo bench --quiet -p clave-relay --bench load -- soak --minutes {{ MINUTES }}

# A working day of 4,000 people, 100 times as fast: what it takes of a relay. `--speed 400 --hours 4` is a try.
relay-day *FLAGS="":
    cargo bench --quiet -p clave-relay --bench load -- day {{ FLAGS }}

# kill -9 of a server of a NATS cluster under load, its leader too, with two relays on it: nothing acknowledged is lost.
relay-cluster-kill9 TIMES="100":
    scripts/relay-cluster-kill9.sh {{ TIMES }}

# Relays whose chunks lie in S3, against a server that speaks it.
relay-s3:
    scripts/relay-s3.sh

# Random schedules for so many devices and faults, all mixes by the seed; a failing seed prints how to replay it.
sim SEEDS="200" *FLAGS="":
    cargo run --release --quiet -p clave-sim -- --seeds {{ SEEDS }} {{ FLAGS }}

# The fixed schedules that every change must pass: a few minutes on two cores.
sim-gate:
    cargo build --quiet -p clave-sim
    "$CARGO_TARGET_DIR/debug/clave-sim" --seeds 60 --mix calm
    "$CARGO_TARGET_DIR/debug/clave-sim" --seeds 60 --mix admins
    "$CARGO_TARGET_DIR/debug/clave-sim" --seeds 40 --mix hostile --devices 8

# Each rule switched off in turn: the simulator has to notice. All of them, or those named.
mutations *RULES="":
    scripts/mutations.sh {{ RULES }}

# Seeds, corpus and seeded mutations through every fuzz target, on the stable toolchain.
fuzz-smoke SECONDS="5" *TARGETS="":
    cd fuzz && cargo test --quiet
    cd fuzz && cargo run --quiet -- --seconds {{ SECONDS }} {{ TARGETS }}

# Coverage-guided, for hours; wants cargo-fuzz (and nightly for the sanitizers: add them with FLAGS=).
fuzz TARGET *FLAGS="--sanitizer none":
    cd fuzz && cargo run --quiet -- --write-seeds {{ TARGET }}
    cd fuzz && cargo fuzz run --fuzz-dir . --features libfuzzer {{ FLAGS }} {{ TARGET }}

# Comparisons, medians with their spread; writes target/bench.json. `--quick` only shows that they run.
bench *FLAGS="":
    cd bench && cargo run --release --quiet -- --data {{ CARGO_TARGET_DIR }} --traces {{ data }} --json {{ CARGO_TARGET_DIR }}/bench.json {{ FLAGS }}

# That the benches run; measures nothing.
bench-smoke:
    cd bench && cargo test --release --quiet
    just bench --quick

# Generates the bindings' code from clave-ffi.
bindings:
    bindings/generate.sh

# That the generated code in the repository is what clave-ffi generates.
bindings-check: bindings
    @test -z "$(git status --porcelain -- ':(glob)bindings/*/generated/**')" || { git status --short -- ':(glob)bindings/*/generated/**'; echo "generated code is stale: run 'just bindings' and commit"; exit 1; }

# The Kotlin compiler and JNA, shown to work, then the bindings' own test.
kotlin:
    scripts/kotlin-toolchain.sh --self-test
    bindings/kotlin/test.sh

# Many listeners made and dropped and calls cancelled, from several threads: nothing may grow. 100000 is the full run.
kotlin-leaks COUNT="2000":
    bindings/kotlin/test.sh --leaks {{ COUNT }}

# The jar for the plain JVM: made, then used by a program that is compiled and run in an empty directory.
kotlin-jar PROFILE="dev":
    bindings/kotlin/test-jar.sh {{ PROFILE }}

# The Python wheel in a clean environment: its types with mypy, then against a Rust process, another Python process and a relay.
python:
    bindings/python/test.sh

# The Swift package with Swift 6, installed or Debian's: against a second Swift process, a Rust process and a relay.
swift:
    bindings/swift/linux.sh

# The apps to copy: two windows, and two terminals in Python and in Swift, join, chat and write one note. All, or those named.
samples *NAMES="kotlin-desktop python-terminal swift-cli":
    for name in {{ NAMES }}; do echo "── $name"; samples/$name/test.sh; done

# Every code block of the guides (docs/apps, docs/concepts.md). All, or those of the languages named.
guides *LANGUAGES="":
    scripts/guides.py {{ LANGUAGES }}

# As kotlin-leaks, from Python.
python-leaks COUNT="2000":
    bindings/python/test.sh --leaks {{ COUNT }}

# The API reference of the bindings as HTML, and that nothing public is without documentation.
api-reference DIRECTORY="target/reference":
    scripts/api-reference.sh {{ DIRECTORY }}

# How large the library for apps is as it ships, of what it consists and which crates are the largest. A long build.
library-size *BYTES_MAX="":
    scripts/library-size.sh dist {{ BYTES_MAX }}

# The same of the library as CI has built it anyway (dev): for comparing with the run before, and not what ships.
library-size-dev:
    scripts/library-size.sh dev

# From nothing to the first list of a space of 10,000 messages: Kotlin beside Rust, fresh processes in turn. Long builds.
cold-start PROFILE="release" ROUNDS="15":
    scripts/cold-start.sh {{ PROFILE }} {{ ROUNDS }}

# README's first command.
demo *FLAGS="":
    cargo run --release -p clave-cli -- demo {{ FLAGS }}

# Real editing sessions, each agent on its own device.
trace:
    #!/usr/bin/env bash
    set -euo pipefail
    for name in friendsforever clownschool; do
        if [ -f "{{ data }}/$name.json.gz" ]; then
            cargo run --release --quiet -p clave-cli -- demo --trace "{{ data }}/$name.json.gz"
        else
            echo "SKIPPED: trace: $name, because {{ data }}/$name.json.gz is not there (set CLAVE_DATA)"
        fi
    done

# Kills a writing device at random moments; what was acknowledged must be there.
kill9 TIMES="100":
    scripts/kill9.sh {{ TIMES }}

# Fills small file systems under a whole device. Needs root.
disk-full:
    scripts/disk-full.sh

# Cuts the power under both stores, and under chunks in packs, and under sled without fsync, which has to fail: what was acknowledged must be there.
# `just power-cut 1000` is the full run. Needs root and loop devices; scripts/power-cut.py says what stands in for the disk, and
# what that leaves out.
power-cut CUTS="20" *FLAGS="":
    cargo build --release --quiet -p clave --example power_cut
    scripts/power-cut.py --program "$CARGO_TARGET_DIR/release/examples/power_cut" --cuts {{ CUTS }} {{ FLAGS }}

# Three people who are never online together share a chat, a file and a removal through a real relay, which has nothing it could read.
never-together:
    cargo build -p clave-cli -p clave-relay
    scripts/never-together.sh "$CARGO_TARGET_DIR/debug/clave" "$CARGO_TARGET_DIR/debug/clave-relay"

# Kills a relay under load; what it acknowledged must be there.
relay-kill9 TIMES="20":
    scripts/relay-kill9.sh {{ TIMES }}

# Two devices in two network namespaces find each other by mDNS. Needs root and iproute2.
mdns:
    #!/usr/bin/env bash
    set -euo pipefail
    cargo build -p clave-cli
    probe=clave-probe-$$
    if ip netns add "$probe" 2> /dev/null && ip netns del "$probe"; then
        scripts/mdns.sh "$CARGO_TARGET_DIR/debug/clave"
    else
        echo "SKIPPED: mdns, because network namespaces cannot be made here (root and iproute2)"
    fi

# Two devices, each behind a NAT, and a relay between: who meets directly, and who through the relay. Needs root, iproute2, nftables.
nat *FLAGS="":
    cargo build -p clave-cli -p clave-relay
    scripts/nat.py --programs "$CARGO_TARGET_DIR/debug" {{ FLAGS }}

# Two relays that only the space names, the one in use killed again and again: the two behind NATs go on over the other. Needs what `nat` needs.
fail-over:
    cargo build -p clave-cli -p clave-relay
    scripts/nat.py --programs "$CARGO_TARGET_DIR/debug" --fail-over

# The transport's tests with QUIC, which is off by default (ADR 34).
quic:
    cargo test -p clave-transport --features quic --test loopback

# A js-libp2p node (npm) uses the real relay: identify, ping, a place, reached through it; over TCP and WebSocket.
js-libp2p:
    cargo build -p clave-relay
    scripts/js-libp2p.sh "$CARGO_TARGET_DIR/debug/clave-relay"

# The relay's status page in real Chromium: what it shows, that it is renewed, that it asks nobody else, at a phone's width too.
status-page:
    cargo build -p clave-relay --bins --example relay_traffic
    scripts/status-page.sh "$CARGO_TARGET_DIR/debug/clave-relay" "$CARGO_TARGET_DIR/debug/examples/relay_traffic"

# The relay's systemd unit: checked, and the relay run under as much of it as can be without systemd. Needs root, systemd and strace.
relay-unit:
    cargo build -p clave-relay --bins --example relay_traffic
    scripts/relay-unit.py --program "$CARGO_TARGET_DIR/debug/clave-relay" --traffic "$CARGO_TARGET_DIR/debug/examples/relay_traffic"

# Two admins on two sides of a network that falls apart, as five real processes: what each sees (docs/by-hand.md).
partition:
    cargo build -p clave-cli
    scripts/partition.sh "$CARGO_TARGET_DIR/debug/clave"

# Gives fuzz/ and bench/ the versions of the root's Cargo.lock, so that what is built is shared.
sync-locks:
    for own in fuzz bench; do cp Cargo.lock $own/Cargo.lock; (cd $own && cargo metadata --format-version 1 > /dev/null); done
