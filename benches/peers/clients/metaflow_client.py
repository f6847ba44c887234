"""metaflow.S3, with as many workers as METAFLOW_S3_WORKER_COUNT says: `metaflow_client.py 64`."""

import os
import sys

os.environ["METAFLOW_S3_WORKER_COUNT"] = sys.argv[1]
os.environ["METAFLOW_S3_ENDPOINT_URL"] = os.environ["BENCH_ENDPOINT"]
os.environ.setdefault("METAFLOW_USER", "bench")

from metaflow import S3
from metaflow.plugins.datatools.s3 import S3GetObject

import bench

s3 = S3(s3root=f"s3://{bench.BUCKET}/{bench.PREFIX}", tmproot=bench.DIRECTORY)


def arrived(objects, names):
    bench.check_count(len(objects))
    for found, name in zip(objects, names):
        bench.check_size(os.path.getsize(found.path))
        if bench.VERIFY:
            os.rename(found.path, f"{bench.DIRECTORY}/{name}")


names = [bench.name(index) for index in range(bench.COUNT)]
match bench.OP:
    case "get" if bench.COUNT == 1:
        arrived([s3.get(names[0])], names)
    case "get":
        arrived(s3.get_many(names), names)
    case "ranges":
        wanted = [S3GetObject("00000000", bench.offset(index), bench.SIZE) for index in range(bench.COUNT)]
        arrived(s3.get_many(wanted), names)
    case "put":
        bench.check_count(len(s3.put_files([(name, f"{bench.DIRECTORY}/{name}") for name in names])))
    case "head":
        infos = s3.info_many(names)
        bench.check_count(len(infos))
        for info in infos:
            bench.check_size(info.size)
    case "list":
        bench.listed([bench.PREFIX + found.key for found in s3.list_recursive([""])])
    case "threes":
        bench.batches(lambda indexes: s3.get_many([bench.name(index) for index in indexes]))
bench.end()
