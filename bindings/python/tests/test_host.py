"""What an app does in the library's place, and who is there just now: called from another language."""

import contextlib
import pathlib
import subprocess
import sys
from datetime import timedelta

import clave
import pytest

from conftest import SAFETY, run


class KeyStore(clave.KeyWrapping):
    """Keeps to itself what it masks keys with."""

    def __init__(self):
        self.answer = None

    def wrap(self, key):
        return bytes(byte ^ 0x5A for byte in key)

    def unwrap(self, wrapped):
        if self.answer is not None:
            raise self.answer
        return self.wrap(wrapped)


def test_a_vault_that_the_app_wraps_is_no_use_without_it(tmp_path):
    async def scenario():
        directory, keys = str(tmp_path / "小红"), KeyStore()
        wrapped = clave.NodeOptions(directory=directory, host=clave.Host(key_wrapping=keys))
        node = await clave.Node.create(wrapped, "小红", "手机")
        await node.shutdown()
        with pytest.raises(clave.ClaveError.Vault) as without:
            await clave.Node.open(clave.NodeOptions(directory=directory))
        assert without.value.detail.code == "vault.host_needed"
        for answer, code in [
            (clave.KeyWrappingError.Unavailable(), "vault.unavailable"),
            (clave.KeyWrappingError.Cancelled(), "vault.cancelled"),
            (clave.KeyWrappingError.KeyGone(), "vault.key_gone"),
            (RuntimeError("whatever an app throws"), "vault.unavailable"),
        ]:
            keys.answer = answer
            with pytest.raises(clave.ClaveError.Vault) as refused:
                await clave.Node.open(wrapped)
            assert refused.value.detail.code == code
        keys.answer = None
        node = await clave.Node.open(wrapped)
        assert node.profile().person_name == "小红"
        await node.shutdown()

    run(scenario())


class Names(clave.NameResolver):
    def __init__(self):
        self.asked = []

    def resolve(self, name):
        self.asked.append(name)
        if name == "xiaoming.invalid":
            return ["127.0.0.1"]
        raise OSError("no such name")


class Interfaces(clave.InterfaceLister):
    def addresses(self):
        return ["127.0.0.1", "fe80::1%wlan0"]


def test_found_by_a_name_that_the_app_resolves_two_see_each_other(tmp_path):
    async def scenario():
        names = Names()
        any_address = clave.NetworkOptions(listen=["/ip4/0.0.0.0/tcp/0"], mdns=False)
        where = clave.NodeOptions(directory=str(tmp_path / "小明"), network=any_address, host=clave.Host(interfaces=Interfaces()))
        ming = await clave.Node.create(where, "小明", "手机")
        assert all(address.startswith("/ip4/127.0.0.1/") for address in await ming.listening())
        nowhere = clave.NetworkOptions(listen=[], mdns=False)
        hong = clave.NodeOptions(directory=str(tmp_path / "小红"), network=nowhere, host=clave.Host(names=names))
        hong = await clave.Node.create(hong, "小红", "手机")
        his = await ming.create_space("编辑部")
        hers = await hong.join(await his.invite(timedelta(hours=1)), timedelta(minutes=1))

        # While she is away he moves to another port, and he cannot reach her: only a name leads to him.
        await hong.pause()
        await ming.shutdown()
        ming = await clave.Node.open(where)
        his = await ming.space(his.id())
        port = (await ming.listening())[0].rsplit("/", 1)[1]
        await hong.resume()
        for name in ["nowhere.invalid", "xiaoming.invalid"]:
            await hong.peer_found(ming.profile().device, [f"/dns4/{name}/tcp/{port}"])

        async with contextlib.aclosing(clave.typists(his.timeline())) as writing:
            assert await anext(writing) == []
            await hers.timeline().set_typing(True)
            there = await anext(writing)
            assert [present.name for present in there] == ["小红"] and 0 <= there[0].colour < 12
            await hers.timeline().send("四月见")
            assert await anext(writing) == []
        assert "xiaoming.invalid" in names.asked

        note = await his.everybody().create_note("计划")
        await note.append_markdown("春天的计划")
        async with contextlib.aclosing(clave.present(note)) as present:
            assert await anext(present) == []
            async with contextlib.aclosing(clave.changes(hong)) as changes:
                while note.id() not in [known.id for known in await hers.everybody().notes()]:
                    await anext(changes)
            same = await hers.everybody().note(note.id())
            await same.set_selection(clave.Selected(anchor=0, focus=0))
            assert (await anext(present))[0].selection == clave.Selected(anchor=0, focus=0)
            await same.leave()
            assert await anext(present) == []
        await hong.shutdown()
        await ming.shutdown()

    run(scenario())


LOGGING = """
import asyncio, sys, threading
import clave

class Sink(clave.LogSink):
    def __init__(self):
        self.lines, self.arrived = [], threading.Event()

    def log(self, level, target, message):
        self.lines.append((level, target, message))
        self.arrived.set()
        raise RuntimeError("whatever an app throws")

async def main(directory):
    sink = Sink()
    clave.set_log_sink(sink, clave.LogLevel.WARN)
    try:
        clave.set_log_sink(sink, clave.LogLevel.WARN)
    except clave.ClaveError.Argument as error:
        assert error.detail.code == "argument.log_sink"
    else:
        raise AssertionError("there are two")
    # Nobody can listen there.
    network = clave.NetworkOptions(listen=["/ip4/192.0.2.1/tcp/1"], mdns=False)
    node = await clave.Node.create(clave.NodeOptions(directory=directory, network=network), "小红", "手机")
    assert await asyncio.to_thread(sink.arrived.wait, 60)
    level, target, message = sink.lines[0]
    assert level == clave.LogLevel.WARN and target.startswith("clave") and "192.0.2.1" in message, sink.lines
    await node.shutdown()

asyncio.run(main(sys.argv[1]))
"""


def test_what_is_logged_reaches_the_app(tmp_path):
    program = pathlib.Path(tmp_path / "logging_app.py")
    program.write_text(LOGGING, encoding="utf-8")
    subprocess.run([sys.executable, program, str(tmp_path / "小红")], check=True, timeout=SAFETY)
