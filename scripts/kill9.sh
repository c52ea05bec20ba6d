#!/bin/sh
# Kills a writing device (SIGKILL) at random moments, checks after each time that what it had acknowledged is there, and
# at the end that a second device has the same.   scripts/kill9.sh [ROUNDS [SEED]]
set -eu
cd "$(dirname "$0")/.."
KILL9_ROUNDS="${1:-100}" KILL9_SEED="${2:-1}" cargo test -p clave-cli --test kill9 -- --nocapture
