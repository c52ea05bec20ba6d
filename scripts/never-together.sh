#!/usr/bin/env bash
# At most one of Alice, Bob and Carol runs at any time, and a real relay: Bob and Carol join by a link that Alice made, a chat, a file, a
# removal and the keys that follow go through it; then all that it kept, logged (at `debug`) and exported is searched for what was said and for who said it
# (scripts/relay-audit.py). Real processes on loopback; ends by itself.
#
#     scripts/never-together.sh [PATH OF clave] [PATH OF clave-relay]
set -euo pipefail
clave=$(readlink -f "${1:-target/debug/clave}")
relay=$(readlink -f "${2:-target/debug/clave-relay}")
scripts=$(dirname "$(readlink -f "$0")")
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
    mkdir -p "$here/relay.data"
    cat > "$here/relay.toml" << END
listen = ["/ip4/127.0.0.1/tcp/${1:-0}"]
data = "$here/relay.data"
[metrics]
listen = "127.0.0.1:0"
[log]
level = "debug"
END
    "$relay" run --config "$here/relay.toml" >> "$here/relay.out" 2>> "$here/relay.err" &
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
# A busy evening: a circle of two with a note, a date and a file of its own, and a talk.
board="董事会 canary-circle"
at bob circle create "$board" --with Alice > /dev/null
printf '# 密码本 canary-note\n\nWords of a note.\n' > "$here/note.md"
at bob --circle "$board" note import "$here/note.md" --title "预算 canary-title" > /dev/null
at bob cal add --at 2027-03-01T09:00 --where "Raum canary-place" "Treffen canary-event" > /dev/null
at bob file mkdir /合同 > /dev/null
head --bytes=200000 /dev/urandom > "$here/canary-draft.pdf"
at bob --circle "$board" file add "$here/canary-draft.pdf" > /dev/null
at bob dm Alice "under four eyes canary-dm" > /dev/null
cmp "$here/报告.bin" "$here/copy.bin"
at bob chat send "hello canary-two" > /dev/null
at bob wait --stored
at bob --circle "$board" wait --stored
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

# What it tells its operator, and a backup; then all of it, and whom it is about.
mkdir "$here/relay.export"
numbers=$(line "metrics on" "$here/relay.out" | sed 's|.*http://\([0-9.:]*\).*|\1|')
for page in "" metrics health status.json; do
    curl --silent --show-error --fail "http://$numbers/$page" > "$here/relay.export/page-$page"
done
for said in status "status --json" stats blocked; do
    "$relay" $said --config "$here/relay.toml" > "$here/relay.export/${said// /}"
done
"$relay" backup "$here/relay.export/backup" --config "$here/relay.toml" > /dev/null
kill "$relay_process"
wait "$relay_process" 2> /dev/null || true
relay_process=
for who in alice bob carol; do
    for said in status members "circle list"; do
        at "$who" --json $said >> "$here/ids"
    done
done
at bob --json --circle "$board" members >> "$here/ids"
printf '%s\n' canary- 你好 hello Café 团队 报告 董事会 密码本 预算 "Raum canary" Treffen 合同 Alice Carol laptop "Words of a note" "four eyes" > "$here/texts"
[[ $(du --bytes --summarize "$here/relay.data" | cut --fields=1) -gt 3000000 ]]
[[ $(grep --count DEBUG "$here/relay.err") -gt 5 ]]
"$scripts/relay-audit.py" --ids "$here/ids" --texts "$here/texts" --content "$here/报告.bin" --content "$here/canary-draft.pdf" \
    "$here/relay.data" "$here/relay.export" "$here/relay.err" "$here/relay.out"
echo "They were never online together, and the relay has nothing that it could read."
