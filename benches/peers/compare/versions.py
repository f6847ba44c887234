"""Of what there is on this machine, and of what is compared."""

import os
import platform
import re
import subprocess
import tomllib

from .install import CLIENTS

CRATES = ("s3flow", "object_store", "opendal", "aws-sdk-s3", "aws-sdk-s3-transfer-manager")


def said(*command):
    try:
        run = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    except OSError:
        return "missing"
    number = re.search(r"\d+(\.\d+)+", run.stdout)
    return number.group() if number else "unknown"


def machine():
    with open("/proc/cpuinfo") as file:
        model = next((line.partition(":")[2].strip() for line in file if line.startswith("model name")), "unknown")
    return (
        f"{len(os.sched_getaffinity(0))} cores ({model}) shared by client and server, Linux {platform.release()}, "
        f"tmpfs, nginx {said('nginx', '-v')}, rustc {said('rustc', '--version')}, Python {platform.python_version()}"
    )


def clients():
    """Those that lock files fix, and curl's, which is the system's."""
    locked = tomllib.loads((CLIENTS / "Cargo.lock").read_text())["package"]
    crates = {package["name"]: package["version"] for package in locked}
    pinned = re.findall(r"^([\w-]+)==(\S+)$", (CLIENTS / "requirements.txt").read_text(), re.MULTILINE)
    known = [("curl", said("curl", "--version")), *((name, crates[name]) for name in CRATES), *pinned]
    return ", ".join(f"{name} {version}" for name, version in known)
