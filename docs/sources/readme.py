"""What README.md shows of the board of real data: its table between `<!-- board: real -->` and `<!-- /board -->`, and its picture.

python docs/sources/readme.py     writes both
"""

from __future__ import annotations

import re
from pathlib import Path

from bench.leaderboard import Board, board_of, plots
from bench.text import table
from choosing import BOARDS, ROOT

PAGE = ROOT / "README.md"
PICTURE = ROOT / "docs" / "pictures" / "ranks-real.svg"
BOARD = BOARDS / "real"
COLUMNS = ("Ranks", "Method", "Mean accuracy", "Gap closed %", "Audit")
MARKED = re.compile(r"(?<=<!-- board: real -->\n).*?(?=<!-- /board -->)", re.DOTALL)
NAMES = {"paper": "published method", "reference": "reference method"}


def page(text: str | None = None, board: Path = BOARD) -> str:
    """README.md, or `text`, with the table of the board in its place. Raises: ValueError if the lines around the table are not there."""
    text = PAGE.read_text(encoding="utf-8") if text is None else text
    if len(MARKED.findall(text)) != 1:
        raise ValueError("README.md needs one table between the lines <!-- board: real --> and <!-- /board -->")
    return MARKED.sub(lambda _: excerpt(board) + "\n", text)


def excerpt(board: Path) -> str:
    """Some columns of the board's table over all settings, as its own page spells them: ranked methods and the floor."""
    overall = (board / "README.md").read_text(encoding="utf-8").partition("## Overall\n\n")[2].partition("\n\n")[0]
    head, _, *rows = ([cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in overall.splitlines())
    places = [head.index(column) for column in COLUMNS]
    body = [[row[place].replace("\\|", "|") for place in places] for row in rows if row[0] != "ceiling"]
    return table(COLUMNS, body, ("Method", "Audit"))


def numbers(board: Board) -> plots.Data:
    """What the picture shows. Raises: ValueError if the board has no ranks over settings."""
    (real,) = (kind for kind in board.overall if not kind.synthetic)
    rows = [(row, row.place) for row in real.rows if row.place is not None]
    if real.across is None or not rows:
        raise ValueError("the board of real data has no ranks over settings")
    return {
        "kind": "intervals",
        "labels": [row.label for row, _ in rows],
        "roles": [row.role for row, _ in rows],
        "ranks": [round(float(row.mean_rank or 0.0), 4) for row, _ in rows],
        "low": [place.low for _, place in rows],
        "high": [place.high for _, place in rows],
        "datasets": len(real.datasets),
        "settings": len(real.distinct),
        "seeds": len({seed for setting in real.settings for seed in setting.seeds}),
        "pairs": real.across.over_settings.size,
    }


def draw(data: plots.Data):
    """A bar a method from the best to the worst rank that it may have, best mean rank on top, and a mark at the mean rank."""
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    labels, roles = data["labels"], data["roles"]
    k = len(labels)
    wide, step, top, bottom = 6.4, 0.29, 0.92, 0.90  # inches; narrow, so that letters are large where the picture is small
    high = top + step * k + bottom
    left = 0.15 + 0.084 * max(map(len, labels))
    figure = Figure(figsize=(wide, high))
    axes = figure.add_axes((left / wide, bottom / high, (wide - left - 0.2) / wide, step * k / high))
    for i, (role, rank, best, worst) in enumerate(zip(roles, data["ranks"], data["low"], data["high"], strict=True)):
        colour, marker = plots.ROLE_STYLE[role]
        axes.plot([best, worst], [i, i], color=colour, alpha=0.35, lw=8, solid_capstyle="round", zorder=2)
        axes.plot(rank, i, marker=marker, color=colour, ms=8, mec="white", mew=1, zorder=3)
    axes.set(xlim=(0.6, k + 0.4), ylim=(k - 0.4, -0.6))
    axes.set_xticks(range(1, k + 1))
    axes.set_yticks(range(k), labels, fontsize=10.5)
    axes.tick_params(length=0, labelsize=10.5)
    axes.spines[:].set_visible(False)
    axes.grid(axis="x", color="#E2E2E2", lw=0.8)
    axes.set_xlabel("rank among the methods (1: best)", fontsize=10.5, labelpad=3)
    said = f"{data['datasets']} real datasets, {data['settings']} settings, {data['seeds']} seeds; Holm over {data['pairs']} pairs"
    figure.text(0.15 / wide, 1 - 0.10 / high, "Ranks that each method may have", fontsize=12.5, weight="bold", va="top")
    figure.text(0.15 / wide, 1 - 0.37 / high, said, fontsize=10.5, va="top")
    figure.text(0.15 / wide, 1 - 0.58 / high, "bar: best to worst rank that the tests leave open, mark: mean rank", fontsize=10.5, va="top")
    marks = [
        Line2D([], [], ls="none", color=colour, marker=marker, ms=8, mec="white", label=NAMES.get(role, "other method"))
        for role, (colour, marker) in plots.ROLE_STYLE.items()
        if role in roles
    ]
    figure.legend(
        handles=marks, loc="lower center", bbox_to_anchor=((left + wide - 0.2) / 2 / wide, 0.0), ncols=len(marks), frameon=False,
        fontsize=10.5, handletextpad=0.3, columnspacing=1.6,
    )  # fmt: skip
    return figure


def is_stale() -> bool:
    """Whether the picture does not show the numbers of the board: the drawing itself depends on the version of matplotlib."""
    return not PICTURE.exists() or plots.hash_in(PICTURE) != plots.hash_of(numbers(board_of(BOARD)))


def write_picture() -> None:
    """Draws the picture anew. Needs the extra `plot`."""
    PICTURE.parent.mkdir(exist_ok=True)
    plots.save(PICTURE, numbers(board_of(BOARD)), draw)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    write_picture()
