"""Many listeners made and dropped, many calls cancelled half way, listeners that call back in, from several threads with a loop each:
memory, handles and threads stay flat. Argument: how many of each (of those that call back, a hundredth)."""

import asyncio
import gc
import os
import pathlib
import sys
import tempfile
import threading
import time
import typing

import clave

THREADS = 4
# A round takes far less; what is over it hangs.
SAFETY = 1500


class Held(typing.NamedTuple):
    """What the process holds, as the system sees it."""

    resident_mb: int
    files: int
    threads: int

    @classmethod
    def now(cls):
        gc.collect()
        pages = int(pathlib.Path("/proc/self/statm").read_text().split()[1])
        tasks = len(os.listdir("/proc/self/task"))
        return cls(pages * os.sysconf("SC_PAGE_SIZE") >> 20, len(os.listdir("/proc/self/fd")), tasks)


class Counts(clave.TimelineListener):
    def __init__(self):
        self.calls = 0

    def on_update(self, diffs):
        self.calls += 1


class CallsBack(clave.TimelineListener):
    """Asks the node from inside, on the thread that it is called on, and hands over what it heard."""

    def __init__(self, node, timeline, heard):
        self.node, self.timeline, self.heard = node, timeline, heard

    def on_update(self, diffs):
        async def ask():
            return len(await self.timeline.history(1)) + len(await self.node.spaces())

        self.heard(asyncio.run(ask()))


def often(count, work):
    """So many times, on several threads at once, each with a loop of its own."""
    wrong = []

    async def some(thread):
        for number in range(thread, count, THREADS):
            await work(number)

    def run(thread):
        try:
            asyncio.run(asyncio.wait_for(some(thread), SAFETY))
        except BaseException as error:  # noqa: BLE001: the thread that waits raises it
            wrong.append(error)

    threads = [threading.Thread(target=run, args=[thread]) for thread in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if wrong:
        raise wrong[0]


def one_round(node, timeline, count):
    async def listens(number):
        observed = timeline.observe(5, Counts())
        if number % 2 == 0:
            observed.cancel()
        # The node's threads are not to be far behind with what was dropped.
        if number % 1_000 < THREADS:
            await timeline.message_count()

    async def cancels(_):
        call = asyncio.ensure_future(node.listening())
        await asyncio.sleep(0)
        call.cancel()
        try:
            await call
        except asyncio.CancelledError:
            return
        raise AssertionError("it was answered")

    async def calls_back(_):
        loop = asyncio.get_running_loop()
        answered = loop.create_future()

        def heard(answer):
            loop.call_soon_threadsafe(lambda: answered.done() or answered.set_result(answer))

        observed = timeline.observe(1, CallsBack(node, timeline, heard))
        assert await answered == 2
        observed.cancel()

    often(count, listens)
    often(count, cancels)
    often(count // 100, calls_back)


def main(count):
    with tempfile.TemporaryDirectory() as directory:
        node = asyncio.run(clave.Node.create(clave.NodeOptions(directory=directory), "Ada", "Python"))
        timeline = asyncio.run(node.create_space("Team")).timeline()
        asyncio.run(timeline.send("one"))
        # What is made once, and what the allocators keep for the next time, is there after rounds like the one that is looked at.
        one_round(node, timeline, count)
        print(f"after the first round: {Held.now()}", flush=True)
        one_round(node, timeline, count)
        before = Held.now()
        started = time.monotonic()
        one_round(node, timeline, count)
        seconds = time.monotonic() - started
        # Dropped listeners are let go of by tasks that may not have run yet.
        asyncio.run(timeline.send("two"))
        after = Held.now()
        print(
            f"{count} listeners, {count} cancelled calls, {count // 100} that call back in: {seconds:.1f} s; "
            f"before {before}, after {after}"
        )
        asyncio.run(node.shutdown())
    flat = (
        after.resident_mb <= before.resident_mb + 32
        and after.files <= before.files + 4
        and after.threads <= before.threads + 16
    )
    print("flat" if flat else "GREW")
    return not flat


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1])))
