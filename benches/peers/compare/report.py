"""What was measured, as a line, as JSON, as tables in markdown, and as a picture."""

import datetime
import json
import statistics

from . import chart, rows, versions
from .peers import PEERS

MIB = 1 << 20
# Whose ratios are told, and who is no peer: another way to use it, and the floor.
OURS = "s3flow"
NO_PEERS = (OURS, "s3flow-stream", "s3flow-unsigned", "curl")


# Rows that have a first object.
BATCHES = {row.name for row in rows.ROWS if row.op in ("get", "ranges") and row.data != "large"}


def middle(runs, name):
    return statistics.median(run[name] for run in runs)


def spread(runs, name, digits=2):
    """The median, and from least to most."""
    values = sorted(run[name] for run in runs)
    return f"{statistics.median(values):.{digits}f} ({values[0]:.{digits}f}–{values[-1]:.{digits}f})"


def line(runs):
    return (
        f"wall {spread(runs, 'wall')} s, CPU {spread(runs, 'cpu')} s, "
        f"RSS {middle(runs, 'rss') / MIB:.1f} MiB, {requests(runs)} requests, {len(runs)} runs"
    )


def requests(runs, _=None):
    return "–" if runs[0]["requests"] is None else f"{middle(runs, 'requests'):.0f}"


class Results:
    """Those of earlier runs of other rows stay."""

    def __init__(self, directory, quick):
        self.directory = directory
        directory.mkdir(parents=True, exist_ok=True)
        self.path = directory / "results.json"
        self.all = {"rows": {}}
        if self.path.exists():
            self.all = json.loads(self.path.read_text())
        self.all |= {"machine": versions.machine(), "clients": versions.clients()}
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
        measured = {row.name: self.all["rows"][row.name] for row in chosen if row.name in self.all["rows"]}
        idle = self.all["rows"].get("idle", {"runs": {}})["runs"]
        parts = [f"{self.all['machine']}.\n\n{self.all['clients']}.\n"]
        parts.append(overview(measured, seconds, "wall / CPU time of the client, seconds; medians", ratios))
        working = {name: row for name, row in measured.items() if name != "idle"}
        memory = overview(working, lambda runs, name: above(runs, idle.get(name)), "peak RSS above idle, MiB; medians")
        parts.append(memory)
        parts.append(overview(working, requests, "requests that the server saw"))
        batches = {name: row for name, row in working.items() if name in BATCHES}
        parts.append(overview(batches, first, "time until the first object of the batch was there, ms; medians"))
        threes = {name: row for name, row in working.items() if name == "threes"}
        parts.append(overview(threes, batch, "time of a batch of 3, ms: median, 99 %"))
        for name, row in measured.items():
            quick = " (--quick: of few and small objects)" if row["quick"] else ""
            parts.append(f"### {row['title']}{quick}\n\n`{name}`, {row['date']}\n")
            parts.append(detail(row, {} if name == "idle" else idle))
        return "\n".join(parts)


def overview(measured, cell, title, last=None):
    """A table with all rows and all clients, if there are any."""
    if not measured:
        return ""
    names = [peer.name for peer in PEERS if any(peer.name in row["runs"] for row in measured.values())]
    head = ["row", *names] + ([f"{OURS} to the best peer; to curl"] if last else [])
    lines = [f"{title}:\n", table_line(head), table_line(["---"] * len(head))]
    for row in measured.values():
        cells = [cell(row["runs"][name], name) if name in row["runs"] else "–" for name in names]
        lines.append(table_line([row["title"], *cells] + ([last(row["runs"])] if last else [])))
    return "\n".join(lines) + "\n"


def table_line(cells):
    return f"| {' | '.join(cells)} |"


def seconds(runs, _):
    few = f" ({len(runs[0]['batches'])} batches)" if "batches" in runs[0] else ""
    return f"{middle(runs, 'wall'):.2f} / {middle(runs, 'cpu'):.2f}{few}"


def above(runs, idle):
    return f"{(middle(runs, 'rss') - middle(idle, 'rss')) / MIB:.0f}" if idle else "–"


def first(runs, _):
    return f"{middle(runs, 'first') * 1e3:.0f}" if "first" in runs[0] else "–"


def batch(runs, _=None):
    batches = sorted(seconds for run in runs for seconds in run["batches"])
    return f"{statistics.median(batches) * 1e3:.2f}, {batches[len(batches) * 99 // 100] * 1e3:.2f}"


def ratios(runs):
    """Wall and CPU time, ours divided by the least of the peers, each for itself; the same with the floor."""
    peers = [measured for name, measured in runs.items() if name not in NO_PEERS]
    if OURS not in runs:
        return "–"

    def to(others):
        if not others:
            return "–"
        times = (middle(runs[OURS], name) / min(middle(other, name) for other in others) for name in ("wall", "cpu"))
        return " / ".join(f"{time:.2f}" for time in times)

    return f"{to(peers)}; {to([runs['curl']] if 'curl' in runs else [])}"


def extra(runs):
    """What only some rows have: the times until a first item, of a batch."""
    if "first" in runs[0]:
        return f"first item after {middle(runs, 'first') * 1000:.1f} ms"
    return f"{len(runs[0]['batches'])} batches; median, 99 %: {batch(runs)} ms" if "batches" in runs[0] else ""


def detail(row, idle):
    """One row, by wall time, with what the medians are of."""
    head = ["client", "wall, s", "CPU, s", "of it user", "peak RSS, MiB", "above idle", "requests", "runs", ""]
    lines = [table_line(head), table_line(["---"] * len(head))]
    for name, runs in sorted(row["runs"].items(), key=lambda item: middle(item[1], "wall")):
        cells = [
            name,
            spread(runs, "wall", 3),
            spread(runs, "cpu", 3),
            f"{middle(runs, 'user'):.2f}",
            f"{middle(runs, 'rss') / MIB:.1f}",
            above(runs, idle.get(name)),
            requests(runs),
            str(len(runs)),
            extra(runs),
        ]
        lines.append(table_line(cells))
    for name, reason in row["reasons"].items():
        lines.append(table_line([name, *["–"] * 7, reason.splitlines()[-1]]))
    return "\n".join(lines) + "\n"
