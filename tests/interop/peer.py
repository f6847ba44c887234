"""Metaflow's S3 client and boto3, called by JSON lines: a request on each line of standard input, its answer on a line of
standard output.

    {"call": METHOD, "s3": {ARGUMENT: ...}, "args": {ARGUMENT: ...}}     a method of metaflow.S3(**s3), used with `with`
    {"boto": METHOD, "args": {ARGUMENT: ...}}                            a method of boto3's S3 client: a witness

    {"ok": VALUE}  or  {"error": CLASS, "text": MESSAGE}

Values that JSON has not are maps with one name: {"$bytes": BASE64}, {"$reader": BASE64} (a BytesIO), {"$file": PATH} (opened
for reading), {"$tuple": [...]}, {"$get": {...}} (an S3GetObject), {"$put": {...}} (an S3PutObject), {"$run": "Flow/ID"} (what
S3(run=...) needs of a Run), {"$float": "nan"}. An S3Object is a map of its properties. Of more than 64 KiB of bytes the answer
is {"$md5": HEX, "length": COUNT}.
"""

import base64
import datetime
import hashlib
import io
import json
import os
import sys


class Run:
    """As much of a metaflow.Run as S3(run=...) looks at, without a metadata service."""

    class Flow:
        def __init__(self, name):
            self.id = name

    def __init__(self, pathspec):
        flow, self.id = pathspec.split("/")
        self.parent = self.Flow(flow)


PROPERTIES = [
    "exists",
    "downloaded",
    "url",
    "prefix",
    "key",
    "path",
    "blob",
    "text",
    "size",
    "has_info",
    "metadata",
    "content_type",
    "encryption",
    "range_info",
    "last_modified",
]


# Bytes.
MANY = 65_536


def decode(value):
    if isinstance(value, list):
        return [decode(item) for item in value]
    if not isinstance(value, dict):
        return value
    if len(value) == 1:
        [(kind, inner)] = value.items()
        if kind == "$bytes":
            return base64.b64decode(inner)
        if kind == "$reader":
            return io.BytesIO(base64.b64decode(inner))
        if kind == "$file":
            return open(inner, "rb")
        if kind == "$tuple":
            return tuple(decode(item) for item in inner)
        if kind == "$float":
            return float(inner)
        if kind == "$run":
            return Run(inner)
        if kind in ("$get", "$put"):
            made = S3GetObject if kind == "$get" else S3PutObject
            return made(**{name: decode(item) for name, item in inner.items()})
    return {name: decode(item) for name, item in value.items()}


def encode(value):
    if isinstance(value, S3Object):
        # The text of many bytes says no more than their digest.
        names = [name for name in PROPERTIES if name != "text" or (value.size or 0) <= MANY]
        return {name: encode(getattr(value, name)) for name in names}
    if isinstance(value, RangeInfo):
        return dict(value._asdict())
    if isinstance(value, bytes) and len(value) > MANY:
        return {"$md5": hashlib.md5(value).hexdigest(), "length": len(value)}
    if isinstance(value, bytes):
        return {"$bytes": base64.b64encode(value).decode()}
    if isinstance(value, datetime.datetime):
        return value.isoformat()
    if isinstance(value, dict):
        return {name: encode(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [encode(item) for item in value]
    if hasattr(value, "read"):
        return encode(value.read())
    return value


def answer(request):
    arguments = decode(request.get("args", {}))
    if "boto" in request:
        return encode(getattr(witness(), request["boto"])(**arguments))
    # Made once: boto3 takes longer to make a client than to ask one.
    with S3(**decode(request.get("s3", {})), external_client=SHARED) as s3:
        # An object's file goes with the scope.
        return encode(getattr(s3, request["call"])(**arguments))


def witness():
    global CLIENT
    if CLIENT is None:
        CLIENT = boto3.client("s3", endpoint_url=os.environ["S3FLOW_TEST_ENDPOINT"])
    return CLIENT


def main():
    # What Metaflow prints is no answer.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for line in sys.stdin:
        try:
            result = {"ok": answer(json.loads(line))}
        except Exception as error:
            result = {"error": type(error).__name__, "text": str(error)}
        answers.write(json.dumps(result) + "\n")
        answers.flush()


if __name__ == "__main__":
    import boto3
    from metaflow import S3
    from metaflow.plugins.datatools.s3.s3 import RangeInfo, S3Client, S3GetObject, S3Object, S3PutObject

    CLIENT = None
    SHARED = S3Client()
    main()
