"""Two people who are never online together, and a real relay (clave-relay) that keeps for each what the other says."""

import os
from contextlib import aclosing
from datetime import timedelta

import clave
import pytest
from conftest import Other, network, run

HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)
LISTENING = "listening on "


@pytest.fixture
def relay(tmp_path):
    """Starts relays on loopback, with a part of their configuration; gives their addresses."""
    started = []

    async def start(access=""):
        config = tmp_path / f"relay{len(started)}.toml"
        config.write_text(
            f'listen = ["/ip4/127.0.0.1/tcp/0"]\ndata = "{config}.data"\n{access}\n'
            '[metrics]\nlisten = "127.0.0.1:0"\n[log]\nlevel = "error"\n'
        )
        started.append(Other(os.environ["CLAVE_RELAY"], "run", "--config", str(config)))
        while not (line := await started[-1].line()).startswith(LISTENING):
            pass
        return line.removeprefix(LISTENING)

    yield start
    for other in started:
        other.process.kill()
        other.process.wait()


async def reached(timeline, message, enough):
    """The state of the message as soon as it is so far."""
    async with aclosing(clave.messages(timeline, 10_000)) as lists:
        async for shown in lists:
            for one in shown:
                if one.id == message and enough(one.state):
                    return one.state


def options(directory):
    return clave.NodeOptions(directory=str(directory), network=network())


def test_who_is_never_online_together_talks_over_a_relay(tmp_path, relay):
    async def scenario():
        alice = await clave.Node.create(options(tmp_path / "alice"), "Джейн", "Python 1")
        bob = await clave.Node.create(options(tmp_path / "bob"), "小波", "Python 2")
        space = await alice.create_space("团队 🥁")
        await space.set_relays([await relay()])
        link = await space.invite(HOUR)
        assert await (await bob.join(link, MINUTE)).name() == "团队 🥁"
        await bob.shutdown()

        said = await space.timeline().send("你不在的时候")
        await reached(space.timeline(), said, lambda state: state.is_RELAYED())
        await alice.pause()

        bob = await clave.Node.open(options(tmp_path / "bob"))
        [his] = await bob.spaces()
        async with aclosing(clave.messages(his.timeline(), 10)) as lists:
            async for shown in lists:
                if "你不在的时候" in [message.body for message in shown]:
                    break
        answer = await his.timeline().send("我也在")
        await reached(his.timeline(), answer, lambda state: state.is_RELAYED())
        await bob.shutdown()

        caught_up = await alice.catch_up(MINUTE)
        assert caught_up.completed and caught_up.relays == 1, caught_up
        assert "我也在" in [message.body for message in await space.timeline().history(10)]
        await alice.shutdown()

    run(scenario())


def test_a_relay_that_is_for_some_only_is_shown_its_token(tmp_path, relay):
    async def scenario():
        address = await relay('[access]\nmode = "token"\ntokens = ["open sesame 芝麻开门"]')
        node = await clave.Node.create(options(tmp_path / "node"), "Джейн", "Python")
        space = await node.create_space("团队 🥁")
        await space.set_relays([address])
        said = await space.timeline().send("hört jemand?")
        failed = await reached(space.timeline(), said, lambda state: state.is_FAILED())
        assert "token" in failed.error and not failed.retryable
        with pytest.raises(clave.ClaveError.Argument) as refused:
            await node.set_relay_token(address, " ")
        assert refused.value.code() == "argument.token"
        await node.set_relay_token(address, "open sesame 芝麻开门")
        await reached(space.timeline(), said, lambda state: state.is_RELAYED())
        await node.shutdown()

    run(scenario())
