#!/usr/bin/env python3
"""Draws a roofline (SVG) from the JSON of `leadline bench engine`: each stage's operations per byte against its
rate, under the lines that the machine's own probes give (Williams, Waterman and Patterson 2009).

    leadline bench engine --shape 1b --weights int8 --json > run.json
    tests/bench/roofline.py run.json [more.json ...] -o roofline.svg
"""
import argparse
import json
import math
from html import escape

WIDTH, HEIGHT, LEFT, BOTTOM, TOP, RIGHT = 860, 540, 70, 50, 50, 190
COLORS = ("#1b6ca8", "#c8553d", "#3a7d44", "#7b4b94", "#b8860b", "#444444")
CEILINGS = (("fma_gflops", "f32 FMA"), ("matrix_bf16_gflops", "bf16 tiles"), ("matrix_int8_gops", "int8"))


class Axis:
    """A logarithmic axis: value -> pixel."""

    def __init__(self, low, high, first, last):
        self.low, self.high, self.first, self.last = math.log10(low), math.log10(high), first, last

    def __call__(self, value):
        share = (math.log10(value) - self.low) / (self.high - self.low)
        return self.first + share * (self.last - self.first)

    def decades(self):
        return [10.0 ** e for e in range(math.ceil(self.low), math.floor(self.high) + 1)]


def points_of(run):
    """(phase, stage, operations per byte, G operations per second, share of the phase's time)"""
    for stage in run["stages"]:
        if stage.get("operations", 0) > 0 and stage["bytes"] > 0 and stage["seconds"] > 0:
            yield (stage["phase"], stage["stage"], stage["operations"] / stage["bytes"], stage["gflop_s"],
                   stage["share_of_time"])


def text(x, y, words, size=12, anchor="start", color="#222"):
    return (f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}" fill="{color}" '
            f'font-family="sans-serif">{escape(words)}</text>')


def line(x1, y1, x2, y2, color, extra=""):
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{color}" {extra}/>'


def frame(x, y):
    parts = []
    for value in x.decades():
        parts.append(line(x(value), y.first, x(value), y.last, "#ddd"))
        parts.append(text(x(value), HEIGHT - BOTTOM + 18, f"{value:g}", anchor="middle"))
    for value in y.decades():
        parts.append(line(x.first, y(value), x.last, y(value), "#ddd"))
        parts.append(text(LEFT - 6, y(value) + 4, f"{value:g}", anchor="end"))
    parts.append(text((x.first + x.last) / 2, HEIGHT - 10, "operations per byte", anchor="middle"))
    parts.append(text(LEFT - 50, TOP - 12, "G operations/s"))
    return parts


def roofs(run, x, y):
    """The memory's slope up to each ceiling of arithmetic."""
    parts, read = [], run["read_bandwidth_gb_s"]
    left, right = 10 ** x.low, 10 ** x.high
    top = 0
    for key, label in CEILINGS:
        rate = run.get(key, 0)
        if rate <= 0:
            continue
        top = max(top, rate)
        ridge = min(max(rate / read, left), right)
        parts.append(line(x(ridge), y(rate), x.last, y(rate), "#222", 'stroke-width="1.5"'))
        parts.append(text(x.last + 6, y(rate) + 4, f"{label} {rate:.0f}"))
    low = max(left, 10 ** y.low / read)
    ridge = min(top / read, right)
    parts.append(line(x(low), y(low * read), x(ridge), y(ridge * read), "#222", 'stroke-width="1.5"'))
    parts.append(text(x(low * 1.3), y(low * read * 2.4), f"read {read:.1f} GB/s"))
    return parts


def stages(run, color, x, y):
    parts = []
    for phase, stage, intensity, rate, share in points_of(run):
        if share < 0.005:
            continue
        radius = 3 + 10 * math.sqrt(min(share, 1))
        fill = color if phase == "prefill" else "none"
        parts.append(f'<circle cx="{x(intensity):.1f}" cy="{y(rate):.1f}" r="{radius:.1f}" fill="{fill}" '
                     f'fill-opacity="0.6" stroke="{color}" stroke-width="1.5"><title>'
                     f'{escape(f"{phase} {stage}: {rate:.1f} G/s, {share:.0%} of the time")}</title></circle>')
        parts.append(text(x(intensity) + radius + 2, y(rate) + 4, stage, size=10, color=color))
    return parts


def draw(runs):
    rates = [p[3] for run in runs for p in points_of(run)]
    intensities = [p[2] for run in runs for p in points_of(run)]
    ceilings = [run.get(key, 0) for run in runs for key, _ in CEILINGS]
    x = Axis(min(intensities) / 2, max(max(intensities) * 2, 1000), LEFT, WIDTH - RIGHT)
    y = Axis(min(rates) / 2, max(ceilings + rates) * 1.5, HEIGHT - BOTTOM, TOP)
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}">',
             f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>'] + frame(x, y) + roofs(runs[0], x, y)
    for i, run in enumerate(runs):
        color, asked = COLORS[i % len(COLORS)], run["asked"]
        parts += stages(run, color, x, y)
        name = asked["shape"] or asked["model"].rstrip("/").split("/")[-1]
        parts.append(text(WIDTH - RIGHT + 6, HEIGHT - BOTTOM - 40 - 16 * i,
                          f"{name} {asked['weights']}, batch {asked['batch']}", size=11, color=color))
    parts.append(text(WIDTH - RIGHT + 6, HEIGHT - BOTTOM - 20, "filled: prefill, open: decode", size=11))
    parts.append(text(WIDTH - RIGHT + 6, HEIGHT - BOTTOM - 6, "area: share of the time", size=11))
    return "\n".join(parts + ["</svg>", ""])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", help="JSON files; the first one's ceilings are drawn")
    parser.add_argument("-o", "--output", required=True)
    options = parser.parse_args()
    runs = []
    for path in options.runs:
        with open(path, encoding="utf-8") as file:
            runs.append(json.load(file))
    with open(options.output, "w", encoding="utf-8") as file:
        file.write(draw(runs))


if __name__ == "__main__":
    main()
