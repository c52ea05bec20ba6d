"""Asynchronous iterators over listeners."""

from __future__ import annotations

import asyncio
import concurrent.futures
import typing

from . import _clave as clave

T = typing.TypeVar("T")


class _Hand:
    """Hands what a listener is told to a coroutine, one at a time: the listener waits, so that a slow reader gets few large
    batches and misses nothing."""

    def __init__(self):
        self.loop, self.queue, self.handing = asyncio.get_running_loop(), asyncio.Queue(1), None
        self.over = False

    def __call__(self, item):
        if self.over:
            return
        self.handing = asyncio.run_coroutine_threadsafe(self.queue.put(item), self.loop)
        if self.over:
            self.handing.cancel()
        try:
            self.handing.result()
        except concurrent.futures.CancelledError:
            pass

    def end(self):
        self.over = True
        if self.handing is not None:
            self.handing.cancel()


async def _stream(observe: typing.Callable[[_Hand], typing.Any]) -> typing.AsyncIterator[typing.Any]:
    hand = _Hand()
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


def updates(timeline, count=50, pager=lambda observed: None):
    """The `count` newest messages and everything that happens to them and after them, in batches of steps; the first step is
    `RESET`. Goes on over pauses, and ends when the node is shut down. `pager` is handed what shows more of it."""

    class Listener(clave.TimelineListener):
        def __init__(self, hand):
            self.hand = hand

        def on_update(self, diffs):
            self.hand(diffs)

    def observe(hand):
        observed = timeline.observe(count, Listener(hand))
        pager(observed)
        return observed

    return _stream(observe)


async def messages(timeline, count=50, pager=lambda observed: None):
    """As `updates`, each time the whole list, oldest first: what a screen shows."""
    shown = []
    source = updates(timeline, count, pager)
    try:
        async for diffs in source:
            apply(shown, diffs)
            yield list(shown)
    finally:
        await source.aclose()


async def inboxes(node):
    """The inbox, each time the whole list, those circles first in which something was said last."""

    class Listener(clave.InboxListener):
        def __init__(self, hand):
            self.hand = hand

        def on_inbox(self, diffs):
            self.hand(diffs)

    shown = []
    source = _stream(lambda hand: node.observe_inbox(Listener(hand)))
    try:
        async for diffs in source:
            apply(shown, diffs)
            yield list(shown)
    finally:
        await source.aclose()


def snapshots(note):
    """The note as it is, and again each time it changed, whoever did it."""

    class Listener(clave.NoteListener):
        def __init__(self, hand):
            self.hand = hand

        def on_note(self, note):
            self.hand(note)

    return _stream(lambda hand: note.observe(Listener(hand)))


def changes(node):
    """Everything that happens from now on: ask again for what is shown of it."""

    class Listener(clave.ChangeListener):
        def __init__(self, hand):
            self.hand = hand

        def on_change(self, change):
            self.hand(change)

    return _stream(lambda hand: node.observe(Listener(hand)))


async def steps(transfer):
    """How far a transfer is, until it is over."""
    last = transfer.progress()
    while last is not None:
        yield last
        last = await transfer.progress_after(last)


async def until(node, read: typing.Callable[[], typing.Awaitable[T | None]]) -> T:
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


def apply(shown: list, diffs):
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
