"""A device in a process of its own: joins by the link that it is told, then posts each line that it is told, and says so."""

import asyncio
import sys
from datetime import timedelta

import clave


async def main(directory):
    options = clave.NodeOptions(directory=directory, network=clave.NetworkOptions(listen=["/ip4/127.0.0.1/tcp/0"], mdns=False))
    node = await clave.Node.create(options, "小波", "Python 2")
    link = await asyncio.to_thread(sys.stdin.readline)
    space = await node.join(link.strip(), timedelta(minutes=1))
    print(await space.name(), flush=True)
    while line := await asyncio.to_thread(sys.stdin.readline):
        await space.timeline().send(line.rstrip("\n"))
        print("sent", flush=True)


asyncio.run(main(sys.argv[1]))
