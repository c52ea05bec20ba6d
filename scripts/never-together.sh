#!/usr/bin/env bash
# At most one of Alice, Bob and Carol runs at any time, and a real relay: Bob and Carol join by a link that Alice made, a chat, a file, a
# removal and the keys that follow go through it; then its data is searched for what was said. Real processes on loopback; ends by itself.
#
#     scripts/never-together.sh [PATH OF clave] [PATH OF clave-relay]
set -euo pipefail
clave=$(readlink -f "${1:-target/debug/clave}")
relay=$(readlink -f "${2:-target/debug/clave-relay}")
here=$(mktemp -d)
relay_process=
finish() {
    trap - EXIT
    for who in alice bob carol; do
        CLAVE_DIR="$here/$who" "$clave" stop > /dev/null 2>&1 || true
    done
    [[ -z $relay_process ]] || kill "$relay_process" 2> /dev/null || true
    wait
    rm -rf "$here"
}
trap finish EXIT
trap 'exit 1' INT TERM

at() {
    local who=$1
    shift
    CLAVE_DIR="$here/$who" "$clave" "$@"
}
# Waits for a line in what somebody prints.
line() {
    until grep --max-count=1 "$1" "$2" 2> /dev/null; do
        [[ $SECONDS -lt 300 ]] || { echo "no \"$1\" in $2:" >&2; cat "$2" >&2; return 1; }
        read -rt 0.1 <> <(:) || true
    done
}
on() {
    CLAVE_DIR="$here/$1" "$clave" run --no-mdns --listen /ip4/127.0.0.1/tcp/0 > "$here/$1.out" 2>&1 &
    line tcp "$here/$1.out" > /dev/null
}
off() { at "$1" stop > /dev/null; }
start_relay() {
    : > "$here/relay.out"
    "$relay" run --listen "/ip4/127.0.0.1/tcp/${1:-0}" --identity "$here/relay.key" >> "$here/relay.out" 2> "$here/relay.err" &
    relay_process=$!
    address=$(line "listening on" "$here/relay.out" | sed "s/listening on //")
}

start_relay
for who in Alice Bob Carol; do
    at "${who,,}" init --name "$who" --device laptop --no-passphrase > /dev/null
done
at alice space new "Café 团队" > /dev/null
at alice relay add "$address"
on alice
for who in bob carol; do
    at alice --json invite | sed 's/.*"link": *"\([^"]*\)".*/\1/' > "$here/$who.link"
done
off alice

# Each asks, alone; Bob's device runs once more before he has an answer.
for who in bob carol; do
    on "$who"
    at "$who" join "$(cat "$here/$who.link")" | grep "keeps your request"
    off "$who"
done
on bob
until at bob status | grep "asked to join"; do
    [[ $SECONDS -lt 300 ]]
    read -rt 0.1 <> <(:) || true
done
off bob

on alice
at alice wait --members 3 --stored
off alice
for who in bob carol; do
    on "$who"
    at "$who" wait --joined
    at "$who" wait --members 3 --stored
    off "$who"
done

on alice
at alice chat send "你好 canary-one" > /dev/null
head --bytes=3000000 /dev/urandom > "$here/报告.bin"
at alice file add "$here/报告.bin" > /dev/null
at alice wait --stored
at alice relay list
off alice

on bob
at bob wait --messages 1 --file /报告.bin
at bob file get /报告.bin --output "$here/copy.bin" > /dev/null
cmp "$here/报告.bin" "$here/copy.bin"
at bob chat send "hello canary-two" > /dev/null
at bob wait --stored
off bob

# The relay is killed and starts again.
kill -9 "$relay_process"
wait "$relay_process" 2> /dev/null || true
port=$(sed "s|.*/tcp/\([0-9]*\)/.*|\1|" <<< "$address")
start_relay "$port"

on alice
at alice wait --messages 2
at alice members remove Carol > /dev/null
at alice chat send "without Carol canary-three" > /dev/null
at alice wait --stored
off alice

on carol
at carol wait --removed --messages 2
if at carol chat history | grep canary-three; then
    echo "Carol reads what was written after her removal" >&2
    exit 1
fi
off carol

on bob
at bob wait --members-max 2 --messages 3 --rotated
at bob chat history
off bob

kill "$relay_process"
wait "$relay_process" 2> /dev/null || true
relay_process=
[[ $(du --bytes --summarize "$here/relay.data" | cut --fields=1) -gt 3000000 ]]
for canary in canary- 你好 Café 报告 Alice Carol laptop; do
    if grep --recursive --text --fixed-strings --quiet -- "$canary" "$here"/relay.*; then
        echo "the relay has \"$canary\"" >&2
        exit 1
    fi
done
echo "They were never online together, and the relay has nothing that it could read."
