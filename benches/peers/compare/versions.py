"""Of what there is on this machine."""

import os
import platform
import re
import subprocess


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
        f"{len(os.sched_getaffinity(0))} cores ({model}) shared by client and server, Linux {platform.release()}, tmpfs, "
        f"nginx {said('nginx', '-v')}, curl {said('curl', '--version')}, rustc {said('rustc', '--version')}, "
        f"Python {platform.python_version()}"
    )
