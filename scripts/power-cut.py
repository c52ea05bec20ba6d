#!/usr/bin/env python3
"""Cuts the power under a store, again and again: what it called durable must be there afterwards, and it must open.

    scripts/power-cut.py --program PROGRAM [--cuts N] [--seed N] [redb packs sled bare-sled]

Two file systems stand in each other: *inside* one ext4 (the device's) is on a loop device whose backing file lies on another
ext4 (*below*, the disk with its volatile cache), which is on a loop device of its own. A cut shuts down the one below with
EXT4_IOC_SHUTDOWN and no flush. What the process had not synced is lost with the page cache of the file system inside, and
what that had written to its disk without a flush is lost with the one below. Before a cut, and at random, ranges of the
backing file are pushed to the disk out of order (posix_fadvise): a cache that writes back what it likes, so that later
writes are there and earlier ones are not. Then both are mounted again, and the same program checks and writes on.

Not covered: a disk that acknowledges a flush and does not do it; a sector that is torn (loop devices write whole
pages); file systems other than ext4; a cut while `mkfs` or the mount is at work.

`packs` is redb with chunks of files in packs beside it, and collections that copy and remove packs.

The control (bare-sled) must fail: if it does not, this proves nothing and the exit code is 1.
"""

import argparse
import fcntl
import os
import pathlib
import random
import select
import shutil
import struct
import subprocess
import sys
import tempfile
import time

EXT4_IOC_SHUTDOWN = 0x8004587D
NO_LOG_FLUSH = 2
CONTROL = "bare-sled"
BELOW_BYTES = 192 << 20
INSIDE_BYTES = 128 << 20
# The database is begun anew after so many cuts, so that beginnings are cut, too.
CUTS_A_DATABASE = 25
# The control fails at almost every cut, and begins anew each time.
CONTROL_CUTS_MAX = 100
START_PATIENCE_S = 60
REPOSITORY = pathlib.Path(__file__).resolve().parent.parent


def run(*command):
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(map(str, command))}: {done.stderr.strip()}")
    return done.stdout


def run_patiently(*command):
    """The same, again and again: the kernel lets a loop device go, and a thread of a killed process end, when it gets to it."""
    deadline = time.monotonic() + START_PATIENCE_S
    while True:
        try:
            return run(*command)
        except RuntimeError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.01)


class Disk:
    """The two file systems, one in the other."""

    def __init__(self, place):
        self.image = place / "below.img"
        self.below, self.inside = place / "below", place / "inside"
        self.below.mkdir()
        self.inside.mkdir()
        self.mounted = []

    def make(self):
        self.unmount()
        self.image.unlink(missing_ok=True)
        with open(self.image, "wb") as file:
            file.truncate(BELOW_BYTES)
        run("mkfs.ext4", "-q", "-F", self.image)
        self.mount_at(self.image, self.below)
        with open(self.below / "inside.img", "wb") as file:
            # Written and not only reserved: a block that is overwritten later needs no journal of the one below.
            for _ in range(INSIDE_BYTES >> 20):
                file.write(bytes(1 << 20))
            os.fsync(file.fileno())
        run("mkfs.ext4", "-q", "-F", self.below / "inside.img")
        self.mount_at(self.below / "inside.img", self.inside)
        run("sync", "-f", self.inside)
        run("sync", "-f", self.below)

    def mount_at(self, image, at):
        run_patiently("mount", "-o", "loop", image, at)
        self.mounted.append(at)

    def mount(self):
        self.mount_at(self.image, self.below)
        self.mount_at(self.below / "inside.img", self.inside)

    def write_back(self, dice):
        """Has a part of what the disk holds in its cache written, in no order."""
        file = os.open(self.below / "inside.img", os.O_RDONLY)
        try:
            for _ in range(dice.randrange(6)):
                at = dice.randrange(INSIDE_BYTES >> 12) << 12
                os.posix_fadvise(file, at, dice.choice([1, 8, 64, 1024, 8192]) << 12, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(file)

    def cut(self):
        directory = os.open(self.below, os.O_RDONLY)
        try:
            fcntl.ioctl(directory, EXT4_IOC_SHUTDOWN, struct.pack("I", NO_LOG_FLUSH))
        finally:
            os.close(directory)

    def unmount(self):
        while self.mounted:
            run_patiently("umount", self.mounted.pop())
        # While its device is still there a file system is mounted again as it was left: shut down.
        deadline = time.monotonic() + START_PATIENCE_S
        while self.image.exists() and run("losetup", "--associated", self.image).strip():
            if time.monotonic() > deadline:
                raise RuntimeError(f"the loop device of {self.image} does not go away")
            time.sleep(0.01)


class Writer:
    """The program, with the lines that it prints."""

    def __init__(self, program, directory, kind, acknowledged):
        command = [program, directory, kind, str(acknowledged)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        os.set_blocking(self.process.stdout.fileno(), False)
        self.rest = b""

    def lines(self, patience_s):
        """The lines that are there, having waited for some."""
        select.select([self.process.stdout], [], [], patience_s)
        self.rest += self.process.stdout.read() or b""
        *lines, self.rest = self.rest.split(b"\n")
        return [line.decode(errors="replace") for line in lines]

    def kill(self):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()


def number(lines):
    numbers = [int(line.split()[1]) for line in lines if line.startswith("ACK ")]
    return max(numbers, default=0)


def opened(writer):
    """Waits until the program has opened and checked the store. The lines that it printed, and what is wrong."""
    lines, until = [], time.monotonic() + START_PATIENCE_S
    while time.monotonic() < until:
        ended = writer.process.poll() is not None
        lines += writer.lines(0 if ended else 1)
        for line in lines:
            if line.startswith("WRONG"):
                return lines, line[6:]
            if line.startswith("OPEN"):
                return lines, None
        if ended:
            return lines, "it does not open: the process ended without a word (a panic)"
    return lines, f"it does not open: nothing in {START_PATIENCE_S} s"


def one_cut(disk, program, kind, acknowledged, dice):
    """Starts the program, lets it work for a moment and cuts. What is acknowledged by then; what was wrong at its start,
    which is what the cut before this one did, and then nothing is cut."""
    writer = Writer(program, disk.inside / "data", kind, acknowledged)
    try:
        # Some cuts while it opens: that writes, too.
        if acknowledged and dice.randrange(8) == 0:
            time.sleep(dice.random() * 0.02)
        else:
            lines, wrong = opened(writer)
            if wrong:
                return acknowledged, wrong
            acknowledged = max(acknowledged, number(lines))
        for _ in range(dice.randrange(1, 5)):
            time.sleep(dice.random() * 0.03)
            disk.write_back(dice)
        # Only what it has said by now counts: a store that goes on after its disk is gone says nothing about that.
        acknowledged = max(acknowledged, number(writer.lines(0)))
        disk.cut()
        return acknowledged, None
    finally:
        writer.kill()


def one_database(disk, program, kind, cuts, dice):
    """Cuts a new database so often, or until it is wrong. How many cuts it had, what was acknowledged, what was wrong."""
    disk.make()
    acknowledged = 0
    for cut in range(cuts):
        acknowledged, wrong = one_cut(disk, program, kind, acknowledged, dice)
        if wrong:
            if cut == 0:
                raise RuntimeError(f"{kind}: an empty directory does not work: {wrong}")
            return cut, acknowledged, wrong
        disk.unmount()
        disk.mount()
    writer = Writer(program, disk.inside / "data", kind, acknowledged)
    try:
        return cuts, acknowledged, opened(writer)[1]
    finally:
        writer.kill()


def cut_many(program, kind, cuts, seed, place):
    """Cuts so often. How many databases were wrong afterwards."""
    disk, dice, begun = Disk(place), random.Random(f"{kind} {seed}"), time.monotonic()
    done, batches, failures = 0, 0, []
    try:
        while done < cuts:
            more, acknowledged, wrong = one_database(disk, program, kind, min(CUTS_A_DATABASE, cuts - done), dice)
            done, batches = done + more, batches + acknowledged
            if wrong:
                failures.append((done, wrong))
    finally:
        disk.unmount()
    seconds = time.monotonic() - begun
    print(f"{kind}: {done} cuts in {seconds:.0f} s, {batches} batches acknowledged, {len(failures)} failures (seed {seed})")
    for cut, wrong in failures[:5]:
        print(f"  cut {cut}: {wrong}")
    if len(failures) > 5:
        print(f"  and {len(failures) - 5} more")
    sys.stdout.flush()
    return len(failures)


def possible(place):
    """Whether this machine can do it; why not, if it cannot."""
    if os.name != "posix" or os.geteuid() != 0:
        return "mounting needs root"
    missing = [tool for tool in ("mkfs.ext4", "mount", "umount") if not shutil.which(tool)]
    if missing:
        return f"{missing[0]} is not installed"
    disk = Disk(place)
    try:
        disk.make()
        disk.cut()
    except (OSError, RuntimeError) as error:
        return f"a file system in a loop device cannot be made and shut down here: {error}"
    finally:
        disk.unmount()
    return None


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cuts", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--program", type=pathlib.Path, required=True, help="the example `power_cut`, built")
    parser.add_argument("kinds", nargs="*", default=["redb", "packs", "sled", CONTROL])
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="clave-power-cut-") as scratch:
        first = pathlib.Path(scratch) / "probe"
        first.mkdir()
        why_not = possible(first)
        if why_not:
            print(f"SKIPPED: power-cut, because {why_not}")
            return 0
        shutil.rmtree(first)
        failed = False
        for kind in arguments.kinds:
            place = pathlib.Path(scratch) / kind
            place.mkdir()
            cuts = min(arguments.cuts, CONTROL_CUTS_MAX) if kind == CONTROL else arguments.cuts
            failures = cut_many(arguments.program, kind, cuts, arguments.seed, place)
            shutil.rmtree(place)
            if kind == CONTROL and failures == 0:
                print(f"{kind} is the control and should have failed: these cuts prove nothing")
                failed = True
            elif kind != CONTROL and failures:
                failed = True
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
