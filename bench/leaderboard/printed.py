"""Numbers that somebody printed, such as a paper's table, beside ours: read from a CSV file, matched with rows of a board, never ranked.

A file has one number a line, and the columns of `COLUMNS` in any order. `mean` and `sd` are in points (65.2, not 0.652), as papers print
them, and `sd` may be empty. A line belongs to the row of a table with the same dataset label (`adni[image=volume]`), the same letters in
any order, the same protocol, metric, and method as tables spell it (`muse@as_released`); `source` is what the page names.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from bench.data.grammar import parse_protocol
from bench.errors import UsageError, unknown
from bench.names import Setting, parse_choice, path_of
from bench.records.record import Record
from bench.stats.metrics import METRICS

COLUMNS = ("dataset", "combination", "protocol", "metric", "method", "mean", "sd", "source")
FILE = "beside.csv"  # of a published folder: the lines that stand on its pages
MOST = 200.0  # points; a Brier score may be above 100


class Printed(NamedTuple):
    """One printed number, in points."""

    setting: Setting  # letters in alphabetical order
    metric: str
    method: str
    mean: float
    sd: float  # NaN where none is printed
    source: str

    @property
    def row(self) -> tuple[Setting, str, str]:
        """The row of a table that it stands beside."""
        return self.setting, self.metric, self.method

    @property
    def text(self) -> str:
        return f"{self.mean:.1f}" + ("" if math.isnan(self.sd) else f" ± {self.sd:.1f}")


def read_printed(path: Path | str) -> tuple[Printed, ...]:
    """The numbers of a file. Raises: UsageError naming file, line and column."""
    try:
        text = path_of(path).read_text(encoding="utf-8-sig")
    except OSError as error:
        raise UsageError(f"file of printed numbers {path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise UsageError(f"file of printed numbers {path} is not UTF-8: {error}; save it as CSV in UTF-8") from None
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    found: dict[tuple, tuple[int, Printed]] = {}
    try:
        head = [name.strip() for name in next(reader, [])]
        if sorted(head) != sorted(COLUMNS):
            raise UsageError(f"{path}, line 1: the columns must be {', '.join(COLUMNS)}, in any order, got {', '.join(head) or 'none'}")
        for cells in reader:
            if not any(cell.strip() for cell in cells):
                continue
            where = f"{path}, line {reader.line_num}"
            if len(cells) != len(head):
                raise UsageError(f"{where}: expected {len(head)} cells, got {len(cells)}; a cell with a comma stands in quotes")
            one = _printed(dict(zip(head, map(str.strip, cells), strict=True)), where)
            key = (*one.row, one.source)
            if key in found:
                raise UsageError(f"{where} gives setting, metric, method and source of line {found[key][0]} again; give each number once")
            found[key] = reader.line_num, one
    except csv.Error as error:
        raise UsageError(f"{path}, line {reader.line_num} is not CSV: {error}") from None
    numbers = tuple(one for _, one in found.values())
    scores = [one.mean for one in numbers if METRICS[one.metric].higher_is_better]
    if scores and max(scores) <= 1:
        raise UsageError(f"{path}, column mean: no score is above 1; write points as papers print them (65.2), not fractions (0.652)")
    return numbers


def _printed(cells: Mapping[str, str], where: str) -> Printed:
    """One line. Raises: UsageError that begins with `where` and names the column."""
    for column in COLUMNS:
        if column != "sd" and not cells[column]:
            raise UsageError(f"{where}, column {column}: it is empty; only sd may be")
    letters = cells["combination"]
    if not letters.isalnum() or len(set(letters)) < len(letters):
        raise UsageError(f"{where}, column combination: the letters of the modalities in use, each once, such as VAT, got {letters!r}")
    if cells["metric"] not in METRICS:
        raise UsageError(f"{where}, column metric: {unknown('metric', cells['metric'], METRICS)}")
    names: dict[str, str] = {}
    for column, parse in (("dataset", parse_choice), ("protocol", parse_protocol)):
        try:
            names[column] = str(parse(cells[column]))
        except UsageError as error:
            raise UsageError(f"{where}, column {column}: {error}") from None
    mean = _points(cells["mean"], f"{where}, column mean")
    sd = _points(cells["sd"], f"{where}, column sd") if cells["sd"] else math.nan
    setting = Setting(names["dataset"], "".join(sorted(letters)), names["protocol"])
    return Printed(setting, cells["metric"], cells["method"], mean, sd, cells["source"])


def _points(text: str, where: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value <= MOST:
        raise UsageError(f"{where}: a number of points from 0 to {MOST:g}, such as 65.2, got {text!r}")
    return value


def of_board(printed: Iterable[Printed], records: Iterable[Record], metric_of: Callable[[Record], str]) -> tuple[Printed, ...]:
    """Those that stand beside a row of the board of these records, each ranked by its metric."""
    rows = {(_sorted(record.setting), metric_of(record), record.trial.label) for record in records}
    return tuple(one for one in printed if one.row in rows)


def of_setting(printed: Iterable[Printed], setting: Setting) -> list[Printed]:
    """Those of one setting."""
    wanted = _sorted(setting)
    return [one for one in printed if one.setting == wanted]


def _sorted(setting: Setting) -> Setting:
    """The setting whatever the order in which its letters are written."""
    return setting._replace(combination="".join(sorted(setting.combination)))


def cells_of(own: Sequence[Printed]) -> dict[str, str]:
    """Method -> its cell in the table of a setting; where several sources print the setting, each with the source's number."""
    numbers = _numbers(own)
    cells: dict[str, list[str]] = {}
    for one in own:
        cells.setdefault(one.method, []).append(one.text + (f" [{numbers[one.source]}]" if len(numbers) > 1 else ""))
    return {method: ", ".join(texts) for method, texts in cells.items()}


def footnote(own: Sequence[Printed]) -> str:
    """What the column is, and its sources; empty without any number."""
    numbers = _numbers(own)
    if not numbers:
        return ""
    named = "; ".join(f"[{number}] {source}" if len(numbers) > 1 else source for source, number in numbers.items())
    return f"*Printed*: mean ± SD as others printed it, never ranked and never bold; other code, splits and budgets. From {named}."


def _numbers(own: Iterable[Printed]) -> dict[str, int]:
    """Source -> its number, from 1 on."""
    return {source: number for number, source in enumerate(dict.fromkeys(one.source for one in own), 1)}


def to_csv(printed: Iterable[Printed]) -> str:
    """A file that `read_printed` reads back to the same numbers."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows((*one.setting, one.metric, one.method, one.mean, "" if math.isnan(one.sd) else one.sd, one.source) for one in printed)
    return stream.getvalue()
