"""Two windows, each of a process of its own, on a screen that nobody looks at: they join, chat and write one note.

Usage: test.py WORK SHOT COMMAND… where COMMAND starts the driver (Drive.kt). Writes a picture of the first window to SHOT."""

import os
import pathlib
import subprocess
import sys

work, picture, *command = sys.argv[1:]


class Window:
    def __init__(self, name):
        arguments = [*command, str(pathlib.Path(work, name)), "/ip4/127.0.0.1/tcp/0"]
        self.process = subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="utf-8")

    def ask(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        said = self.process.stdout.readline().rstrip("\n")
        print(f"  {line}" if said.startswith("ok") else f"  {line}: {said}", flush=True)
        assert said.startswith("ok"), said or "it ended"
        return said.removeprefix("ok").strip()

    def close(self):
        self.ask("close")
        self.process.stdin.close()
        assert self.process.wait(60) == 0


windows = []


def window(name):
    windows.append(Window(name))
    return windows[-1]


try:
    alice, bob = window("alice"), window("bob")
    alice.ask("answer 王小明")
    alice.ask("press OK")  # no link: a space of her own
    alice.ask("sees circles 我们的团队")
    alice.ask("press Invite…")
    link = alice.ask("sees link clave:")
    alice.ask("press OK")

    # A link that is none is refused in words; then the right one.
    bob.ask("answer 小波")
    bob.ask("answer https://example.org")
    bob.ask(f"answer {link}")
    bob.ask("sees circles 我们的团队")

    alice.ask("type input 你好, 去爬山吗?")
    alice.ask("press Send")
    alice.ask(r"sees messages ✓✓\n你好")
    bob.ask("sees messages 你好, 去爬山吗?")
    bob.ask("type input 好! Saturday at nine")
    bob.ask("press Send")
    alice.ask("sees messages 好! Saturday at nine")

    # Both write the note; both see both.
    alice.ask(r"type note 星期六\n- 带水")
    bob.ask("sees note - 带水")
    bob.ask(r"type note \n- 带午饭")
    alice.ask("sees note - 带午饭")
    alice.ask(r"type note \n- 七点见")
    bob.ask("sees note - 七点见")

    # A second circle, unread until it is looked at.
    alice.ask("press New circle…")
    alice.ask("answer 预算")
    alice.ask("sees title 预算")
    alice.ask("type input 三百元")
    alice.ask("press Send")
    bob.ask("sees circles 预算 1")
    bob.ask("choose circles 预算")
    bob.ask("sees messages 三百元")
    bob.ask("sees circles 预算 0")
    alice.ask("choose circles 我们的团队")
    alice.ask("sees messages Saturday")
    alice.ask("sees note - 七点见")
    bob.ask("type input 记账")
    bob.ask("press Send")
    alice.ask("sees circles 预算 1")
    alice.ask(f"shot window {picture}")

    # Who comes back finds everything and is asked nothing; what was said meanwhile waited.
    bob.close()
    alice.ask("type input 还在吗?")
    alice.ask("press Send")
    alice.ask(r"sees messages on this device only\n还在吗?")
    bob = window("bob")
    bob.ask("sees circles 预算")
    alice.ask(r"sees messages ✓✓\n还在吗?")
    bob.close()
    alice.close()
finally:
    for one in windows:
        one.process.kill()
        one.process.wait()
assert os.path.getsize(picture) > 10_000, "the picture is empty"
print("two windows joined, chatted and wrote one note")
