"""Real servers, for what nginx only plays: those that tests/servers can start."""

import contextlib
import dataclasses
import json
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[3]
NAMES = ("moto", "garage")
# What the script of a server runs: tells its environment, and lasts until its input ends.
LASTS = "import json, os, sys; print(json.dumps(dict(os.environ)), flush=True); sys.stdin.read()"


@dataclasses.dataclass(frozen=True)
class Service:
    endpoint: str
    bucket: str
    access_key_id: str
    secret_access_key: str
    region: str


@contextlib.contextmanager
def running(name):
    started = subprocess.Popen(
        [ROOT / "tests" / "servers" / name, sys.executable, "-c", LASTS],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        line = started.stdout.readline()
        if not line:
            raise RuntimeError(f"tests/servers/{name} did not start it")
        told = json.loads(line)
        yield Service(
            told["S3FLOW_TEST_ENDPOINT"],
            told["S3FLOW_TEST_BUCKET"],
            told["AWS_ACCESS_KEY_ID"],
            told["AWS_SECRET_ACCESS_KEY"],
            told["AWS_REGION"],
        )
    finally:
        started.stdin.close()
        started.wait()
