"""Asynchronous iterators over listeners."""

from __future__ import annotations

import asyncio
import concurrent.futures
import typing

from . import _clave as clave

T = typing.TypeVar("T")
_Item = typing.TypeVar("_Item")


class _Hand(typing.Generic[_Item]):
    """Hands what a listener is told to a coroutine, one at a time: the listener waits, so that a slow reader gets few large
    batches and misses nothing."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.queue: asyncio.Queue[_Item] = asyncio.Queue(1)
        self.handing: concurrent.futures.Future[None] | None = None
        self.over = False

    def __call__(self, item: _Item) -> None:
        if self.over:
            return
        self.handing = asyncio.run_coroutine_threadsafe(self.queue.put(item), self.loop)
        if self.over:
            self.handing.cancel()
        try:
            self.handing.result()
        except concurrent.futures.CancelledError:
            pass

    def end(self) -> None:
        self.over = True
        if self.handing is not None:
            self.handing.cancel()


async def _stream(
    observe: typing.Callable[[_Hand[_Item]], clave.Subscription | clave.ObservedTimeline],
) -> typing.AsyncGenerator[_Item, None]:
    hand: _Hand[_Item] = _Hand()
    subscription = observe(hand)
    finished = asyncio.ensure_future(subscription.finished())
    try:
        while True:
            getting = asyncio.ensure_future(hand.queue.get())
            await asyncio.wait({getting, finished}, return_when=asyncio.FIRST_COMPLETED)
            if getting.done():
                yield getting.result()
                continue
            getting.cancel()
            # It says why, if anything went wrong.
            finished.result()
            return
    finally:
        hand.end()
        subscription.cancel()
        finished.cancel()


Pager = typing.Callable[[clave.ObservedTimeline], object]


def updates(
    timeline: clave.Timeline, count: int = 50, pager: Pager = lambda observed: None
) -> typing.AsyncGenerator[list[clave.TimelineDiff], None]:
    """The `count` newest messages and everything that happens to them and after them, in batches of steps; the first step is
    `RESET`. Goes on over pauses, and ends when the node is shut down. `pager` is handed what shows more of it."""

    class Listener(clave.TimelineListener):
        def __init__(self, hand: _Hand[list[clave.TimelineDiff]]) -> None:
            self.hand = hand

        def on_update(self, diffs: list[clave.TimelineDiff]) -> None:
            self.hand(diffs)

    def observe(hand: _Hand[list[clave.TimelineDiff]]) -> clave.ObservedTimeline:
        observed = timeline.observe(count, Listener(hand))
        pager(observed)
        return observed

    return _stream(observe)


async def messages(
    timeline: clave.Timeline, count: int = 50, pager: Pager = lambda observed: None
) -> typing.AsyncGenerator[list[clave.Message], None]:
    """As `updates`, each time the whole list, oldest first: what a screen shows."""
    shown: list[clave.Message] = []
    source = updates(timeline, count, pager)
    try:
        async for diffs in source:
            apply(shown, diffs)
            yield list(shown)
    finally:
        await source.aclose()


async def inboxes(node: clave.Node) -> typing.AsyncGenerator[list[clave.InboxItem], None]:
    """The inbox, each time the whole list, those circles first in which something was said last."""

    class Listener(clave.InboxListener):
        def __init__(self, hand: _Hand[list[clave.InboxDiff]]) -> None:
            self.hand = hand

        def on_inbox(self, diffs: list[clave.InboxDiff]) -> None:
            self.hand(diffs)

    def observe(hand: _Hand[list[clave.InboxDiff]]) -> clave.Subscription:
        return node.observe_inbox(Listener(hand))

    shown: list[clave.InboxItem] = []
    source = _stream(observe)
    try:
        async for diffs in source:
            apply(shown, diffs)
            yield list(shown)
    finally:
        await source.aclose()


def snapshots(note: clave.Note) -> typing.AsyncGenerator[clave.NoteSnapshot, None]:
    """The note as it is, and again each time it changed, whoever did it."""

    class Listener(clave.NoteListener):
        def __init__(self, hand: _Hand[clave.NoteSnapshot]) -> None:
            self.hand = hand

        def on_note(self, note: clave.NoteSnapshot) -> None:
            self.hand(note)

    def observe(hand: _Hand[clave.NoteSnapshot]) -> clave.Subscription:
        return note.observe(Listener(hand))

    return _stream(observe)


def _presence(
    observe: typing.Callable[[clave.PresenceListener], clave.Subscription],
) -> typing.AsyncGenerator[list[clave.Present], None]:
    class Listener(clave.PresenceListener):
        def __init__(self, hand: _Hand[list[clave.Present]]) -> None:
            self.hand = hand

        def on_presence(self, present: list[clave.Present]) -> None:
            self.hand(present)

    def begin(hand: _Hand[list[clave.Present]]) -> clave.Subscription:
        return observe(Listener(hand))

    return _stream(begin)


def present(note: clave.Note) -> typing.AsyncGenerator[list[clave.Present], None]:
    """Who else is in the note, and where, and again each time that changed."""
    return _presence(note.observe_presence)


def typists(timeline: clave.Timeline) -> typing.AsyncGenerator[list[clave.Present], None]:
    """Who else is writing, and again each time somebody begins or stops."""
    return _presence(timeline.observe_typing)


def changes(node: clave.Node) -> typing.AsyncGenerator[clave.Change, None]:
    """Everything that happens from now on: ask again for what is shown of it."""

    class Listener(clave.ChangeListener):
        def __init__(self, hand: _Hand[clave.Change]) -> None:
            self.hand = hand

        def on_change(self, change: clave.Change) -> None:
            self.hand(change)

    def observe(hand: _Hand[clave.Change]) -> clave.Subscription:
        return node.observe(Listener(hand))

    return _stream(observe)


async def steps(transfer: clave.Transfer) -> typing.AsyncGenerator[clave.Progress, None]:
    """How far a transfer is, until it is over."""
    last: clave.Progress | None = transfer.progress()
    while last is not None:
        yield last
        last = await transfer.progress_after(last)


async def until(node: clave.Node, read: typing.Callable[[], typing.Awaitable[T | None]]) -> T:
    """Waits until `read` gives something: asked now, and whenever something happened."""
    source = changes(node)
    # It begins to listen when it is asked, so before anything is read.
    happens = asyncio.ensure_future(anext(source))
    await asyncio.sleep(0)
    try:
        while (found := await read()) is None:
            await happens
            happens = asyncio.ensure_future(anext(source))
        return found
    finally:
        happens.cancel()
        await asyncio.gather(happens, return_exceptions=True)
        await source.aclose()


def apply(
    shown: list[typing.Any],
    diffs: typing.Iterable[clave.TimelineDiff] | typing.Iterable[clave.InboxDiff],
) -> None:
    """Does the steps of one batch to a list, of messages or of the inbox."""
    for diff in diffs:
        if diff.is_RESET():
            shown[:] = diff.items
        elif diff.is_APPEND():
            shown.extend(diff.items)
        elif diff.is_INSERT():
            shown.insert(diff.index, diff.item)
        elif diff.is_SET():
            shown[diff.index] = diff.item
        elif diff.is_REMOVE():
            del shown[diff.index]
