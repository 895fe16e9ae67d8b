"""Numbers that somebody printed, such as a paper's table, beside ours: read from a CSV file, matched with rows of a board, never ranked.

A file has one number a line, and the columns of `COLUMNS` in any order. `mean` and `sd` are in points (65.2, not 0.652), as papers print
them, and `sd` may be empty. Those of a metric in the unit of a target (mae, rmse) are in that unit, which a further column `unit` names:
it must be the board's, for a number in another unit says something else. A line belongs to the row of a table with the same dataset label
(`adni[image=volume]`), the same letters in any order, the same protocol, metric, and method as tables spell it (`muse@as_released`);
`source` is what the page names.
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
from bench.stats.metrics import METRICS, Metric
from bench.text import factor, points, showing

COLUMNS = ("dataset", "combination", "protocol", "metric", "method", "mean", "sd", "source")
UNIT = "unit"  # a column that a file needs for metrics in the unit of a target alone
FILE = "beside.csv"  # of a published folder: the lines that stand on its pages
MOST = 200.0  # points; a Brier score may be above 100


class Printed(NamedTuple):
    """One printed number, in points or in the unit of a target, as its metric is."""

    setting: Setting  # letters in alphabetical order
    metric: str
    method: str
    mean: float
    sd: float  # NaN where none is printed
    source: str
    unit: str = ""  # of a metric in the unit of a target; empty where that has none

    @property
    def row(self) -> tuple[Setting, str, str]:
        """The row of a table that it stands beside."""
        return self.setting, self.metric, self.method

    @property
    def score(self) -> float:
        """The mean as scores of ours are stored: a fraction, or in the unit of the target."""
        return self.mean / self._factor

    @property
    def spread(self) -> float:
        """The SD so; NaN where none is printed."""
        return self.sd / self._factor

    @property
    def text(self) -> str:
        """As pages show scores: points with one decimal, or three digits and more in a unit."""
        with showing(METRICS[self.metric].in_unit):
            return points(self.score) if math.isnan(self.sd) else f"{points(self.score)} ± {points(self.spread)}"

    @property
    def _factor(self) -> float:
        with showing(METRICS[self.metric].in_unit):
            return factor()


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
        if sorted(head) not in (sorted(COLUMNS), sorted((*COLUMNS, UNIT))):
            raise UsageError(
                f"{path}, line 1: the columns must be {', '.join(COLUMNS)} and, for metrics in a unit, {UNIT}, in any order, "
                f"got {', '.join(head) or 'none'}"
            )
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
    scores = [abs(one.mean) for one in numbers if METRICS[one.metric].higher_is_better]
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
    metric, unit = METRICS[cells["metric"]], cells.get(UNIT, "")
    if unit and not metric.in_unit:
        raise UsageError(f"{where}, column {UNIT}: {metric.name} is a pure number, printed in points; leave the cell empty, got {unit!r}")
    mean = _number(cells["mean"], metric, metric.lower, f"{where}, column mean")
    sd = _number(cells["sd"], metric, 0.0, f"{where}, column sd") if cells["sd"] else math.nan
    setting = Setting(names["dataset"], "".join(sorted(letters)), names["protocol"])
    return Printed(setting, cells["metric"], cells["method"], mean, sd, cells["source"], unit)


def _number(text: str, metric: Metric, lower: float, where: str) -> float:
    """A finite number that a score by this metric can be; `lower` is the least one, as a score is stored."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    least, most = (lower, math.inf) if metric.in_unit else (100 * lower, MOST)
    if not (math.isfinite(value) and least <= value <= most):
        rule = "a number in the unit of the target, 0 or above" if metric.in_unit else f"a number of points {_span(least)}, such as 65.2"
        raise UsageError(f"{where}: {rule}, got {text!r}")
    return value


def _span(least: float) -> str:
    return f"from {least:g} to {MOST:g}" if math.isfinite(least) else f"up to {MOST:g}"


def of_board(printed: Iterable[Printed], records: Iterable[Record], metric_of: Callable[[Record], str]) -> tuple[Printed, ...]:
    """Those that stand beside a row of the board of these records, each ranked by its metric.

    Raises: UsageError if one is in another unit than the row.
    """
    units = {
        (_sorted(record.setting), metric_of(record), record.trial.label): str(record.facts.target.get("unit", "")) for record in records
    }
    found = tuple(one for one in printed if one.row in units)
    for one in found:
        unit = units[one.row]
        if METRICS[one.metric].in_unit and one.unit != unit:
            named = f"{one.metric} of {one.method} on {one.setting.dataset} from {one.source}"
            told, wanted = (f"in {text!r}" if text else "in no unit" for text in (one.unit, unit))
            raise UsageError(
                f"column {UNIT} of printed numbers: {named} is {told}, and the board is {wanted}; convert mean and sd and write "
                f"{UNIT} = {unit!r}, or leave the line out"
            )
    return found


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
    unit = ", in the unit of the target" if METRICS[own[0].metric].in_unit else ""
    return f"*Printed*: mean ± SD as others printed it{unit}, never ranked and never bold; other code, splits and budgets. From {named}."


def _numbers(own: Iterable[Printed]) -> dict[str, int]:
    """Source -> its number, from 1 on."""
    return {source: number for number, source in enumerate(dict.fromkeys(one.source for one in own), 1)}


def to_csv(printed: Iterable[Printed]) -> str:
    """A file that `read_printed` reads back to the same numbers."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    printed = list(printed)
    has_unit = any(one.unit for one in printed)
    writer.writerow((*COLUMNS, *[UNIT] * has_unit))
    for one in printed:
        cells = (*one.setting, one.metric, one.method, one.mean, "" if math.isnan(one.sd) else one.sd, one.source)
        writer.writerow((*cells, *[one.unit] * has_unit))
    return stream.getvalue()
