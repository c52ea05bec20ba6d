#!/usr/bin/env bash
# kill -9 of a NATS server under load, its stream's leader every second time, again and again: nothing acknowledged is lost. 100 kills take about TODO minutes.
set -euo pipefail
cd "$(dirname "$0")/.."
CLAVE_KILLS="${1:-100}" cargo test -p clave-relay --test mailbox cluster::nothing_acknowledged -- --nocapture
