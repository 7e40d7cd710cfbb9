"""Draws a P x Q network from its configuration: ``python docs/figures/network_figure.py OUT.svg``."""

import sys
from itertools import pairwise
from pathlib import Path

from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, Rectangle
from matplotlib.patheffects import withStroke

from morpheus_lite.core.classes import CLASSES
from morpheus_lite.models.network_config import HAUSEN2020, OnePassConfig, UNetConfig

BLOCK = "#4477aa"
SKIP = "#999999"
POOL = "#cc6677"
GROW = "#228833"


def draw(path: Path, config: UNetConfig | OnePassConfig = HAUSEN2020) -> None:
    """Write the figure: one box per block, height by the size of its maps, P and Q written in it."""
    figure = Figure(figsize=(10.5, 5.4))
    ax = figure.add_axes((0, 0, 1, 1))
    ax.set_axis_off()
    places = stages(config)
    for x, level, (p, q), title in places:
        box(ax, x, level, p, q, size_of(config, level), title)
    depth = len(config.down)
    for first, second in pairwise(places):
        colour = POOL if second[1] > first[1] else GROW
        arrow(ax, (first[0] + 0.45, -first[1]), (second[0] - 0.45, -second[1]), colour)
    for level in range(depth):
        left, right = places[level], places[2 * depth - level]
        arrow(ax, (left[0] + 0.45, -level + 0.12), (right[0] - 0.45, -level + 0.12), SKIP, dashed=True)
    last = places[-1][0]
    arrow(ax, (-1.25, 0), (-0.45, 0), "black")
    before, after, growth = ends(config)
    ax.text(-1.3, 0, before, ha="right", va="center", fontsize=9)
    arrow(ax, (last + 0.45, 0), (last + 1.25, 0), "black")
    ax.text(last + 1.3, 0, after, ha="left", va="center", fontsize=9)
    legend(ax, depth, growth)
    ax.set_xlim(-2.6, last + 2.6)
    ax.set_ylim(-depth - 1.8, 0.75)
    figure.savefig(path, metadata={"Date": None})


def size_of(config: UNetConfig | OnePassConfig, level: int) -> str:
    """Size of the maps at a level: pixels of a window, or pixels of the image per position."""
    if isinstance(config, UNetConfig):
        return f"{config.window >> level} x {config.window >> level}"
    return f"1 per {config.cell << level} x {config.cell << level} px"


def ends(config: UNetConfig | OnePassConfig) -> tuple[str, str, str]:
    """What goes in, what comes out, and how maps grow on the way up."""
    if isinstance(config, UNetConfig):
        size = f"{config.window} x {config.window}"
        return (
            f"{size}\n{config.n_bands} bands",
            f"3 x 3 conv\n{config.n_classes} classes\nsoftmax",
            "bicubic, corners aligned",
        )
    cells = f"cells of {config.cell} x {config.cell} px"
    planes = f"{len(config.bands)} bands\n{len(config.stretches)} stretches\nand validity\n{cells}"
    return planes, f"3 x 3 conv\n{len(CLASSES)} classes\n{cells}\ncalibration\nsoftmax", "nearest"


def stages(config: UNetConfig | OnePassConfig) -> list[tuple[float, int, tuple[int, int], str]]:
    """Place, level, (P, Q) and name of every block from left to right."""
    depth = len(config.down)
    down = [(level, level, stage, f"down {level}") for level, stage in enumerate(config.down)]
    middle = [(depth, depth, config.intermediate, "intermediate")]
    up = [(depth + 1 + i, depth - 1 - i, stage, f"up {i}") for i, stage in enumerate(config.up)]
    return [(float(x), level, stage, title) for x, level, stage, title in (*down, *middle, *up)]


def box(ax, x: float, level: int, p: int, q: int, size: str, title: str) -> None:
    """One block: P block operations as P bars."""
    y = -level
    for i in range(p):
        left = x - 0.42 + 0.84 * i / p
        ax.add_patch(Rectangle((left, y - 0.27), 0.84 / p - 0.03, 0.54, facecolor=BLOCK, alpha=0.85, edgecolor="none"))
    outline = [withStroke(linewidth=4, foreground=BLOCK)]  # keeps the gaps between bars out of the letters
    ax.text(
        x, y, f"{p} x {q}", ha="center", va="center", color="white", fontsize=11, weight="bold", path_effects=outline
    )
    ax.text(x, y + 0.32, title, ha="center", va="bottom", fontsize=8.5)
    ax.text(
        x, y - 0.32, f"{size} x {q}" if size[-1].isdigit() else size, ha="center", va="top", fontsize=8, color="#444444"
    )


def arrow(ax, start: tuple[float, float], end: tuple[float, float], colour: str, *, dashed: bool = False) -> None:
    """An arrow from one point to another."""
    style = "--" if dashed else "-"
    ax.add_patch(
        FancyArrowPatch(start, end, arrowstyle="-|>", mutation_scale=11, color=colour, lw=1.4, linestyle=style)
    )


def legend(ax, depth: int, growth: str) -> None:
    """Draw the legend: a bar and the colours of the arrows."""
    lines = (
        (BLOCK, "P x Q: P block operations (batch normalisation, 3 x 3 convolution, ReLU) with Q filters"),
        (POOL, "2 x 2 max pooling"),
        (GROW, f"upsampling x 2 ({growth})"),
        (SKIP, "skip connection (concatenation)"),
    )
    for i, (colour, text) in enumerate(lines):
        y = -depth - 0.85 - 0.24 * i
        ax.add_patch(Rectangle((-2.4, y - 0.05), 0.22, 0.1, facecolor=colour, edgecolor="none"))
        ax.text(-2.1, y, text, va="center", fontsize=8.5)


if __name__ == "__main__":
    draw(Path(sys.argv[1]))
