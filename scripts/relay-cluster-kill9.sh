#!/usr/bin/env bash
# Kills a server of a NATS cluster (`kill -9`) under load, the stream's leader every second time, or one of the two relays on it every fourth, again and again. Looks
# at the end whether everything that was acknowledged is there, at one of them and at one that comes later; no session may have ended but those of a relay that was killed.
#
#     scripts/relay-cluster-kill9.sh [KILLS]     100 by default
set -euo pipefail
cd "$(dirname "$0")/.."
CLAVE_KILLS="${1:-100}" cargo test --quiet -p clave-relay --test mailbox -- --nocapture --exact cluster::nothing_acknowledged_is_lost_with_a_server_or_a_relay
