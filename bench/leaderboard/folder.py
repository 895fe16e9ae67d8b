"""Published folders: question and answers, the pages rendered from them, and whether predictions, records and pages still agree."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from bench import registry
from bench.drawing import missing
from bench.errors import UsageError
from bench.leaderboard import plots
from bench.leaderboard.board import build
from bench.leaderboard.front_page import pages
from bench.leaderboard.printed import FILE, Printed, of_board, read_printed, to_csv
from bench.leaderboard.rows import Board
from bench.leaderboard.setting_page import PAGE_END
from bench.leaderboard.tables import significance_json, surface_csv, table_csv, table_tex
from bench.names import bare_choice
from bench.records import pieces
from bench.records.answers import Answers, by_setting
from bench.records.attributes import write_file
from bench.records.folder import CUT, WITHHELD, Folder, named_folder
from bench.records.ids import SALTED, rows_by_dataset
from bench.records.predictions import Predictions
from bench.records.public import public
from bench.records.record import Record
from bench.records.scoring import Mismatch, agreeing, mismatches_of, rescored
from bench.records.stacked import write_predictions
from bench.text import and_list, count, finite


def publish(folder: Path, answers: Answers, printed: Iterable[Printed] = (), draw: bool = True, predictions: bool = True) -> list[Path]:
    """Write question, answers and rendered pages into a leaderboard folder, plots where matplotlib is there; returns the files.

    No path of this machine and no private id is in them (see `bench.records.public`). Without `predictions` they hold scores and tests
    alone: the pages say what cannot be checked then, and what they are is noted, so that `checked` sees whether they changed. A record
    whose metrics are not those of its predictions, as versions before logits were stored left some, is written with those.
    Attributes of test rows, and scores by their groups, are in them where the dataset says that they may be.
    Of `printed`, what stands beside a row goes into the folder too, so that its pages need no other file.

    Raises: UsageError if a trial is given twice, or with `predictions` if the owners of some data forbid it.
    """
    if predictions:
        refuse_restricted(answers.records)
    answers = replace(agreeing(public(answers)), cut=())
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "suite.toml").write_text(answers.suite.to_toml(), encoding="utf-8")
    shown = {(bare_choice(record.trial.choice), record.trial.version) for record in answers.records}
    entries = [json.dumps(asdict(finding)) for finding in answers.audits if (bare_choice(finding.label), finding.version) in shown]
    (folder / "audit.json").write_text("[\n" + ",\n".join(entries) + "\n]\n", encoding="utf-8")
    (folder / FILE).unlink(missing_ok=True)
    beside = of_board(printed, answers.records, answers.metric_of)
    if beside:
        (folder / FILE).write_text(to_csv(beside), encoding="utf-8")
    lines = [json.dumps(record.as_line(), sort_keys=True) for record in answers.records]
    said = {"commands": list(answers.commands), **({"left_out": list(answers.left_out)} if answers.left_out else {})}
    write_file(folder, answers.attributes if predictions else {})
    if predictions:
        batches = (here.predictions for _, here in answers.by_setting())
        write_answers(folder, (lines, said), batches, [record.trial.id for record in answers.records])
        return write(folder, draw)
    board = build(replace(answers, folder=named_folder(folder), withheld=True), beside, by=None)  # the folder may be the one they come from
    pieces.remove(folder, pieces.PREDICTIONS)
    cut = _write_records(folder, lines, said, {})
    rendered = _write_pages(folder, replace(board, cut=tuple(cut)), draw)
    _write_records(folder, lines, {**said, "predictions": WITHHELD, "pages": {path.name: _hash(path) for path in rendered}}, {})
    return files_of(folder)


def write_answers(
    folder: Path, records: tuple[Sequence[str], Mapping[str, object]], batches: Iterable[Mapping[str, Predictions]], order: Iterable[str]
) -> None:
    """Write records and predictions into a folder. `records` are their lines, and what is said of all of them.

    A batch is a setting's predictions; `order` is that of trials in a file.
    """
    number = write_predictions(folder, batches, order)
    _write_records(folder, *records, {pieces.PREDICTIONS: number} if number else {})


def _write_records(folder: Path, lines: Sequence[str], said: Mapping[str, object], cut: Mapping[str, int]) -> dict[str, int]:
    """Write the lines of the records and the last one, which says what is cut into how many pieces; returns that."""
    kept = {key: value for key, value in said.items() if key != CUT}
    found, made = dict(cut), None
    while made != {name: number for name, number in found.items() if name not in cut}:  # the last line may be what needs one more piece
        found = {**cut, **(made or {})}
        made = pieces.write_lines(folder, [*lines, json.dumps({**kept, **({CUT: found} if found else {})})])
    return found


def files_of(folder: Path) -> list[Path]:
    """The files of a published folder, those in pieces too."""
    cut = [path for name in (pieces.RECORDS, pieces.PREDICTIONS) for path in pieces.of_folder(folder, name)]
    return sorted({*(path for path in folder.iterdir() if path.is_file()), *cut})


def _hash(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def refuse_restricted(records: Iterable[Record]) -> None:
    """Raises: UsageError that names the datasets whose owners forbid publishing what is derived of them, row by row."""
    found: dict[str, str] = {}
    for record in records:
        restricted, terms = registry.terms_of(record.trial.dataset)
        if restricted or record.facts.restricted:
            found[record.trial.dataset_label] = terms
    if found:
        said = [name + (f" ({terms.rstrip('.')})" if terms else "") for name, terms in found.items()]
        raise UsageError(
            f"predictions on {and_list(said)} must not be published: the owners of these data forbid what is derived of them, row by row; "
            "`bench leaderboard --publish FOLDER --no-predictions` publishes scores and tests alone"
        )


def revealed(folder: Path, files: Sequence[Path], out: Path | str) -> str:
    """What publishing wrote, and what it tells whom it may concern, in one line. `out` is the results folder it came from."""
    with Folder(folder) as found:
        answers = found.answers()
    size = sum(path.stat().st_size for path in files)
    wrote = f"wrote {count(len(files), 'file')}, {size / 1e6:.1f} MB, to {folder}"
    wrote = f"{wrote}: scores and tests of {count(len(answers.records), 'trial')}"
    if answers.withheld:
        return f"{wrote}; no predictions, so no row, label or id of a sample"
    kinds = {record.trial.dataset_label: record.facts.ids for record in answers.records if record.facts.ids}
    rows = rows_by_dataset(answers)
    salted = [f"{n} of {label}" for label, n in rows.items() if kinds.get(label) == SALTED]
    clear = [f"{n} of {label}" for label, n in rows.items() if kinds.get(label) != SALTED]
    said = [f"{and_list(clear)} under public ids"] if clear else []
    said += [f"{and_list(salted)} under salted ids, whose salt stays in {out}"] if salted else []
    return f"{wrote}; and the targets and predictions of test rows: {'; '.join(said) or 'none'}"


def withheld(folder: Path) -> str:
    """Why a published folder cannot be rendered anew: it has no predictions; "" if it can. Raises: UsageError if it cannot be read."""
    with Folder(folder) as found:
        return found.withheld


def rescore(folder: Path) -> list[str]:
    """Take the metrics of a published folder's records anew from its predictions; returns the ids of the trials that had others.

    Nothing else in the records moves, and predictions are only read; `write` renders the pages that follow.
    Raises: UsageError if the folder cannot be read or has no predictions, or a class score is not finite.
    """
    with Folder(folder) as found:
        found.refuse_withheld()
        records, cut = found.records(), found.cut
    new: dict[str, Record] = {}
    for own in by_setting(record for record in records if record.status == "done").values():
        predictions = found.predictions(record.trial.id for record in own)
        taken = ((record, rescored(record, predictions[record.trial.id])) for record in own if record.trial.id in predictions)
        new |= {before.trial.id: after for before, after in taken if after is not before}
    if new:
        lines = [_rescored_line(text, new) for text in pieces.lines(folder)]
        place = next((place for place, text in enumerate(lines) if "commands" in json.loads(text)), None)
        said = {} if place is None else json.loads(lines.pop(place))
        if said:
            _write_records(folder, lines, said, {name: number for name, number in cut.items() if name == pieces.PREDICTIONS})
        else:
            pieces.write_lines(folder, lines)
    return [record.trial.id for record in records if record.trial.id in new]


def _rescored_line(text: str, new: Mapping[str, Record]) -> str:
    """A line of the records as it is, or with the new metrics of its trial."""
    line = json.loads(text)
    if line.get("id") not in new:
        return text
    record = finite(new[line["id"]].as_json())
    line["metrics"] = record["metrics"]
    if "metric_reasons" in line["facts"]:
        line["facts"]["metric_reasons"] = {}  # the new facts name theirs, if there are any
    line["facts"] |= record["facts"]
    return json.dumps(line, sort_keys=True)


def write(folder: Path, draw: bool = True) -> list[Path]:
    """Render a published folder anew; returns its files. Raises: UsageError if it cannot be read, or has no predictions."""
    with Folder(folder) as found:
        found.refuse_withheld()
        answers = found.answers()
    _write_pages(folder, _board(folder, answers), draw)
    return files_of(folder)


def _write_pages(folder: Path, board: Board, draw: bool) -> list[Path]:
    """Pages and pictures of a board, in the place of those of an earlier rendering."""
    for path in _left_over(folder, ()):
        path.unlink()
    drawn = plots.draw(board, folder) if draw and missing() is None else []
    texts = _rendered(board, [path.name for path in drawn])
    return sorted([*drawn, *(pieces.write_text(folder / name, text) for name, text in texts.items())])


def board_of(folder: Path) -> Board:
    """The board of a published folder, from its question and answers alone. Raises: UsageError if they cannot be read."""
    return _board(folder, _answers(folder))


def _answers(folder: Path) -> Answers:
    with Folder(folder) as found:
        return found.answers()


def _board(folder: Path, answers: Answers) -> Board:
    return build(answers, read_printed(folder / FILE) if (folder / FILE).exists() else (), by=None)


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

    stale: tuple[Path, ...]  # files that a fresh rendering would not leave as they are, and the records if they have mismatches
    mismatches: tuple[Mismatch, ...]  # numbers of records that their predictions do not give, the largest difference first
    unchecked: str = ""  # what could not be looked at, and why


def stale_files(folder: Path) -> list[Path]:
    """The stale files of a published folder; see `checked`."""
    return list(checked(folder).stale)


def checked(folder: Path) -> Checked:
    """Whether a published folder's records say what its predictions give, and its pages what its records say.

    Text is compared byte for byte. Of a plot its data are compared, whose hash it carries: the picture itself depends on the version of
    matplotlib and its fonts. Where predictions were withheld, pages and pictures are compared with their hashes of when they were
    published. Raises: UsageError if the folder cannot be read, or a class score is not finite.
    """
    with Folder(folder) as published:
        if published.withheld:
            off_seal = [folder / name for name, hash_ in published.pages.items() if not _is_sealed(folder / name, hash_)]
            return Checked(tuple(sorted(off_seal)), (), published.withheld)
        answers = published.answers()
    off = mismatches_of(answers)
    board = _board(folder, answers)
    pictures = {path.name: path for path in folder.glob("*.svg")}
    fresh = _rendered(board, list(pictures))
    found = [folder / name for name, text in fresh.items() if not _holds(folder / name, text)]
    hashes = plots.data_hashes(board)
    found += [path for name, path in pictures.items() if plots.hash_in(path) != hashes.get(name)]
    found += pieces.of_folder(folder, pieces.RECORDS) if off else []
    return Checked(tuple(sorted([*found, *_left_over(folder, (*fresh, *pictures))])), tuple(sorted(off, key=lambda one: -one.size)))


def _left_over(folder: Path, fresh: Iterable[str]) -> list[Path]:
    """Pages and pictures of an earlier rendering; what someone else put there is not touched."""
    names = set(fresh)
    texts = [path for path in folder.glob("*.md") if path.read_text(encoding="utf-8", errors="replace").endswith(PAGE_END)]
    pictures = [path for path in folder.glob("*.svg") if plots.hash_in(path)]
    return [path for path in (*texts, *pictures) if path.name not in names]


def _is_sealed(path: Path, hash_: str) -> bool:
    return path.is_file() and _hash(path) == hash_


def _holds(path: Path, text: str) -> bool:
    try:
        return pieces.text_of(path) == text
    except (OSError, ValueError):
        return False
