"""What a person does seldom, and what is looked at rather than used: relays, keys, exports, many files at once."""

from datetime import timedelta

import clave
import pytest
from conftest import network, run

RELAY = "/ip4/127.0.0.1/tcp/9/p2p/12D3KooWHK6Rm6RYZzSYq8KkGSHb8e3xtnJxVCQNwq4gFm1JxNuv"


def test_what_is_done_seldom(tmp_path):
    run(seldom(tmp_path))


async def seldom(tmp_path):
    node = await clave.Node.create(clave.NodeOptions(directory=str(tmp_path / "node"), network=network()), "小波", "laptop")
    space = await node.create_space_of("团队", clave.Suite.X_WING)
    circle = space.everybody()
    assert (await circle.status()).suite == clave.Suite.X_WING

    with pytest.raises(clave.ClaveError.Argument) as refused:
        await space.set_relays(["/ip4/127.0.0.1/tcp/9"])
    assert refused.value.code() == "argument.relay"
    await space.set_relays([RELAY])
    [relay] = await space.relays()
    assert (relay.number, relay.address, relay.connected) == (1, RELAY, False)
    await space.timeline().send("你好")
    assert await circle.waiting_for_relays() > 0
    await space.set_relays([])
    assert await space.relays() == []

    assert await node.pending_joins() == []
    assert await circle.departure() is None
    await circle.set_history(clave.History.RATCHETED(seconds=86_400))
    assert (await circle.policies())["history"] == "ratcheted:86400"
    audit = await circle.audit()
    assert audit[0].person == node.profile().person and audit[-1].previous == audit[-2].hash
    keys = await circle.key_audit()
    assert keys.missing == 0 and len(keys.hash) == 64

    sources = []
    for name in ("一.txt", "二.txt"):
        (tmp_path / name).write_text(name)
        sources.append(clave.NewFile(source=str(tmp_path / name), name=name))
    drive = circle.drive()
    added = await drive.add_all(sources).finished()
    assert len(added) == 2
    await drive.get_folder(str(tmp_path / "copy")).finished()
    assert sorted(path.name for path in (tmp_path / "copy").iterdir()) == ["一.txt", "二.txt"]
    await drive.get_all([clave.WantedFile(file=added[1], destination=str(tmp_path / "again"))]).finished()
    assert (tmp_path / "again").read_text() == "二.txt"
    assert (await drive.collect()).removed_bytes == 0

    missing = await node.export_open(str(tmp_path / "open"), timedelta(0)).finished()
    assert missing == [] and "你好" in (tmp_path / "open" / "团队" / "chat.txt").read_text()
    await node.shutdown()
