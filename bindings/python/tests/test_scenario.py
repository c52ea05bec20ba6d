"""Three processes work together: this one, another Python process and a Rust process."""

import asyncio
import hashlib
import random
from contextlib import aclosing
from datetime import timedelta

import clave
import pytest
from conftest import network, run

MINUTE = timedelta(minutes=1)


async def shown(space, enough, count=10_000):
    async with aclosing(clave.messages(space.timeline(), count)) as lists:
        async for messages in lists:
            if enough([message.body for message in messages]):
                return messages


async def opened(directory, name):
    return await clave.Node.create(clave.NodeOptions(directory=str(directory), network=network()), name, "Python")


def test_three_processes_work_together(tmp_path, rust, peer):
    run(scenario(tmp_path, rust, peer))


async def scenario(tmp_path, rust, peer):
    node = await opened(tmp_path / "node", "Джейн")
    space = await node.join((await rust.line()).removeprefix("link "), MINUTE)
    circle = space.everybody()
    assert await peer.ask(await space.invite(timedelta(hours=1))) == "团队 🥁"

    # Chat, with steps.
    batches = []
    sent = await space.timeline().send("eins")
    async with aclosing(clave.updates(space.timeline())) as updates:
        messages = []
        assert await peer.ask("二 🎉") == "sent"
        async for batch in updates:
            batches += batch
            clave.apply(messages, batch)
            if {"echo: eins", "echo: 二 🎉"} <= {message.body for message in messages}:
                break
    assert batches[0].is_RESET() and sum(step.is_RESET() for step in batches) == 1
    assert sent in [message.id for message in messages]
    await circle.mark_read()
    assert (await circle.preview()).unread == 0
    async with aclosing(clave.inboxes(node)) as inboxes:
        assert [item.circle.name for item in await anext(inboxes)] == ["团队 🥁"]

    await notes_and_files(tmp_path, node, circle)
    await calendar_and_search(space, circle)
    await pausing(node, space, peer)

    # Killed while it writes: what it said was durable reaches everybody, from its own directory too.
    acknowledged = [f"before the end {number}" for number in range(10)]
    for body in acknowledged:
        assert await peer.ask(body) == "sent"
    peer.process.kill()
    peer.process.wait()
    again = await clave.Node.open(clave.NodeOptions(directory=str(tmp_path / "peer"), network=network()))
    its = (await again.spaces())[0]
    await shown(its, lambda bodies: set(acknowledged) <= set(bodies))
    await its.timeline().send("back again")
    await shown(space, lambda bodies: {*acknowledged, "back again"} <= set(bodies))
    await again.shutdown()
    await node.shutdown()


async def notes_and_files(tmp_path, node, circle):
    other = await opened(tmp_path / "other", "Third")
    theirs = (await other.join(await circle.invite(timedelta(hours=1)), MINUTE)).everybody()
    note = await circle.create_note("会议")
    mine = await note.edit((await note.snapshot()).version, [clave.Splice(position=0, delete=0, insert="你好世界")])
    cursors = await note.cursors([2])
    info = await clave.until(other, lambda: first(theirs.notes()))
    there = await theirs.note(info.id)
    async with aclosing(clave.snapshots(there)) as snapshots:
        async for seen in snapshots:
            if seen.text == "你好世界":
                break
    await there.edit(seen.version, [clave.Splice(position=4, delete=0, insert="！")])
    await note.edit(mine, [clave.Splice(position=0, delete=0, insert="大家，")])
    for one in (note, there):
        async with aclosing(clave.snapshots(one)) as snapshots:
            async for seen in snapshots:
                if seen.text == "大家，你好世界！":
                    break
    assert await note.positions(cursors) == [5]

    content = random.Random(7).randbytes(8 << 20)
    source, copy = tmp_path / "source", tmp_path / "copy"
    source.write_bytes(content)
    adding = circle.drive().add(str(source), "计划.bin")
    far = [step async for step in clave.steps(adding)]
    [file] = await adding.finished()
    assert far[-1] == clave.Progress(done_bytes=len(content), total_bytes=len(content))
    await clave.until(other, lambda: first(theirs.drive().entries()))
    given = theirs.drive().get(file, str(copy))
    async for step in clave.steps(given):
        if step.total_bytes:
            given.cancel()
    with pytest.raises(clave.ClaveError.Cancelled):
        await given.finished()
    assert not copy.exists()
    await theirs.drive().get(file, str(copy)).finished()
    assert hashlib.sha256(copy.read_bytes()).digest() == hashlib.sha256(content).digest()
    await other.shutdown()


async def first(listing):
    return next(iter(await listing), None)


async def calendar_and_search(space, circle):
    calendar = circle.calendar()
    patch = clave.EventPatch(summary="周会", location="三楼")
    await calendar.add("uid-1@clave.test", "1970-06-01T09:00[Asia/Shanghai]", patch)
    [meeting] = (await calendar.agenda(0, 400 * 86_400_000, "Asia/Shanghai")).occurrences
    assert (meeting.summary, meeting.location, meeting.start_ms) == ("周会", "三楼", 13_050_000_000)
    assert "SUMMARY:周会" in await calendar.export_ics()
    with pytest.raises(clave.ClaveError.Argument) as refused:
        await calendar.add("u", "soon", clave.EventPatch())
    assert (refused.value.code(), refused.value.is_retryable()) == ("argument.invalid", False)
    found = (await space.search(clave.Search(text="你好世界"))).found
    assert {item.kind for item in found} == {clave.DocumentKind.NOTE}


async def pausing(node, space, peer):
    async def traffic():
        for number in range(40):
            assert await peer.ask(f"traffic {number}") == "sent"

    posting = asyncio.ensure_future(traffic())
    for number in range(4):
        await node.pause()
        with pytest.raises(clave.ClaveError.Paused) as paused:
            await space.timeline().send("no")
        assert paused.value.is_retryable()
        await node.resume()
        await space.timeline().send(f"between {number}")
    await node.pause()
    await posting
    caught_up = await node.catch_up(MINUTE)
    assert caught_up.completed and caught_up.reached >= 2, caught_up
    bodies = {message.body for message in await space.timeline().history(10_000)}
    assert {f"traffic {number}" for number in range(40)} <= bodies


def test_a_device_is_linked_and_revoked(tmp_path):
    async def devices():
        node = await opened(tmp_path / "one", "Джейн")
        await node.listening()
        space = await node.create_space("Team")
        code = await node.link_device(timedelta(hours=1), False)
        options = clave.NodeOptions(directory=str(tmp_path / "two"), network=network())
        second = await clave.Node.link(options, "tablet", code.text, MINUTE)
        device = second.profile().device
        await node.revoke_device(device)
        assert device not in [known.device for known in await node.devices()]

        async def is_out():
            [item] = await second.inbox()
            return item.circle.removed or None

        assert await clave.until(second, is_out)
        assert any("revoked" in record.sentence for record in await space.everybody().audit())
        await second.shutdown()
        await node.shutdown()

    run(devices())


def test_listeners_that_fail_and_calls_that_are_cancelled(tmp_path):
    class Fails(clave.TimelineListener):
        def on_update(self, diffs):
            raise ValueError("a bug in the app")

    async def alone():
        node = await clave.Node.create(clave.NodeOptions(directory=str(tmp_path)), "Ada", "Python")
        timeline = (await node.create_space("Team")).timeline()
        with pytest.raises(clave.ClaveError.Argument) as end:
            await timeline.observe(10, Fails()).finished()
        assert end.value.code() == "argument.listener" and "a bug in the app" in end.value.reason()
        for _ in range(50):
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(node.listening(), 0.001)
        await timeline.send("still works")
        assert (await node.status()).addresses == []
        assert clave.build_info().version == clave.version()
        await node.shutdown()
        with pytest.raises(clave.ClaveError.Stopped):
            await node.spaces()

    run(alone())
