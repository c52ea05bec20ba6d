#!/usr/bin/env bash
# Prints the path of a nats-server: CLAVE_NATS_SERVER if that is set, the one in PATH, or Debian's, which is fetched and unpacked into the cache without
# being installed. Fails, saying why, where there is none.
set -euo pipefail
if [ -n "${CLAVE_NATS_SERVER:-}" ]; then
    echo "$CLAVE_NATS_SERVER"
    exit
fi
if found=$(command -v nats-server); then
    echo "$found"
    exit
fi
home="${XDG_CACHE_HOME:-$HOME/.cache}/clave/nats-server"
if [ ! -x "$home/usr/sbin/nats-server" ]; then
    mkdir -p "$(dirname "$home")"
    build=$(mktemp -d "$(dirname "$home")/nats-server.XXXXXX")
    trap 'rm -rf "$build"' EXIT
    cd "$build"
    if ! apt-get download nats-server > log 2>&1; then
        echo "nats-server cannot be fetched: $(tail -n 1 log). Install one, or set CLAVE_NATS_SERVER" >&2
        exit 1
    fi
    dpkg-deb -x nats-server_*.deb out
    # Whoever else was faster has the same.
    mv -T out "$home" 2> /dev/null || true
fi
echo "$home/usr/sbin/nats-server"
