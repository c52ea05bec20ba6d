#!/usr/bin/env python3
"""Two devices, each behind a NAT of its own, and a relay in the internet: real processes in network namespaces.

    scripts/nat.py [--programs DIRECTORY] [--mb N] [--quic] [--pair TYPE/TYPE]... [--fail-over]

For each pair of NAT types the two join by invitation, talk, and give each other a file. Where both NATs allow it, the connection
has to become direct (it is asked of `clave status`), else it has to stay relayed; what went through the relay is counted at the
relay's own network interface. The types, as nftables rules of a Linux router that drops what nobody asked for:

    full-cone        a port stays the same towards everybody, and everybody may send to it (1:1 mapping of the address)
    port-restricted  a port stays the same towards everybody; only who was sent to may answer (masquerade)
    symmetric        another port towards everybody (masquerade random,fully-random)

With --fail-over, instead: two relays that only the policy of the space names, and two devices that can meet through nothing else
(symmetric/symmetric). The relay that carries them is killed (SIGKILL), again and again, each time after it was back, and at last one is
silenced (SIGSTOP). What one writes then has to reach the other, and the two have to be connected again, in FAIL_OVER_S or SILENCE_S.

Needs root, iproute2 and nftables; cleans up behind itself. Ends with 1 if anything else happens than is expected, and with a line
SKIPPED where namespaces cannot be made.
"""

import argparse
import collections
import contextlib
import hashlib
import itertools
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time

REPOSITORY = pathlib.Path(__file__).resolve().parent.parent
TYPES = ("full-cone", "port-restricted", "symmetric")
PATIENCE_S = 60
RELAY_IP, RELAY_PORT, DEVICE_PORT = "198.51.100.1", 4001, 4101
# How long a message may take after the relay that carries it was killed, and how often that is done; and when it says no more, without
# a word: a ping is due within 15 seconds and its answer within 10, and libp2p asks twice.
FAIL_OVER_S, KILLS, SILENCE_S = 10, 5, 60
TAG = os.getpid()

# A router: from outside only what belongs to something that began inside, or what NAT leads in.
ROUTER = """
table ip filter {{
    chain input {{ type filter hook input priority 0; policy accept; iifname "wan" ct state new drop; }}
    chain forward {{ type filter hook forward priority 0; policy accept;
        iifname "wan" ct state new ct status & dnat == 0 drop; }}
}}
table ip nat {{
    chain inward {{ type nat hook prerouting priority dstnat; {inward}; }}
    chain outward {{ type nat hook postrouting priority srcnat; oifname "wan" {outward}; }}
}}
"""
RULES = {
    "full-cone": ('iifname "wan" dnat to {lan}', "snat to {wan}"),
    "port-restricted": ("", "masquerade"),
    "symmetric": ("", "masquerade random,fully-random"),
}
COUNTERS = f"""
table ip count {{
    counter relayed {{}}
    chain input {{ type filter hook input priority 0; ip daddr {RELAY_IP} counter name relayed; }}
}}
"""


def becomes_direct(pair, quic):
    """Whether the two can meet. A symmetric NAT tells the relay a port that it uses towards nobody else: the other side has to take
    what comes from any port."""
    symmetric = pair.count("symmetric")
    return symmetric == 0 or (symmetric == 1 and "full-cone" in pair)


def run(*command, text=None, check=True):
    done = subprocess.run([str(part) for part in command], input=text, capture_output=True, text=True)
    if check and done.returncode:
        raise RuntimeError(f"{' '.join(map(str, command))}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


class Namespace:
    def __init__(self, name):
        self.name = f"clave-{name}-{TAG}"
        run("ip", "netns", "add", self.name)
        self.ip("link", "set", "lo", "up")

    def ip(self, *command):
        run("ip", "-n", self.name, *command)

    def command(self, *command):
        return ["ip", "netns", "exec", self.name, *map(str, command)]

    def run(self, *command, **how):
        return run(*self.command(*command), **how)

    def remove(self):
        run("ip", "netns", "del", self.name, check=False)


def wire(one, name, other, other_name, address, other_address=None):
    """A cable from one namespace to another."""
    run("ip", "link", "add", name, "netns", one.name, "type", "veth", "peer", "name", other_name, "netns", other.name)
    for namespace, link, given in ((one, name, address), (other, other_name, other_address)):
        if given:
            namespace.ip("addr", "add", given, "dev", link)
        namespace.ip("link", "set", link, "up")


class World:
    """The internet, two routers, and a home behind each. Made anew for each pair: routers remember."""

    def __init__(self, pair):
        self.namespaces = []
        self.internet = self.namespace("internet")
        self.internet.ip("link", "add", "lan", "type", "bridge")
        self.internet.ip("addr", "add", f"{RELAY_IP}/24", "dev", "lan")
        self.internet.ip("link", "set", "lan", "up")
        self.internet.run("nft", "-f", "-", text=COUNTERS)
        self.homes = []
        for side, kind in enumerate(pair, start=1):
            router, home = self.namespace(f"nat{side}"), self.namespace(f"home{side}")
            wire(router, "wan", self.internet, f"port{side}", f"198.51.100.1{side}/24")
            self.internet.ip("link", "set", f"port{side}", "master", "lan")
            wire(router, "lan", home, "lan", f"10.0.{side}.1/24", f"10.0.{side}.2/24")
            router.run("sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward")
            home.ip("route", "add", "default", "via", f"10.0.{side}.1")
            inward, outward = (rule.format(lan=f"10.0.{side}.2", wan=f"198.51.100.1{side}") for rule in RULES[kind])
            router.run("nft", "-f", "-", text=ROUTER.format(inward=inward, outward=outward))
            self.homes.append(home)

    def namespace(self, name):
        self.namespaces.append(Namespace(name))
        return self.namespaces[-1]

    def relayed_bytes(self):
        counted = json.loads(self.internet.run("nft", "-j", "list", "counters"))["nftables"]
        return next(item["counter"]["bytes"] for item in counted if "counter" in item)

    def remove(self):
        for namespace in self.namespaces:
            namespace.remove()


class Process:
    """Something that runs until it is stopped, and whose output is kept."""

    def __init__(self, command, log):
        self.log = log
        with open(log, "w") as output:
            self.process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)

    def says(self, words):
        """The rest of the line that begins with the words, once it is there."""
        until = time.monotonic() + PATIENCE_S
        while time.monotonic() < until and self.process.poll() is None:
            for line in self.log.read_text().splitlines():
                if line.startswith(words):
                    return line[len(words):].strip()
            time.sleep(0.02)
        raise RuntimeError(f"it did not say “{words}”:\n{self.log.read_text()}")

    def kill(self):
        self.process.kill()
        self.process.wait()

    def freeze(self):
        self.process.send_signal(signal.SIGSTOP)

    def stop(self):
        self.process.send_signal(signal.SIGINT)
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


class Device:
    def __init__(self, program, place, name, home):
        self.base = home.command(program, "--dir", place / name)
        self.name, self.log = name, place / f"{name}.log"
        self.running = None
        self.do("init", "--name", name, "--device", "laptop", "--no-passphrase")

    def do(self, *command):
        return run(*self.base, *command)

    def json(self, *command):
        return json.loads(self.do(*command, "--json"))

    def online(self, relays, quic):
        listen = ["--listen", f"/ip4/0.0.0.0/tcp/{DEVICE_PORT}"]
        if quic:
            listen += ["--quic", "--listen", f"/ip4/0.0.0.0/udp/{DEVICE_PORT}/quic-v1"]
        known = [word for relay in relays for word in ("--relay", relay)]
        self.running = Process([*self.base, "run", "--no-mdns", *listen, *known], self.log)
        # Not before: whoever asks while it starts could hold the data directory.
        self.running.says(f"{self.name} is online")
        self.status_until(lambda status: all(relay["reserved"] for relay in status.get("reservations", [])))

    def status_until(self, holds):
        until = time.monotonic() + PATIENCE_S
        while time.monotonic() < until:
            with contextlib.suppress(RuntimeError):
                status = self.json("status")
                if holds(status):
                    return status
            time.sleep(0.1)
        raise RuntimeError(f"it did not come so far:\n{self.do('status')}\n{self.log.read_text()}")

    def way(self):
        peers = self.json("status")["peers"]
        return peers[0]["way"] if peers else "nobody"

    def stop(self):
        if self.running:
            self.running.stop()


Row = collections.namedtuple("Row", "pair joined first ways direct_s file_s file_relayed reachable right")


def directly(status):
    return status["peers"] and status["peers"][0]["way"] != "relayed"


def serve(world, programs, place, quic, port=RELAY_PORT):
    """A relay in the internet, and the addresses that devices are given."""
    listen = [f"/ip4/{RELAY_IP}/tcp/{port}"]
    if quic:
        listen.insert(0, f"/ip4/{RELAY_IP}/udp/{port}/quic-v1")
    words = [word for address in listen for word in ("--listen", address)]
    command = [programs / "clave-relay", "run", "--identity", place / f"relay-{port}.key", "--data", place / f"relay-{port}", *words]
    relay = Process(world.internet.command(*command), place / f"relay-{port}.log")
    key = relay.says("listening on ").rsplit("/", 1)[1]
    return relay, [f"{address}/p2p/{key}" for address in listen]


def meet(world, programs, place, pair, quic, file, digest, relays):
    """One pair of NATs, from the founding of a space to the last byte of the file."""
    alice, bob = (Device(programs / "clave", place, name, home) for name, home in zip(("爱丽丝", "Bob"), world.homes))
    try:
        alice.do("space", "new", "团队")
        alice.online(relays, quic)
        link = alice.json("invite")["link"]
        began = time.monotonic()
        bob.do("join", link)
        joined = time.monotonic() - began
        began = time.monotonic()
        bob.online(relays, quic)
        bob.do("wait", "--online", 1)
        first = bob.way()
        alice.do("chat", "send", "你好")
        bob.do("wait", "--messages", 1)
        bob.do("chat", "send", "Hallo 爱丽丝")
        alice.do("wait", "--messages", 2)
        expected = becomes_direct(pair, quic)
        direct_s = None
        if expected:
            alice.status_until(directly)
            bob.status_until(directly)
            direct_s = time.monotonic() - began
        before, began = world.relayed_bytes(), time.monotonic()
        alice.do("file", "add", file)
        bob.do("wait", "--file", f"/{file.name}")
        bob.do("file", "get", f"/{file.name}", "--output", place / "came")
        file_s = time.monotonic() - began
        file_relayed = world.relayed_bytes() - before
        if hashlib.sha256((place / "came").read_bytes()).hexdigest() != digest:
            raise RuntimeError("the file came as another one")
        statuses = [device.status_until(lambda status: status["reachability"] != "unknown") for device in (alice, bob)]
        reachable = [status["reachability"] for status in statuses]
        ways = [device.way() for device in (alice, bob)]
        went_direct = all(way in ("direct", "hole_punched") for way in ways)
        stayed = all(way == "relayed" for way in ways)
        through = file_relayed > file.stat().st_size
        as_known = ["public" if kind == "full-cone" else "private" for kind in pair]
        right = reachable == as_known and (went_direct and not through if expected else stayed and through)
        print(f"--- {' / '.join(pair)}: what Bob's `clave status` says")
        print(bob.do("status").rstrip(), flush=True)
        return Row(pair, joined, first, ways, direct_s, file_s, file_relayed, reachable, right)
    finally:
        bob.stop()
        alice.stop()


def fail_over(world, programs, place):
    """Whether what was written after the death of the relay that carried the two arrived, and the two were connected again, in time."""
    def placed(status):
        return sum(relay["reserved"] for relay in status.get("reservations", [])) == 2

    relays = {}
    for port in (RELAY_PORT, RELAY_PORT + 1):
        process, [address] = serve(world, programs, place, False, port)
        relays[address] = port, process
    alice, bob = (Device(programs / "clave", place, name, home) for name, home in zip(("爱丽丝", "Bob"), world.homes))
    try:
        alice.do("space", "new", "团队")
        for address in relays:
            alice.do("relay", "add", address)
        alice.online([], False)
        alice.status_until(placed)
        link = alice.json("invite")["link"]
        bob.online([], False)
        bob.do("join", link)
        bob.do("wait", "--joined")
        slowest = {"killed": 0, "silenced": 0}
        for said, how in enumerate(["killed"] * KILLS + ["silenced"], start=1):
            for device in (alice, bob):
                device.status_until(placed)
                device.status_until(lambda status: status["peers"] and status["peers"][0]["way"] == "relayed")
            carrier = bob.json("status")["peers"][0]["relay"]
            if said == 1:
                print("--- what Bob's `clave status` says")
                print(bob.do("status").rstrip(), flush=True)
            port, process = relays[carrier]
            process.kill() if how == "killed" else process.freeze()
            began = time.monotonic()
            alice.do("chat", "send", f"消息 {said}")
            bob.do("wait", "--messages", said)
            came = time.monotonic() - began
            # The message may have come out of the other relay's mailbox: the circuit has to be there, too.
            bob.status_until(lambda status: status["peers"] and status["peers"][0].get("relay") not in (None, carrier))
            took = time.monotonic() - began
            slowest[how] = max(slowest[how], took)
            print(f"relay :{port} was {how}: the next message came after {came:.2f} s, the circuit after {took:.2f} s", flush=True)
            if how == "killed":
                relays[carrier] = port, serve(world, programs, place, False, port)[0]
        print(f"killed {KILLS} times: {slowest['killed']:.2f} s at most (allowed: {FAIL_OVER_S}); silenced: {slowest['silenced']:.2f} s ({SILENCE_S})")
        return slowest["killed"] <= FAIL_OVER_S and slowest["silenced"] <= SILENCE_S
    finally:
        bob.stop()
        alice.stop()
        for _, process in relays.values():
            process.kill()


def table(rows):
    heads = ("NATs", "joined", "first", "then (each side says)", "direct after", "file", "of it by relay", "reachable", "")
    lines = [heads]
    for row in rows:
        after = f"{row.direct_s:.1f} s" if row.direct_s is not None else "-"
        lines.append((" / ".join(row.pair), f"{row.joined:.1f} s", row.first, ", ".join(row.ways), after, f"{row.file_s:.1f} s",
                      f"{row.file_relayed / 1e6:.1f} MB", ", ".join(row.reachable), "ok" if row.right else "WRONG"))
    widths = [max(len(line[column]) for line in lines) for column in range(len(heads))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip() for line in lines)


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--programs", type=pathlib.Path, default=REPOSITORY / "target/debug", help="where clave and clave-relay lie")
    arguments.add_argument("--mb", type=int, default=100, help="length of the file, in megabytes")
    arguments.add_argument("--quic", action="store_true", help="listen on QUIC beside TCP; the programs have to be built with it")
    arguments.add_argument("--pair", action="append", help="TYPE/TYPE; all six if missing")
    arguments.add_argument("--fail-over", action="store_true", help="kill the relay that carries the two, of two that the space names")
    asked = arguments.parse_args()
    if os.geteuid() != 0 or not shutil.which("nft") or not shutil.which("ip"):
        print("SKIPPED: nat, because it needs root, iproute2 and nftables")
        return 0
    pairs = [tuple(pair.split("/")) for pair in asked.pair or []] or list(itertools.combinations_with_replacement(TYPES, 2))
    rows, programs = [], asked.programs.resolve()
    with contextlib.ExitStack() as stack:
        place = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="clave-nat-")))
        try:
            Namespace("probe").remove()
        except RuntimeError as error:
            print(f"SKIPPED: nat, because network namespaces cannot be made here: {error}")
            return 0
        if asked.fail_over:
            world = World(("symmetric", "symmetric"))
            stack.callback(world.remove)
            return 0 if fail_over(world, programs, place) else 1
        file = place / "recording.bin"
        content = os.urandom(asked.mb * 1_000_000)
        file.write_bytes(content)
        digest = hashlib.sha256(content).hexdigest()
        for number, pair in enumerate(pairs):
            here = place / str(number)
            here.mkdir()
            with contextlib.ExitStack() as pair_stack:
                world = World(pair)
                pair_stack.callback(world.remove)
                relay, relays = serve(world, programs, here, asked.quic)
                pair_stack.callback(relay.stop)
                rows.append(meet(world, programs, here, pair, asked.quic, file, digest, relays))
            shutil.rmtree(here)
    print()
    print(table(rows))
    return 0 if all(row.right for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
