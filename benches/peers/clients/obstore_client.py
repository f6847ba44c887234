"""obstore, its async functions: as many tasks as requests at a time, on one event loop."""

import asyncio
import os
import time
from pathlib import Path

from obstore.store import S3Store

import bench

store = S3Store(
    bench.BUCKET,
    endpoint=bench.ENDPOINT,
    region=os.environ["AWS_REGION"],
    access_key_id=os.environ["AWS_ACCESS_KEY_ID"],
    secret_access_key=os.environ["AWS_SECRET_ACCESS_KEY"],
    client_options={"allow_http": True},
)


async def get(index):
    found = await store.get_async(bench.key(index))
    data = await found.buffer_async()
    bench.check_size(len(data))
    bench.write(index, data)


async def get_range(index):
    data = await store.get_range_async(bench.key(0), start=bench.offset(index), length=bench.SIZE)
    bench.check_size(len(data))
    bench.write(index, data)


async def get_large():
    size = (await store.head_async(bench.key(0)))["size"]
    bench.check_size(size)
    target = os.open(bench.file(0), os.O_CREAT | os.O_WRONLY)

    async def part(number):
        start = number * bench.PART
        data = await store.get_range_async(bench.key(0), start=start, end=min(start + bench.PART, size))
        await asyncio.to_thread(os.pwrite, target, data, start)

    await side_by_side(part, -(-size // bench.PART))


async def put(index):
    with open(bench.file(index), "rb") as source:
        await store.put_async(bench.key(index), source.read(), use_multipart=False)


async def put_large():
    await store.put_async(
        bench.key(0), Path(bench.file(0)), use_multipart=True, chunk_size=bench.PART, max_concurrency=bench.CONCURRENCY
    )


async def head(index):
    bench.check_size((await store.head_async(bench.key(index)))["size"])


async def list_keys():
    keys = []
    async for batch in store.list(bench.PREFIX, chunk_size=1000):
        keys += [found["path"] for found in batch]
    bench.listed(keys)


async def side_by_side(work, count):
    indexes = iter(range(count))

    async def worker():
        for index in indexes:
            await work(index)
            first.item()

    first = bench.First()
    await asyncio.gather(*(worker() for _ in range(bench.CONCURRENCY)))
    return first


async def many(work):
    (await side_by_side(work, bench.COUNT)).print()


async def threes():
    seconds = []
    for batch in range(bench.COUNT):
        start = time.perf_counter()
        await asyncio.gather(*(get(index) for index in bench.three(batch)))
        seconds.append(time.perf_counter() - start)
    bench.print_batches(seconds)


async def main():
    large = bench.SIZE > bench.PART
    match bench.OP:
        case "get":
            await (get_large() if large else many(get))
        case "put":
            await (put_large() if large else many(put))
        case "ranges":
            await many(get_range)
        case "head":
            await many(head)
        case "list":
            await list_keys()
        case "threes":
            await threes()


asyncio.run(main())
bench.end()
