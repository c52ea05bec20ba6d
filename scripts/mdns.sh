#!/usr/bin/env bash
# Two devices in two network namespaces on one virtual wire: the link's address is stale (the inviter moved to another port
# since), so the newcomer can only find the inviter by mDNS. Needs root and iproute2; cleans up behind itself.
#
#     scripts/mdns.sh [PATH OF clave]
set -euo pipefail
clave=$(readlink -f "${1:-target/debug/clave}")
here=$(mktemp -d)
tag=$$
a=clave-a-$tag b=clave-b-$tag
pids=()
finish() {
    for netns in "$a" "$b"; do
        ip netns pids "$netns" 2> /dev/null | xargs --no-run-if-empty kill 2> /dev/null || true
    done
    ip netns del "$a" 2> /dev/null || true
    ip netns del "$b" 2> /dev/null || true
    rm -rf "$here"
}
trap finish EXIT

ip netns add "$a"
ip netns add "$b"
ip link add "va$tag" netns "$a" type veth peer name "vb$tag" netns "$b"
for end in "$a 10.99.0.1 va$tag" "$b 10.99.0.2 vb$tag"; do
    read -r netns address link <<< "$end"
    ip -n "$netns" addr add "$address/24" dev "$link"
    ip -n "$netns" link set "$link" up
    ip -n "$netns" link set lo up
    ip -n "$netns" route add default dev "$link"
done
# Starts `clave run` and waits until it says that it is online.
online() {
    local who=$1
    shift
    "$who" run "$@" > "$here/$who.log" 2>&1 & pids+=($!)
    timeout 20 bash -c "until grep -q 'is online' '$here/$who.log'; do sleep 0.05; done"
}
alice() { ip netns exec "$a" "$clave" --dir "$here/alice" "$@"; }
bob() { ip netns exec "$b" "$clave" --dir "$here/bob" "$@"; }

alice init --name 爱丽丝 --device laptop --no-passphrase > /dev/null
bob init --name Bob --device phone --no-passphrase > /dev/null
alice space new 团队 > /dev/null
online alice --listen /ip4/0.0.0.0/tcp/4101
link=$(alice invite --json | python3 -c 'import json, sys; print(json.load(sys.stdin)["link"])')
alice stop > /dev/null
wait "${pids[0]}" || true
pids=()
online alice --listen /ip4/0.0.0.0/tcp/4102

bob join "$link"
alice chat send "你好" > /dev/null
online bob
bob wait --messages 1 > /dev/null
bob chat history | grep -q 你好
echo "found by mDNS: joined and chatted over a link whose address was stale"
