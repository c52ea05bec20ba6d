"""Chat and one shared note in a terminal: a sample to copy.

    python team.py --dir ~/.team --name 王小明                  makes a space, and shows how to invite somebody
    python team.py --dir ~/.team --name 小波 --join 'clave://…'   joins it
"""

import argparse
import asyncio
import os
import signal
import sys
from contextlib import aclosing
from datetime import datetime, timedelta

import clave

HELP = """  anything        is said in the circle that is shown
  /circles        your circles, and what is unread
  /go NUMBER      shows another circle
  /circle NAME    makes a circle of everybody who is here now
  /invite         makes a link that lets one person in, within a day
  /note           shows the note of this circle
  /add TEXT       adds a line to it
  /change A => B  puts B in the place of A in it
  /again          sends again what could not be kept
  /quit
  · kept here   ✓ at a relay, or some have it   ✓✓ everybody has it   ✗ nobody takes it"""
NOTE = "共享笔记"


class Team:
    """What the terminal shows of a device. Everything happens on asyncio's thread."""

    def __init__(self, node, say):
        self.node, self.say = node, say
        self.inbox, self.circle, self.messages, self.note = [], None, [], None
        self.unsent = []  # what could not be sent, and where
        self.watching = []  # what is to end when another circle is shown
        self.following = asyncio.create_task(self.follow_inbox())

    async def close(self):
        await end([*self.watching, self.following])
        await self.node.shutdown()

    # What changes by itself.

    async def follow_inbox(self):
        """The list of circles, with what is unread."""
        async with aclosing(clave.inboxes(self.node)) as inboxes:
            async for self.inbox in inboxes:
                for item in self.inbox:
                    shown = self.circle is not None and item.circle.id == self.circle.id()
                    if item.preview.unread and not shown and item.preview.newest:
                        newest = item.preview.newest
                        self.say(f"  ({item.circle.name}: {item.preview.unread} unread; {newest.name}: {newest.text})")

    async def follow_timeline(self, circle):
        """The messages: the first step is a reset with what there is, all others change that list."""
        async with aclosing(clave.updates(circle.timeline())) as updates:
            async for diffs in updates:
                for diff in diffs:
                    self.show(diff)
                    clave.apply(self.messages, [diff])
                await circle.mark_read()

    def show(self, diff):
        if diff.is_RESET() or diff.is_APPEND():
            for message in diff.items:
                self.say(line(message))
        elif diff.is_INSERT():
            self.say(line(diff.item))  # somebody was away when they said it
        elif diff.is_SET():
            # Changed by its author, or our own has come further: the mark says how far.
            changed = diff.item.body != self.messages[diff.index].body and not diff.item.withdrawn
            self.say(line(diff.item) + ("  (changed)" if changed else ""))

    async def follow_note(self, circle):
        """The shared note, whoever changes it."""

        async def found():
            same = [note.id for note in await circle.notes() if note.title == NOTE]
            return min(same, default=None)

        self.note = await circle.note(await clave.until(self.node, found))
        before = None
        async with aclosing(clave.snapshots(self.note)) as snapshots:
            async for snapshot in snapshots:
                if snapshot.markdown != before:
                    before = snapshot.markdown
                    self.show_note(before)

    def show_note(self, markdown):
        self.say(f"  ┌ {NOTE}")
        for text in markdown.strip().splitlines() or ["(empty)"]:
            self.say(f"  │ {text}")

    # What the person asks for.

    async def go(self, circle):
        """Shows another circle."""
        await end(self.watching)
        self.circle, self.messages, self.note = circle, [], None
        self.say(f"── {await circle.name()}")
        self.watching = [asyncio.create_task(self.follow_timeline(circle)), asyncio.create_task(self.follow_note(circle))]
        for watching in self.watching:
            watching.add_done_callback(self.ended)

    def ended(self, task):
        if not task.cancelled() and task.exception():
            self.say(f"  ! {words(task.exception())}")

    async def send(self, circle, body):
        """On its way, then kept on this device, or not even that. How far it comes from here, its state says (`mark`)."""
        self.say(f"⋯ {body}")
        try:
            await circle.timeline().send(body)
        except clave.ClaveError as error:
            self.unsent.append((circle, body))
            self.say(f"✗ {body}: {words(error)}")

    async def again(self):
        unsent, self.unsent = self.unsent, []
        for circle, body in unsent:
            await self.send(circle, body)

    async def edit(self, splices):
        """Edits the note as it was when we looked; what others wrote since stays."""
        if self.note is None:
            self.say("  ! the note is not here yet: it comes with the first member who is online")
            return
        snapshot = await self.note.snapshot()
        made = splices(snapshot.text)
        if made is None:
            self.say("  ! the note does not say that")
            return
        await self.note.edit(snapshot.version, [made])

    async def add(self, text):
        await self.edit(lambda now: clave.Splice(position=len(now), delete=0, insert=("\n" if now else "") + text))

    async def change(self, change):
        old, _, new = change.partition(" => ")
        # Python counts code points, and so does Clave.
        await self.edit(lambda now: clave.Splice(position=now.index(old), delete=len(old), insert=new) if old in now else None)

    async def circles(self):
        for number, item in enumerate(self.inbox, 1):
            unread = f", {item.preview.unread} unread" if item.preview.unread else ""
            self.say(f"  {number}  {item.circle.name} ({item.circle.people} people{unread})")

    async def create_circle(self, name):
        space = await self.node.space(await self.circle.space())
        people = [member.person for member in await space.members() if not member.is_me]
        await self.go(await with_note(await space.create_circle(name, people)))

    async def invite(self):
        # A link carries addresses: be reachable first.
        await asyncio.wait_for(self.node.listening(), 30)
        self.say(f"  send this to one person: {await self.circle.invite(timedelta(days=1))}")

    async def obey(self, text):
        command, _, rest = text.partition(" ")
        if not text.startswith("/"):
            await self.send(self.circle, text)
        elif command == "/go" and rest.isdigit() and 0 < int(rest) <= len(self.inbox):
            await self.go(await self.node.circle(self.inbox[int(rest) - 1].circle.id))
        elif command == "/note" and self.note:
            self.show_note((await self.note.snapshot()).markdown)
        elif command == "/note":
            self.say("  the note is not here yet")
        elif command in ("/circle", "/add", "/change") and rest:
            await {"/circle": self.create_circle, "/add": self.add, "/change": self.change}[command](rest)
        elif command in ("/circles", "/invite", "/again"):
            await {"/circles": self.circles, "/invite": self.invite, "/again": self.again}[command]()
        else:
            self.say(HELP)


async def with_note(circle):
    """Whoever founds a circle makes its note, so that there is one and not two."""
    await circle.create_note(NOTE)
    return circle


def line(message):
    time = datetime.fromtimestamp(message.sent_ms / 1000).strftime("%H:%M")
    text = f"{mark(message.state)} {time} {message.author.name}: {'(withdrawn)' if message.withdrawn else message.body}"
    if message.state and message.state.is_FAILED():
        text += f"  ({message.state.error}{'; it is tried again by itself' if message.state.retryable else ''})"
    return text


def mark(state):
    """How far a message has come that this device sent; others have no state."""
    if state is None:
        return " "
    if state.is_QUEUED():
        return "·"  # on this device only, until somebody can be reached
    if state.is_FAILED():
        return "✗"  # no relay takes it, and nobody has it; kept for whoever is online with us
    # At a relay, for whoever is away; or some have it; or everybody has.
    return "✓✓" if state.is_DELIVERED() and state.everybody else "✓"


def words(error):
    """What a person is told. `error.code()` is for programs: `invitation.used` and the like."""
    if isinstance(error, clave.ClaveError):
        return error.reason() + ("  (trying again may help)" if error.is_retryable() else "")
    return str(error) or type(error).__name__


async def end(tasks):
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def lines():
    """What the person types, without blocking the loop."""
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while text := await reader.readline():
        yield text.decode(errors="replace").strip()


async def begin(arguments):
    """Opens this device or makes it, and gives a space to be in."""
    here = {"listen": [arguments.listen], "mdns": False} if arguments.listen else {}
    options = clave.NodeOptions(
        directory=os.path.expanduser(arguments.dir),
        passphrase=os.environ.get("TEAM_PASSPHRASE"),  # without one, whoever can read the directory can read everything
        network=clave.NetworkOptions(**here),
    )
    if clave.node_exists(options.directory):
        node = await clave.Node.open(options)
    else:
        node = await clave.Node.create(options, arguments.name, "terminal")
    try:
        if arguments.join:
            return node, await node.join(arguments.join, timedelta(minutes=1))
        if spaces := await node.spaces():
            return node, spaces[0]
        space = await node.create_space(arguments.space)
        await with_note(space.everybody())
        return node, space
    except clave.ClaveError:
        await node.shutdown()
        raise


async def main(arguments):
    node, space = await begin(arguments)
    team = Team(node, lambda text: print(text, flush=True))
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, asyncio.current_task().cancel)
    try:
        await team.go(space.everybody())
        team.say("  (/help says what can be done)")
        async for text in lines():
            if text == "/quit":
                break
            if text:
                try:
                    await team.obey(text)
                except (clave.ClaveError, asyncio.TimeoutError) as error:
                    team.say(f"  ! {words(error)}")
    finally:
        await team.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Chat and one shared note, without a server")
    parser.add_argument("--dir", default="~/.team", help="where this device keeps its things")
    parser.add_argument("--name", default=os.environ.get("USER", "me"), help="what you are called")
    parser.add_argument("--space", default="我们的团队", help="how a new space is called")
    parser.add_argument("--join", metavar="LINK", help="an invitation to take up")
    parser.add_argument("--listen", metavar="MULTIADDR", help="where to listen, and nowhere else")
    try:
        asyncio.run(main(parser.parse_args()))
    except clave.ClaveError as error:
        sys.exit(f"team: {words(error)}")
    except (KeyboardInterrupt, asyncio.CancelledError):
        pass
