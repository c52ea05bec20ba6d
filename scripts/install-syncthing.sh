#!/usr/bin/env bash
# Installs Debian's syncthing, with which `just bench files-small` and `just bench file-256m` compare.
set -euo pipefail
if command -v syncthing > /dev/null; then
    syncthing --version
elif [ "$(id -u)" = 0 ] && command -v apt-get > /dev/null && apt-get install -y -qq syncthing > /dev/null; then
    syncthing --version
else
    echo "SKIPPED: install-syncthing, because it takes root, apt-get and a package mirror"
fi
