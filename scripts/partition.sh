#!/usr/bin/env bash
# Two admins on two sides of a network that fell apart remove each other's invitee, then each other; then it heals. Prints what
# each person sees before, during and after. Real processes in network namespaces, on two bridges with one wire between
# them, which is cut and mended. Needs root and iproute2; ends by itself, and cleans up behind itself.
#
#     scripts/partition.sh [PATH OF clave]
set -euo pipefail
clave=$(readlink -f "${1:-target/debug/clave}")
here=$(mktemp -d)
tag=$$
hub=clave-hub-$tag
people=(alice bob carol dave erin)
finish() {
    trap - EXIT
    for who in "${people[@]}"; do
        # What runs in the namespace was started here.
        ip netns pids "clave-$who-$tag" 2> /dev/null | xargs --no-run-if-empty kill 2> /dev/null || true
        ip netns del "clave-$who-$tag" 2> /dev/null || true
    done
    wait
    ip netns del "$hub" 2> /dev/null || true
    rm -rf "$here"
}
trap finish EXIT
trap 'exit 1' INT TERM

# Alice and Carol on the left; Bob, Dave and Erin on the right.
ip netns add "$hub"
for side in left right; do
    ip -n "$hub" link add "$side" type bridge
    ip -n "$hub" link set "$side" up
done
ip -n "$hub" link add wire-l type veth peer name wire-r
ip -n "$hub" link set wire-l master left up
ip -n "$hub" link set wire-r master right up
number=0
for seat in alice:left bob:right carol:left dave:right erin:right; do
    who=${seat%:*} side=${seat#*:} number=$((number + 1))
    netns=clave-$who-$tag
    ip netns add "$netns"
    ip link add eth0 netns "$netns" type veth peer name "to-$who" netns "$hub"
    ip -n "$hub" link set "to-$who" master "$side" up
    ip -n "$netns" addr add "10.98.0.$number/24" dev eth0
    ip -n "$netns" link set eth0 up
    ip -n "$netns" link set lo up
done

as() {
    local who=$1
    shift
    ip netns exec "clave-$who-$tag" "$clave" --dir "$here/$who" "$@"
}
# Runs a command as somebody, and prints it with what it says; a refusal is part of the story.
see() {
    local who=$1
    shift
    printf '%s$ clave %s\n' "$who" "$*"
    as "$who" "$@" 2>&1 | sed 's/^/    /' || true
}
# Waits for something to be so, without a word.
until_so() {
    local who=$1
    shift
    as "$who" wait --timeout 3m "$@" > /dev/null
}
title() { printf '\n== %s\n' "$*"; }
cut() { ip -n "$hub" link set wire-l down; }
mend() { ip -n "$hub" link set wire-l up; }

number=0
for who in "${people[@]}"; do
    number=$((number + 1))
    as "$who" init --name "${who^}" --device "${who:0:1}-laptop" --no-passphrase > /dev/null 2>&1
    as "$who" run --no-mdns --listen "/ip4/10.98.0.$number/tcp/4001" > "$here/$who.log" 2>&1 &
    timeout 20 bash -c "until grep -q 'is online' '$here/$who.log'; do sleep 0.05; done"
done
link() { as "$1" invite --json | python3 -c 'import json, sys; print(json.load(sys.stdin)["link"])'; }
as alice space new 团队 > /dev/null
as bob join "$(link alice)" > /dev/null
as alice members role Bob admin > /dev/null
as carol join "$(link alice)" > /dev/null
until_so bob --members 3 --online 2
as dave join "$(link bob)" > /dev/null
until_so alice --members 4 --online 3
as erin join "$(link alice)" > /dev/null
for who in "${people[@]}"; do until_so "$who" --members 5 --online 4; done
as alice chat send "hello everybody" > /dev/null
for who in "${people[@]}"; do until_so "$who" --messages 1; done

title "Before: one network, and everybody in it"
see alice members
see dave access

title "The wire between left (Alice, Carol) and right (Bob, Dave, Erin) is cut"
cut
for who in alice carol; do until_so "$who" --online-max 1; done
for who in bob dave erin; do until_so "$who" --online-max 2; done

title "During: Alice removes Dave, whom Bob brought in; Bob removes Carol, whom Alice brought in"
see alice members remove Dave
see bob members remove Carol
echo "(Carol and Dave are each with somebody who knows nothing of it, and go on.)"
see carol chat send "from the left, by Carol"
see dave chat send "from the right, by Dave"
until_so alice --messages 2
until_so bob --messages 2
see alice access
see alice chat history
see bob access
see bob chat history
see carol members
see dave members

title "The wire is mended"
mend
for who in alice bob erin; do until_so "$who" --members-max 3 --rotated --online 2; done
until_so carol --removed
until_so dave --removed
as bob chat send "is it only us now?" > /dev/null
until_so alice --messages 2
as alice chat send "yes" > /dev/null
for who in bob erin; do until_so "$who" --messages 3; done

title "After: what each sees"
for who in alice bob erin; do
    see "$who" members
    see "$who" access
    see "$who" chat history
    see "$who" set-aside
done
for who in carol dave; do
    see "$who" members
    see "$who" chat send "am I still here?"
    see "$who" chat history
done
see alice audit
hashes() { as "$1" audit | grep 'Last hash'; }
hashes alice > "$here/alice.hashes"
for who in bob erin; do
    hashes "$who" | diff - "$here/alice.hashes" && echo "($who has the same last hashes, of the acts and of the keys)"
done
see alice set-aside keep chat
until_so bob --messages 5
see bob chat history

title "Once more, harder: Bob is an owner too. The wire is cut, and the two remove each other; Erin is with Bob"
as alice members role Bob owner > /dev/null
as alice chat send "you are an owner now" > /dev/null
for who in bob erin; do until_so "$who" --messages 6; done
cut
until_so alice --online-max 0
for who in bob erin; do until_so "$who" --online-max 1; done
see alice members remove Bob
see bob members remove Alice
until_so erin --members-max 2
see bob chat send "Alice is out, Erin"
until_so erin --messages 7
see alice members
see bob members
see erin access

title "The wire is mended: the senior's removal stands"
mend
until_so bob --removed
until_so erin --online 1 --rotated
as alice chat send "it is the two of us, Erin" > /dev/null
until_so erin --messages 7
for who in alice erin; do
    see "$who" access
    see "$who" set-aside
done
see bob members
see bob chat send "hello?"
see bob set-aside
see erin audit
