#!/usr/bin/env bash
# Kills a relay (`kill -9`) under load, again and again, and looks after each time whether everything that it acknowledged is there.
#
#     scripts/relay-kill9.sh [KILLS]     100 by default
set -euo pipefail
cd "$(dirname "$0")/.."
CLAVE_KILLS="${1:-100}" cargo test --quiet -p clave-relay --test mailbox -- --nocapture --exact kill9::nothing_acknowledged_is_lost
