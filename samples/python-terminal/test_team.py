"""Two people at two terminals: the sample itself, each in a process with a terminal of its own.

TEAM_COMMAND names another program that does the same: the Swift sample is tested with this, too."""

import os
import pathlib
import pty
import re
import select
import subprocess
import sys
import time

import pytest

SAMPLE = [sys.executable, str(pathlib.Path(__file__).with_name("team.py"))]
if "TEAM_COMMAND" in os.environ:
    SAMPLE = [os.environ["TEAM_COMMAND"]]
# Everything here takes far less.
SAFETY_S = 60


class Terminal:
    """The sample at a terminal (or at pipes), and what is written there."""

    def __init__(self, directory, *arguments, tty=True):
        command = [*SAMPLE, "--dir", str(directory), "--listen", "/ip4/127.0.0.1/tcp/0", *arguments]
        if tty:
            self.hand, screen = pty.openpty()
            self.process = subprocess.Popen(command, stdin=screen, stdout=screen, stderr=screen, close_fds=True)
            os.close(screen)
            self.eye = self.hand
        else:
            self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
            self.hand, self.eye = self.process.stdin.fileno(), self.process.stdout.fileno()
        self.bytes, self.read = b"", 0

    def type(self, text):
        os.write(self.hand, (text + "\n").encode())

    def sees(self, pattern):
        """Waits for it, behind what was seen before."""
        ends = time.monotonic() + SAFETY_S
        while True:
            text = self.bytes.decode(errors="ignore")
            if found := re.compile(pattern).search(text, self.read):
                self.read = found.end()
                return found
            assert select.select([self.eye], [], [], max(0, ends - time.monotonic()))[0], f"no {pattern!r} in:\n{text}"
            try:
                more = os.read(self.eye, 65536)
            except OSError:  # how a terminal says that its program is gone
                more = b""
            assert more, f"it ended without {pattern!r}:\n{text}"
            self.bytes += more

    def quit(self):
        self.type("/quit")
        assert self.process.wait(SAFETY_S) == 0

    def kill(self):
        self.process.kill()
        self.process.wait()


@pytest.fixture
def terminals():
    opened = []

    def opening(*arguments, **how):
        opened.append(Terminal(*arguments, **how))
        return opened[-1]

    yield opening
    for terminal in opened:
        terminal.kill()


def test_two_terminals_chat_and_write_one_note(tmp_path, terminals):
    alice = terminals(tmp_path / "alice", "--name", "王小明", "--space", "Café Kollektiv")
    alice.sees("── Café Kollektiv")
    alice.type("/invite")
    link = alice.sees(r"to one person: (\S+)")[1]
    bob = terminals(tmp_path / "bob", "--name", "小波", "--join", link, tty=False)
    bob.sees("── Café Kollektiv")

    alice.type("你好 👋")
    alice.sees(r"⋯ 你好 👋")
    alice.sees(r"✓✓ \d\d:\d\d 王小明: 你好 👋\r?\n")  # and not "(changed)": it came further
    bob.sees(r"  \d\d:\d\d 王小明: 你好 👋")
    bob.type("去爬山吗?")
    alice.sees("小波: 去爬山吗?")

    # One begins the note, both write in it, each sees what the other writes.
    alice.type("/add 星期六爬山")
    bob.sees("│ 星期六爬山")
    bob.type("/add 带水")
    alice.sees("│ 星期六爬山\r?\n.*│ 带水|│ 星期六爬山 ?带水")
    alice.type("/change 星期六 => 星期日")
    bob.sees("│ 星期日爬山")
    alice.type("/change 星期八 => 星期九")
    alice.sees("the note does not say that")

    # A second circle: what is said there is unread here until it is looked at.
    alice.type("/circle 预算")
    alice.sees("── 预算")
    alice.type("三百元")
    bob.sees(r"\(预算: 1 unread; 王小明: 三百元\)")
    bob.type("/circles")
    number = bob.sees(r"(\d)  预算 \(2 people, 1 unread\)")[1]
    bob.type(f"/go {number}")
    bob.sees("王小明: 三百元")

    # Who comes back finds everything, and needs no invitation. What was shown just before they left may count as unread still.
    bob.quit()
    alice.type("还在吗?")
    alice.sees(r"· \d\d:\d\d 王小明: 还在吗")  # nobody has it yet
    again = terminals(tmp_path / "bob")
    again.sees(r"\(预算: [12] unread; 王小明: 还在吗\?\)")
    alice.sees(r"✓✓ \d\d:\d\d 王小明: 还在吗")
    again.quit()
    alice.quit()


def test_what_goes_wrong_is_said_in_words(tmp_path, terminals):
    alice = terminals(tmp_path / "alice", "--name", "王小明")
    alice.type("/invite")
    link = alice.sees(r"to one person: (\S+)")[1]
    terminals(tmp_path / "bob", "--name", "小波", "--join", link).sees("──")
    late = terminals(tmp_path / "eve", "--name", "Eve", "--join", link)
    late.sees("team: this invitation was already used by someone else")
    assert late.process.wait(SAFETY_S) == 1
    busy = terminals(tmp_path / "alice")
    busy.sees("team: the store is in use by process .*trying again may help")
    assert busy.process.wait(SAFETY_S) == 1
    alice.type("/nonsense")
    alice.sees("/circles +your circles")
