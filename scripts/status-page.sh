#!/usr/bin/env bash
# The relay's status page in real Chromium, with traffic (scripts/status-page/check.mjs). playwright-core is installed from npm into the cache, once for each
# lockfile; Chromium is Debian's, installed if there is none and this runs as root.
#
#     scripts/status-page.sh [PATH OF clave-relay] [PATH OF relay_traffic]
set -euo pipefail
relay=$(readlink -f "${1:-target/debug/clave-relay}")
traffic=$(readlink -f "${2:-target/debug/examples/relay_traffic}")
here=$(dirname "$(readlink -f "$0")")/status-page
if ! command -v npm > /dev/null || ! node -e 'process.exit(parseInt(process.versions.node) < 20 ? 1 : 0)'; then
    echo "SKIPPED: status-page, because there is no Node.js 20 or newer with npm"
    exit
fi
if ! command -v chromium > /dev/null; then
    if [ "$(id -u)" != 0 ] || ! apt-get install --yes --quiet=2 --no-install-recommends chromium > /dev/null; then
        echo "SKIPPED: status-page, because there is no chromium, and it cannot be installed here (apt-get install chromium)"
        exit
    fi
fi
home="${XDG_CACHE_HOME:-$HOME/.cache}/clave/status-page-$(sha256sum "$here/package-lock.json" | cut -c -16)"
mkdir -p "$home"
cp "$here"/*.json "$here"/*.mjs "$home"
cd "$home"
if [ ! -e node_modules/.package-lock.json ]; then
    npm ci --no-audit --no-fund --loglevel=error
fi
exec node check.mjs "$relay" "$(command -v chromium)" "$traffic"
