"""Bars, as SVG: what each client took on each row, beside the others."""

import html
import statistics

WIDTH, LABEL, BAR, GAP = 760, 190, 13, 26
WALL, CPU = "#4878a8", "#c9803a"


def svg(measured):
    """Wall and CPU time of every row that was measured; each row has its own scale, and a bar that is cut says so."""
    parts, y = [], 10
    for row in measured.values():
        runs = {name: (middle(runs, "wall"), middle(runs, "cpu")) for name, runs in row["runs"].items()}
        if not runs:
            continue
        # The slowest are several times slower than all others, which would be a line beside them.
        scale = 4 * statistics.median(sorted(max(pair) for pair in runs.values())[: max(1, len(runs) // 2)])
        parts.append(f'<text x="0" y="{y + 12}" font-weight="bold">{html.escape(row["title"])}</text>')
        y += 20
        for name, pair in sorted(runs.items(), key=lambda item: item[1]):
            parts.append(f'<text x="8" y="{y + BAR}">{html.escape(name)}</text>')
            for seconds, colour, offset in ((pair[0], WALL, 0), (pair[1], CPU, BAR / 2)):
                length = min(seconds / scale, 1) * (WIDTH - LABEL - 130)
                place = f'x="{LABEL}" y="{y + 2 + offset}" width="{length:.1f}" height="{BAR / 2 - 1}"'
                parts.append(f'<rect {place} fill="{colour}"/>')
            cut = " (cut)" if max(pair) > scale else ""
            end = LABEL + min(max(pair) / scale, 1) * (WIDTH - LABEL - 130) + 6
            parts.append(f'<text x="{end:.1f}" y="{y + BAR}">{pair[0]:.2f} / {pair[1]:.2f}{cut}</text>')
            y += BAR + 5
        y += GAP - 10
    words = f'<tspan fill="{WALL}">wall</tspan> / <tspan fill="{CPU}">CPU of the client</tspan>'
    key = f'<text x="0" y="{y + 12}">seconds: {words}; medians</text>'
    font = 'font-family="sans-serif" font-size="12"'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{y + 24}" {font}>'
        f'<rect width="100%" height="100%" fill="white"/>{"".join(parts)}{key}</svg>\n'
    )


def middle(runs, name):
    return statistics.median(run[name] for run in runs)
