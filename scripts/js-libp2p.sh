#!/usr/bin/env bash
# A js-libp2p client of the real relay (scripts/js-libp2p/check.mjs). What it needs is installed from npm into the cache, once for
# each lockfile.
#
#     scripts/js-libp2p.sh [PATH OF clave-relay]
set -euo pipefail
relay=$(readlink -f "${1:-target/debug/clave-relay}")
here=$(dirname "$(readlink -f "$0")")/js-libp2p
if ! command -v npm > /dev/null || ! node -e 'process.exit(parseInt(process.versions.node) < 20 ? 1 : 0)'; then
    echo "SKIPPED: js-libp2p, because there is no Node.js 20 or newer with npm"
    exit
fi
home="${XDG_CACHE_HOME:-$HOME/.cache}/clave/js-libp2p-$(sha256sum "$here/package-lock.json" | cut -c -16)"
mkdir -p "$home"
cp "$here"/*.json "$here"/*.mjs "$home"
cd "$home"
if [ ! -e node_modules/.package-lock.json ]; then
    # libp2p asks for Node 22 and says so; node20.mjs brings what is missing before it.
    npm ci --no-audit --no-fund --loglevel=error
fi
exec node check.mjs "$relay"
