"""Published folders: question and answers, the pages rendered from them, and whether predictions, records and pages still agree."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
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
from bench.records.scoring import Mismatch, agreeing, mismatches_of, rescored
from bench.text import finite


def publish(folder: Path, answers: Answers, printed: Iterable[Printed] = (), draw: bool = True) -> list[Path]:
    """Write question, answers and rendered pages into a leaderboard folder, plots where matplotlib is there; returns the files.

    No path of this machine is in them (see `bench.records.public`). A record whose metrics are not those of its predictions, as
    versions before logits were stored left some, is written with those.
    Of `printed`, what stands beside a row goes into the folder too, so that its pages need no other file.

    Raises: UsageError if a trial is given twice.
    """
    answers = agreeing(public(answers))
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "suite.toml").write_text(answers.suite.to_toml(), encoding="utf-8")
    lines = [json.dumps(record.as_line(), sort_keys=True) for record in answers.records]
    left_out = {"left_out": list(answers.left_out)} if answers.left_out else {}
    lines.append(json.dumps({"commands": list(answers.commands), **left_out}))
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


def rescore(folder: Path) -> list[str]:
    """Take the metrics of a published folder's records anew from its predictions; returns the ids of the trials that had others.

    Nothing else in `records.jsonl` moves, and `predictions.npz` is only read; `write` renders the pages that follow.
    Raises: UsageError if the folder cannot be read, or a class score is not finite.
    """
    with Folder(folder) as found:
        records = {record.trial.id: record for record in found.records() if record.status == "done"}
        predictions = found.predictions(records)
    new = {id_: rescored(records[id_], arrays) for id_, arrays in predictions.items()}
    moved = [id_ for id_, record in new.items() if record is not records[id_]]
    path = folder / "records.jsonl"
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    of_moved = {line["id"]: line for line in lines if line.get("id") in set(moved)}
    for id_, line in of_moved.items():
        record = finite(new[id_].as_json())
        line["metrics"] = record["metrics"]
        if "metric_reasons" in line["facts"]:
            line["facts"]["metric_reasons"] = {}  # the new facts name theirs, if there are any
        line["facts"] |= record["facts"]
    if moved:
        fresh = path.with_name(f"{path.name}.new")  # a folder is never left with half of its records
        fresh.write_text("".join(json.dumps(line, sort_keys=True) + "\n" for line in lines), encoding="utf-8")
        fresh.replace(path)
    return moved


def write(folder: Path, draw: bool = True) -> list[Path]:
    """Render a published folder anew; returns its files. Raises: UsageError if it cannot be read."""
    board = board_of(folder)
    for path in _left_over(folder, ()):
        path.unlink()
    drawn = plots.draw(board, folder) if draw and missing() is None else []
    for name, text in _rendered(board, [path.name for path in drawn]).items():
        (folder / name).write_text(text, encoding="utf-8")
    return sorted(folder.iterdir())


def board_of(folder: Path) -> Board:
    """The board of a published folder, from its question and answers alone. Raises: UsageError if they cannot be read."""
    return _board(folder, _answers(folder))


def _answers(folder: Path) -> Answers:
    with Folder(folder) as found:
        return found.answers()


def _board(folder: Path, answers: Answers) -> Board:
    return build(answers, read_printed(folder / FILE) if (folder / FILE).exists() else ())


def render(folder: Path) -> dict[str, str]:
    """The rendered text files of a published folder, from its question and answers alone. Raises: UsageError if they cannot be read."""
    return _rendered(board_of(folder), [path.name for path in folder.glob("*.svg")])


def _rendered(board: Board, pictures: Sequence[str]) -> dict[str, str]:
    further = {"surface.csv": surface_csv(board)} if any(setting.surface for setting in board.settings) else {}
    tables = {"table.csv": table_csv(board), "table.tex": table_tex(board), "significance.json": significance_json(board)}
    return {**pages(board, pictures), **tables, **further}


@dataclass(frozen=True)
class Checked:
    """What does not agree in a published folder: nothing, if it is as it should be."""

    stale: tuple[Path, ...]  # files that a fresh rendering would not leave as they are, and records.jsonl if it has mismatches
    mismatches: tuple[Mismatch, ...]  # numbers of records that their predictions do not give, the largest difference first


def stale_files(folder: Path) -> list[Path]:
    """The stale files of a published folder; see `checked`."""
    return list(checked(folder).stale)


def checked(folder: Path) -> Checked:
    """Whether a published folder's records say what its predictions give, and its pages what its records say.

    Text is compared byte for byte. Of a plot its data are compared, whose hash it carries: the picture itself depends on the version of
    matplotlib and its fonts. Raises: UsageError if the folder cannot be read, or a class score is not finite.
    """
    answers = _answers(folder)
    off = mismatches_of(answers)
    board = _board(folder, answers)
    pictures = {path.name: path for path in folder.glob("*.svg")}
    fresh = _rendered(board, list(pictures))
    found = [folder / name for name, text in fresh.items() if not _holds(folder / name, text)]
    hashes = plots.data_hashes(board)
    found += [path for name, path in pictures.items() if plots.hash_in(path) != hashes.get(name)]
    found += [folder / "records.jsonl"] if off else []
    return Checked(tuple(sorted([*found, *_left_over(folder, (*fresh, *pictures))])), tuple(sorted(off, key=lambda one: -one.size)))


def _left_over(folder: Path, fresh: Iterable[str]) -> list[Path]:
    """Pages and pictures of an earlier rendering; what someone else put there is not touched."""
    names = set(fresh)
    texts = [path for path in folder.glob("*.md") if path.read_text(encoding="utf-8", errors="replace").endswith(PAGE_END)]
    pictures = [path for path in folder.glob("*.svg") if plots.hash_in(path)]
    return [path for path in (*texts, *pictures) if path.name not in names]


def _holds(path: Path, text: str) -> bool:
    return path.exists() and path.read_bytes() == text.encode()
