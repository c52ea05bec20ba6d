#!/usr/bin/env bash
# Kills a server of a NATS cluster (`kill -9`) under load, the stream's leader every second time, again and again, with two relays on it. Looks at the end whether
# everything that was acknowledged is there, at one of them and at one that comes later; no session may have ended.
#
#     scripts/relay-cluster-kill9.sh [KILLS]     100 by default
set -euo pipefail
cd "$(dirname "$0")/.."
CLAVE_KILLS="${1:-100}" cargo test --quiet -p clave-relay --test mailbox -- --nocapture --exact cluster::nothing_acknowledged_is_lost_with_a_server
