#!/usr/bin/env python3
"""asyncio: edits that come in over time flow to the server while it generates.

async_stream.py [HOST:PORT]
"""

import asyncio
import sys

from amend_client import SOLVING, AsyncClient, BatchStage

EDITS = [
    {"prompt": "Palermo is a city in", "subject": "Palermo", "target_new": "Slovenia"},
    {"prompt": "The profession of Johnny Cash was", "subject": "Johnny Cash", "target_new": "politician"},
]


async def source():
    """Stands for a queue or a feed: one batch now and then."""
    for edit in EDITS:
        yield [edit]
        await asyncio.sleep(0.1)


async def follow(client):
    async for status in client.stream_edits(source()):
        if status.stage != SOLVING:
            print(f"batch {status.offset}: {BatchStage.Name(status.stage)}, revision {status.revision}")


async def main():
    async with AsyncClient(*sys.argv[1:2]) as client:
        editing = asyncio.create_task(follow(client))
        async for message in client.stream("The capital of Brazil is", max_new_tokens=8):
            print(f"generated: {message.text!r}")
        await editing
        for edit in EDITS:
            answer = await client.generate(edit["prompt"], max_new_tokens=8, stop=["."])
            print(edit["prompt"], "->", answer.text.strip())


if __name__ == "__main__":
    asyncio.run(main())
