"""The generated Python against the real library: two devices in this process, asyncio, a listener, a typed error."""

import asyncio, pathlib, sys, tempfile
from datetime import timedelta

import clave

TEXT = "你好, Python 🐍"


class Recorder(clave.TimelineListener):
    def __init__(self, loop):
        self.loop, self.batches = loop, asyncio.Queue()

    def on_update(self, diffs):
        self.loop.call_soon_threadsafe(self.batches.put_nowait, diffs)


async def main(directory):
    network = clave.NetworkOptions(listen=["/ip4/127.0.0.1/tcp/0"], mdns=False)
    options = lambda name: clave.NodeOptions(directory=str(directory / name), network=network)
    alice, bob = [await clave.Node.create(options(name), name, "Python") for name in ("Alice", "Bob")]
    await alice.listening()
    hers = await alice.create_space("Team")
    link = await hers.invite(timedelta(hours=1))
    his = await bob.join(link, timedelta(minutes=1))
    recorder = Recorder(asyncio.get_running_loop())
    subscription = his.timeline().observe(50, recorder)
    await hers.timeline().send(TEXT)
    steps = []
    while not any(item.body == TEXT for step in steps for item in getattr(step, "items", [])):
        steps += await recorder.batches.get()
    assert steps[0].is_RESET(), steps[0]
    subscription.cancel()
    await subscription.finished()
    try:
        await bob.join(link[:-3] + "AAA", timedelta(minutes=1))
        raise AssertionError("a damaged link was taken")
    except clave.ClaveError.Link as error:
        assert error.code() == "link.damaged" and not error.is_retryable(), error
    for node in (alice, bob):
        await node.shutdown()
    print("1 passed, 0 failed")


with tempfile.TemporaryDirectory() as directory:
    asyncio.run(asyncio.wait_for(main(pathlib.Path(directory)), 60))
