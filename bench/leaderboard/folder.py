"""Published folders: question and answers, the pages rendered from them, and whether the two still agree."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from bench.drawing import missing
from bench.leaderboard import plots
from bench.leaderboard.board import build
from bench.leaderboard.front_page import pages
from bench.leaderboard.printed import FILE, Printed, of_board, read_printed, to_csv
from bench.leaderboard.rows import Board
from bench.leaderboard.setting_page import PAGE_END
from bench.leaderboard.tables import significance_json, surface_csv, table_csv, table_tex
from bench.names import bare_choice
from bench.records.answers import Answers
from bench.records.folder import Folder
from bench.records.predictions import stack
from bench.records.public import public
from bench.records.record import Record
from bench.text import finite


def publish(folder: Path, answers: Answers, printed: Iterable[Printed] = (), draw: bool = True) -> list[Path]:
    """Write question, answers and rendered pages into a leaderboard folder, plots where matplotlib is there; returns the files.

    No path of this machine is in them (see `bench.records.public`).
    Of `printed`, what stands beside a row goes into the folder too, so that its pages need no other file.

    Raises: UsageError if a trial is given twice.
    """
    answers = public(answers)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "suite.toml").write_text(answers.suite.to_toml(), encoding="utf-8")
    lines = [json.dumps(_as_dict(record), sort_keys=True) for record in answers.records]
    lines.append(json.dumps({"commands": list(answers.commands)}))
    (folder / "records.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    shown = {(bare_choice(record.trial.choice), record.trial.version) for record in answers.records}
    entries = [json.dumps(asdict(finding)) for finding in answers.audits if (bare_choice(finding.label), finding.version) in shown]
    (folder / "audit.json").write_text("[\n" + ",\n".join(entries) + "\n]\n", encoding="utf-8")
    np.savez_compressed(folder / "predictions.npz", **stack(answers.predictions))  # type: ignore[arg-type]
    (folder / FILE).unlink(missing_ok=True)
    beside = of_board(printed, answers.records, answers.suite.metric)
    if beside:
        (folder / FILE).write_text(to_csv(beside), encoding="utf-8")
    return write(folder, draw)


def write(folder: Path, draw: bool = True) -> list[Path]:
    """Render a published folder anew; returns its files. Raises: UsageError if it cannot be read."""
    board = board_of(folder)
    for path in _left_over(folder, ()):
        path.unlink()
    drawn = plots.draw(board, folder) if draw and missing() is None else []
    for name, text in _rendered(board, [path.name for path in drawn]).items():
        (folder / name).write_text(text, encoding="utf-8")
    return sorted(folder.iterdir())


def _as_dict(record: Record) -> dict[str, object]:
    return finite(record.as_json()) | {"id": record.trial.id, "trial": record.trial.as_dict()}


def board_of(folder: Path) -> Board:
    """The board of a published folder, from its question and answers alone. Raises: UsageError if they cannot be read."""
    with Folder(folder) as found:
        return build(found.answers(), read_printed(folder / FILE) if (folder / FILE).exists() else ())


def render(folder: Path) -> dict[str, str]:
    """The rendered text files of a published folder, from its question and answers alone. Raises: UsageError if they cannot be read."""
    return _rendered(board_of(folder), [path.name for path in folder.glob("*.svg")])


def _rendered(board: Board, pictures: Sequence[str]) -> dict[str, str]:
    further = {"surface.csv": surface_csv(board)} if any(setting.surface for setting in board.settings) else {}
    tables = {"table.csv": table_csv(board), "table.tex": table_tex(board), "significance.json": significance_json(board)}
    return {**pages(board, pictures), **tables, **further}


def stale_files(folder: Path) -> list[Path]:
    """Files of a published folder that a fresh rendering would not leave as they are.

    Text is compared byte for byte. Of a plot its data are compared, whose hash it carries: the picture itself depends on the version of
    matplotlib and its fonts.
    """
    board = board_of(folder)
    pictures = {path.name: path for path in folder.glob("*.svg")}
    fresh = _rendered(board, list(pictures))
    found = [folder / name for name, text in fresh.items() if not _holds(folder / name, text)]
    hashes = plots.data_hashes(board)
    found += [path for name, path in pictures.items() if plots.hash_in(path) != hashes.get(name)]
    return sorted([*found, *_left_over(folder, (*fresh, *pictures))])


def _left_over(folder: Path, fresh: Iterable[str]) -> list[Path]:
    """Pages and pictures of an earlier rendering; what someone else put there is not touched."""
    names = set(fresh)
    texts = [path for path in folder.glob("*.md") if path.read_text(encoding="utf-8", errors="replace").endswith(PAGE_END)]
    pictures = [path for path in folder.glob("*.svg") if plots.hash_in(path)]
    return [path for path in (*texts, *pictures) if path.name not in names]


def _holds(path: Path, text: str) -> bool:
    return path.exists() and path.read_bytes() == text.encode()
