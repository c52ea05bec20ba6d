"""A program that mypy has to find no fault with, and whose types are what the wheel promises. It is not run."""

import typing
from contextlib import aclosing
from datetime import timedelta

import clave


async def program(directory: str, link: str) -> None:
    options = clave.NodeOptions(directory=directory, network=clave.NetworkOptions(mdns=False))
    node = await clave.Node.create(options, "小波", "laptop")
    typing.assert_type(node, clave.Node)
    try:
        space = await node.join(link, timedelta(minutes=1))
    except clave.ClaveError as error:
        typing.assert_type(error.code(), str)
        typing.assert_type(error.is_retryable(), bool)
        return
    typing.assert_type(await space.members(), list[clave.Member])
    async with aclosing(clave.messages(space.timeline())) as lists:
        async for messages in lists:
            typing.assert_type(messages, list[clave.Message])
            typing.assert_type(messages[0].author.name, str)
    transfer = space.everybody().drive().add("/x", "x")
    async for step in clave.steps(transfer):
        typing.assert_type(step.done_bytes, int)
    typing.assert_type(await transfer.finished(), list[str])
    typing.assert_type(await space.relays(), list[clave.RelayStatus])
    typing.assert_type(await node.pending_joins(), list[clave.PendingJoin])
    await space.timeline().send(7)  # type: ignore[arg-type]
    await node.shutdown()
