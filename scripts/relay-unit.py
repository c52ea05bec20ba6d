#!/usr/bin/env python3
"""The systemd unit of clave-relay, as far as it can be looked at without systemd as process 1.

    scripts/relay-unit.py [--program PATH OF clave-relay] [--traffic PATH OF relay_traffic]

1. `systemd-analyze verify`, and `systemd-analyze security --offline` with a bound on what is left open.
2. The relay runs as the unit has it, by `unshare` and `setpriv`: another user without any right, all read-only but its directory, no homes, a /proc of its own. It
   keeps, is read by `status`, reloads, backs up, and stops; under strace, so that each system call, socket and mapping can be compared with what the unit allows.

What is not shown: systemd's own filter at work, and what only it sets up (PrivateUsers, PrivateDevices, the firewall of namespaces). Needs root, systemd and strace.
"""

import argparse
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile

UNIT = pathlib.Path(__file__).resolve().parent.parent / "relay/node/packaging/clave-relay.service"
# In tenths, as `systemd-analyze security` counts.
EXPOSURE_MAX = 12
USER = "64001"
PATIENCE_SECONDS = 60


def settings(text, name):
    return [line.split("=", 1)[1] for line in text.splitlines() if line.startswith(name + "=")]


def verify(text, program, folder):
    """Complaints about the unit, where programs are those that were built."""
    unit = folder / "clave-relay.service"
    text = text.replace("/usr/local/bin/clave-relay", str(program))
    unit.write_text("\n".join(line for line in text.splitlines() if not line.startswith("Documentation=")))
    done = subprocess.run(["systemd-analyze", "verify", str(unit)], capture_output=True, text=True)
    # Of other units on this machine it is not asked.
    wrong = [line for line in done.stderr.splitlines() if "clave-relay" in line]
    security = ["systemd-analyze", "security", "--offline=true", f"--threshold={EXPOSURE_MAX}", str(unit)]
    done = subprocess.run(security, capture_output=True, text=True)
    print(done.stdout.strip().splitlines()[-1])
    return wrong + ([f"it leaves more open than {EXPOSURE_MAX / 10}"] if done.returncode else [])


def calls_of(group):
    """The system calls of a group of systemd's."""
    shown = subprocess.run(["systemd-analyze", "syscall-filter", group], capture_output=True, text=True, check=True)
    calls = set()
    for line in shown.stdout.splitlines()[1:]:
        name = line.strip()
        if name.startswith("@"):
            calls |= calls_of(name)
        elif name and not name.startswith("#"):
            calls.add(name)
    return calls


def allowed_calls(text):
    allowed = set()
    for setting in settings(text, "SystemCallFilter"):
        takes = setting.startswith("~")
        for group in setting.lstrip("~").split():
            calls = calls_of(group) if group.startswith("@") else {group}
            allowed = allowed - calls if takes else allowed | calls
    return allowed


def run(program, traffic, folder, text):
    """Has the relay do what relays do; the lines of strace."""
    state, log = folder / "state", folder / "strace"
    state.mkdir(mode=0o700)
    os.chown(state, int(USER), int(USER))
    config = folder / "relay.toml"
    config.write_text(f'listen = ["/ip4/127.0.0.1/tcp/0"]\ndata = "{state}"\n[metrics]\nlisten = "127.0.0.1:0"\n')
    os.chmod(folder, 0o755)
    # Bind mounts of the state directory and of what is outside of the hidden places, then all else read-only.
    prepare = f"""
set -e
mount --make-rprivate /
mount --bind {folder} {folder}
mount --bind {state} {state}
for hidden in /home /root /run/user; do [ ! -d $hidden ] || mount -t tmpfs -o ro,mode=000 none $hidden; done
mount -t proc -o hidepid=invisible,subset=pid none /proc
mount -o remount,bind,ro /
mount -o remount,bind,ro {folder}
umask {settings(text, "UMask")[0]}
ulimit -n {settings(text, "LimitNOFILE")[0]} 2> /dev/null || echo "here no process may have so many files open" >&2
exec setpriv --reuid {USER} --regid {USER} --clear-groups --no-new-privs --bounding-set=-all --inh-caps=-all \\
    {program} run --config {config}
"""
    relay = subprocess.Popen(
        ["strace", "-f", "-qq", "-s", "64", "-o", str(log), "unshare", "--mount", "sh", "-c", prepare],
        stdout=subprocess.PIPE, text=True, start_new_session=True)
    said = {}
    while len(said) < 2:
        line = relay.stdout.readline()
        if not line:
            sys.exit("the relay did not start as the unit has it: see the messages above")
        what, _, where = line.strip().partition(" on ")
        said[what] = where
    address, page = said["listening"], said["metrics"]
    command = lambda *words: subprocess.run([str(program), *words, "--data", str(state)], check=True, capture_output=True, timeout=PATIENCE_SECONDS)
    devices = subprocess.Popen([str(traffic), address])
    try:
        while b'"put_total":0' in command("status", "--json").stdout.replace(b" ", b""):
            pass
        subprocess.run(["curl", "--silent", "--fail", "--output", "/dev/null", page + "metrics"], check=True)
        command("reload")
        command("backup", str(state / "backup"))
        command("drain")
        relay.wait(PATIENCE_SECONDS)
    finally:
        devices.kill()
        devices.wait()
        if relay.poll() is None:
            os.killpg(relay.pid, signal.SIGKILL)
            relay.wait()
    exposed = [path for path in state.rglob("*") if path.stat().st_mode & 0o077 and not path.is_socket()]
    wrong = [f"{path} can be read by others" for path in exposed]
    if relay.returncode:
        wrong.append(f"the relay ended with {relay.returncode}")
    lines = log.read_text(errors="replace").splitlines()
    # What was done before the program itself began is not the relay's.
    begin = next(at for at, line in enumerate(lines) if f'execve("{program}"' in line)
    return lines[begin + 1 :], wrong


def compare(lines, text):
    """What the relay did that the unit would not let it."""
    allowed, used, wrong = allowed_calls(text), set(), []
    families = set(settings(text, "RestrictAddressFamilies")[0].split())
    for line in lines:
        call = re.match(r"\d+\s+(?:<\.\.\. )?(\w+)[( ]", line)
        if not call:
            continue
        used.add(call[1])
        family = re.search(r"\bsocket\((AF_\w+)", line)
        if family and family[1] not in families:
            wrong.append(f"a socket of {family[1]}")
        if "PROT_WRITE|PROT_EXEC" in line:
            wrong.append(f"memory that is written and executed: {line}")
    wrong += [f"the system call {call}" for call in sorted(used - allowed)]
    print(f"{len(lines)} system calls of {len(used)} kinds, all compared with {len(allowed)} that are allowed")
    return sorted(set(wrong))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", type=pathlib.Path, default="target/debug/clave-relay")
    parser.add_argument("--traffic", type=pathlib.Path, default="target/debug/examples/relay_traffic")
    arguments = parser.parse_args()
    lacking = [name for name in ("systemd-analyze", "strace", "setpriv", "unshare", "curl") if not shutil.which(name)]
    if os.geteuid() or lacking:
        print(f"SKIPPED: relay-unit, because it needs root, and {', '.join(lacking) or 'nothing else'}")
        return 0
    text, program = UNIT.read_text(), arguments.program.resolve()
    with tempfile.TemporaryDirectory(prefix="clave-relay-unit-", dir="/var/tmp") as folder:
        folder = pathlib.Path(folder)
        wrong = verify(text, program, folder)
        lines, more = run(program, arguments.traffic.resolve(), folder, text)
        wrong += more + compare(lines, text)
    for line in wrong:
        print(f"error: {line}", file=sys.stderr)
    print("the unit lets the relay do what it does" if not wrong else f"{len(wrong)} things are wrong")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
