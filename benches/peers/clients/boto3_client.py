"""boto3: a pool of threads over one client; large objects by its transfer manager."""

from concurrent.futures import ThreadPoolExecutor, as_completed

import boto3
from boto3.s3.transfer import TransferConfig
from botocore.config import Config

import bench

client = boto3.client(
    "s3",
    endpoint_url=bench.ENDPOINT,
    config=Config(max_pool_connections=bench.CONCURRENCY, s3={"addressing_style": "path"}),
)
transfer = TransferConfig(
    multipart_threshold=bench.PART, multipart_chunksize=bench.PART, max_concurrency=bench.CONCURRENCY
)


def get(index):
    body = client.get_object(Bucket=bench.BUCKET, Key=bench.key(index))["Body"]
    data = body.read()
    bench.check_size(len(data))
    bench.write(index, data)


def get_large(index):
    client.download_file(bench.BUCKET, bench.key(index), bench.file(index), Config=transfer)


def get_range(index):
    start = bench.offset(index)
    wanted = f"bytes={start}-{start + bench.SIZE - 1}"
    data = client.get_object(Bucket=bench.BUCKET, Key=bench.key(0), Range=wanted)["Body"].read()
    bench.check_size(len(data))
    bench.write(index, data)


def put(index):
    with open(bench.file(index), "rb") as source:
        client.put_object(Bucket=bench.BUCKET, Key=bench.key(index), Body=source.read())


def put_large(index):
    client.upload_file(bench.file(index), bench.BUCKET, bench.key(index), Config=transfer)


def head(index):
    bench.check_size(client.head_object(Bucket=bench.BUCKET, Key=bench.key(index))["ContentLength"])


def list_keys():
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=bench.BUCKET, Prefix=bench.PREFIX)
    bench.listed([entry["Key"] for page in pages for entry in page["Contents"]])


def many(work):
    first = bench.First()
    with ThreadPoolExecutor(bench.CONCURRENCY) as pool:
        for done in as_completed([pool.submit(work, index) for index in range(bench.COUNT)]):
            done.result()
            first.item()
    first.print()


def threes():
    with ThreadPoolExecutor(3) as pool:
        bench.batches(lambda indexes: list(pool.map(get, indexes)))


large = bench.SIZE > bench.PART
match bench.OP:
    case "get":
        get_large(0) if large else many(get)
    case "put":
        put_large(0) if large else many(put)
    case "ranges":
        many(get_range)
    case "head":
        many(head)
    case "list":
        list_keys()
    case "threes":
        threes()
bench.end()
