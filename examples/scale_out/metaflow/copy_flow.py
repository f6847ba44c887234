"""Copies a prefix of S3 to another one, with a manifest of all objects: a foreach whose steps are done by a program in Rust.

    python copy_flow.py run --source s3://bucket/source/ --destination s3://bucket/copy/ --job s3://bucket/jobs/copy/

The program is `shard` of this crate, on PATH or named by --program. With `--with kubernetes` or `--with batch` every step runs where
Metaflow says; the image has to have the program, and nothing else of ours.
"""

import json
import subprocess

from metaflow import FlowSpec, Parameter, retry, step


class CopyFlow(FlowSpec):
    source = Parameter("source", help="what is copied, as s3://bucket/dir/", required=True)
    destination = Parameter("destination", help="where to; nothing may be there", required=True)
    job = Parameter("job", help="where plan, outcomes and manifest are, as s3://bucket/dir/", required=True)
    shards = Parameter("shards", help="how many pieces, and tasks", default=16)
    program = Parameter("program", help="the program `shard`", default="shard")

    @step
    def start(self):
        """Plans; a flow that is run again for the same job gets the same plan."""
        places = ["--source", self.source, "--destination", self.destination, "--job", self.job]
        self.tasks = self.shard("plan", *places, "--shards", str(self.shards)).splitlines()
        self.next(self.copy, foreach="tasks")

    # A shard that is done twice changes nothing the second time.
    @retry(times=3)
    @step
    def copy(self):
        self.copied = json.loads(self.shard("copy", given=self.input))
        self.next(self.join)

    @step
    def join(self, inputs):
        """Merges the outcomes, which are in S3, and checks that every object has one line."""
        self.merge_artifacts(inputs, include=["job", "program"])
        self.report = json.loads(self.shard("merge", "--job", self.job))
        self.next(self.end)

    @step
    def end(self):
        print(f"{self.report['objects']} objects of {self.report['bytes']} bytes: {self.report['manifest']}")

    def shard(self, *arguments, given=None):
        """What the program prints; what it has to say otherwise goes to the log of the task."""
        command = [self.program, *arguments]
        return subprocess.run(command, input=given, stdout=subprocess.PIPE, text=True, check=True).stdout


if __name__ == "__main__":
    CopyFlow()
