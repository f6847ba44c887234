"""What was measured, as a line, as JSON, as a table in markdown, and as a picture."""

import datetime
import json
import statistics

from . import chart, rows, versions

MIB = 1 << 20


def middle(runs, name):
    return statistics.median(run[name] for run in runs)


def spread(runs, name, digits=2, scale=1.0):
    """The median, and from least to most."""
    values = sorted(run[name] * scale for run in runs)
    return f"{statistics.median(values):.{digits}f} ({values[0]:.{digits}f}–{values[-1]:.{digits}f})"


def line(runs):
    return (
        f"wall {spread(runs, 'wall')} s, CPU {spread(runs, 'cpu')} s, "
        f"RSS {middle(runs, 'rss') / MIB:.1f} MiB, {middle(runs, 'requests'):.0f} requests, {len(runs)} runs"
    )


class Results:
    """Those of earlier runs of other rows stay."""

    def __init__(self, directory, quick):
        self.directory = directory
        directory.mkdir(parents=True, exist_ok=True)
        self.path = directory / "results.json"
        self.all = {"rows": {}}
        if self.path.exists():
            self.all = json.loads(self.path.read_text())
        self.all["machine"] = versions.machine()
        self.quick = quick

    def add(self, row, runs, reasons):
        self.all["rows"][row.name] = {
            "title": row.title,
            "quick": self.quick,
            "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "runs": runs,
            "reasons": reasons,
        }
        self.path.write_text(json.dumps(self.all, indent=1) + "\n")
        (self.directory / "results.md").write_text(self.markdown(rows.ROWS))
        (self.directory / "results.svg").write_text(chart.svg(self.all["rows"]))

    def markdown(self, chosen):
        known = [(row, self.all["rows"][row.name]) for row in chosen if row.name in self.all["rows"]]
        idle = self.all["rows"].get("idle", {"runs": {}})["runs"]
        parts = [f"{self.all['machine']}.\n"]
        for row, measured in known:
            quick = " (--quick: of few and small objects)" if measured["quick"] else ""
            parts.append(f"### {row.title}{quick}\n\n`{row.name}`, {measured['date']}\n")
            parts.append(table(row, measured, idle))
        return "\n".join(parts)


def extra(runs):
    """What only some rows have: the times until a first item, of a batch."""
    if "first" in runs[0]:
        return f"first item after {middle(runs, 'first') * 1000:.1f} ms"
    if "batches" in runs[0]:
        batches = sorted(seconds for run in runs for seconds in run["batches"])
        return f"a batch: median {statistics.median(batches) * 1e6:.0f} µs, 99 % {batches[len(batches) * 99 // 100] * 1e6:.0f} µs"
    return ""


def table(row, measured, idle):
    lines = [
        "| client | wall, s | CPU, s | of it user | RSS, MiB | above idle | requests | runs | |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    ranked = sorted(measured["runs"].items(), key=lambda item: middle(item[1], "wall"))
    for name, runs in ranked:
        rss = middle(runs, "rss")
        above = f"{(rss - middle(idle[name], 'rss')) / MIB:.1f}" if row.op != "idle" and name in idle else ""
        lines.append(
            f"| {name} | {spread(runs, 'wall', 3)} | {spread(runs, 'cpu', 3)} | {middle(runs, 'user'):.2f} "
            f"| {rss / MIB:.1f} | {above} | {middle(runs, 'requests'):.0f} | {len(runs)} | {extra(runs)} |"
        )
    for name, reason in measured["reasons"].items():
        lines.append(f"| {name} | – | – | – | – | – | – | – | {reason.splitlines()[-1]} |")
    return "\n".join(lines) + "\n"
