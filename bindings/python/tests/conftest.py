"""What the tests share: devices on loopback, and processes beside this one."""

import asyncio
import os
import pathlib
import subprocess
import sys

import clave
import pytest

# Everything here takes far less.
SAFETY = 120


class Other:
    """Another process, and what it says."""

    def __init__(self, *command):
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="utf-8")

    async def line(self):
        line = await asyncio.to_thread(self.process.stdout.readline)
        assert line, "the other process ended"
        return line.rstrip("\n")

    async def ask(self, what):
        self.process.stdin.write(what + "\n")
        self.process.stdin.flush()
        return await self.line()


def network():
    return clave.NetworkOptions(listen=["/ip4/127.0.0.1/tcp/0"], mdns=False)


def run(coroutine):
    return asyncio.run(asyncio.wait_for(coroutine, SAFETY))


@pytest.fixture
def rust(tmp_path):
    other = Other(os.environ["CLAVE_COUNTERPART"], str(tmp_path / "rust"))
    yield other
    other.process.kill()
    other.process.wait()


@pytest.fixture
def peer(tmp_path):
    other = Other(sys.executable, str(pathlib.Path(__file__).with_name("peer.py")), str(tmp_path / "peer"))
    yield other
    other.process.kill()
    other.process.wait()
