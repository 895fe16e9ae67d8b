"""A doctor for data: what in a dataset could make a number say something else than it seems, told before the first trial.

Each check looks at the samples and at one split of them and gives its concerns, one at most. `serious` ones change what every score
means: rows of one patient on both sides of a split, a column that holds the outcome, images whose axes are mixed up. A `note` says what
to know, or what else to ask for. Nothing here changes data or stops a run.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property

import numpy as np

from bench.data import single_columns
from bench.data.loading import load
from bench.data.missingness import mask_score
from bench.data.single_columns import Columns
from bench.data.splits import split_rows
from bench.data.twins import numbered, together, twins
from bench.datasets.base import Classes, Dataset, Labels, Samples, Value
from bench.errors import UsageError
from bench.names import parse_choice
from bench.stats.metrics import METRICS
from bench.text import and_list, count, listed, sample_name, share

LARGE_SHARE = 0.75  # of one class, above which accuracy says little
FEW_ROWS, FEW_OF_CLASS = 100, 20  # test rows in all, and of a class
MANY_TWINS = 0.02  # share of test rows with a twin elsewhere from which on it is serious
TELLS_LABEL = 0.98  # cross-validated AUROC of a column from which on it all but is the label
MASK_TELLS = 0.6  # AUROC of the mask alone from which on it is said, where chance is ruled out
HARDLY, HARDLY_ROWS = 0.05, 20  # share of rows, and rows, below which a modality is hardly ever observed
MOSTLY_EMPTY = 0.5  # share of rows of an observed modality in which a column lacks its value, above which that is said
MOST_LISTED = 4  # columns of a line
QUICK_CELLS, QUICK_ROWS = 2_000_000, 2_000  # values and rows that a quick look takes single columns from
CELLS, ROWS = 40_000_000, 20_000  # a thorough one
QUICK_RESAMPLES, RESAMPLES = 100, 1_000  # of the interval of what the mask says


@dataclass(frozen=True)
class Concern:
    """What one check found."""

    check: str  # see CHECKS
    level: str  # serious or note
    text: str  # a clause: what, how much of it, and the way on


@dataclass(frozen=True)
class Checkup:
    """What was found in a dataset, and what was looked for in vain."""

    dataset: str  # NAME or NAME[option=value]
    samples: int
    looked_at: int  # rows that single columns were looked at in
    concerns: tuple[Concern, ...]

    @property
    def is_serious(self) -> bool:
        return any(concern.level == "serious" for concern in self.concerns)

    def as_json(self) -> dict[str, object]:
        """The documented shape: the fields, and `fine`, the checks without a concern."""
        return {**asdict(self), "serious": self.is_serious, "fine": [c for c in CHECKS if c not in {one.check for one in self.concerns}]}

    def text(self) -> str:
        """A page for a terminal."""
        some = f"{self.looked_at} of {count(self.samples, 'row')}, every class as often as it can"
        rows = "every row" if self.looked_at == self.samples else some
        found = {concern.check: concern for concern in self.concerns}
        lines = [f"{self.dataset}: {count(self.samples, 'sample')}; single columns looked at in {rows}"]
        for check, (title, _) in CHECKS.items():
            concern = found.get(check)
            lines.append(f"  ok       {title}" if concern is None else f"  {concern.level:7}  {concern.text}")
        return "\n".join(lines)


@dataclass(frozen=True)
class Subject:
    """What is looked at: a dataset with one split of it, closely or at a glance."""

    dataset: Dataset
    samples: Samples
    rows: Mapping[str, np.ndarray]  # part -> its rows
    vary: str = "training"  # what the seed draws in the run that asks
    metric: str = "accuracy"  # that it ranks by
    quick: bool = True

    @cached_property
    def columns(self) -> Columns:
        """Those of vectors and sequences; of images and volumes too where there is time."""
        if self.quick:
            return single_columns.columns_of(self.samples, QUICK_CELLS, QUICK_ROWS, ("vector", "sequence"))
        return single_columns.columns_of(self.samples, CELLS, ROWS, ("vector", "sequence", "image", "volume"))

    @cached_property
    def tells(self) -> np.ndarray:
        """How well each column alone tells the class, the best told of the labels, or the fifth of a value: AUROC. Shapes: (F,)."""
        columns, samples = self.columns, self.samples
        if not isinstance(samples.schema.target, Labels):
            return single_columns.alone(columns.matrix, columns.target, samples.in_strata().schema.outputs)
        asked = samples.target[columns.rows].T  # (L, n)
        found = [single_columns.alone(columns.matrix[own >= 0], own[own >= 0], 2) for own in asked]
        return np.fmax.reduce(found)

    @cached_property
    def empty_and_single(self) -> tuple[list[int], list[int]]:
        return single_columns.empty_and_single_valued(self.samples, self.columns)

    def named(self, places: list[int]) -> str:
        """Columns in words, the first ones and a count."""
        schema, names = self.samples.schema.modalities, self.dataset.column_names
        return listed([single_columns.name_of(self.columns.places[place], schema, names) for place in places], MOST_LISTED)

    @property
    def in_sample(self) -> str:
        seen, n = len(self.columns.rows), len(self.samples)
        return "" if seen == n else f" (in {seen} of {n} rows)"


def check_data(text: str) -> Checkup:
    """The checkup of the dataset that `NAME` or `NAME[option=value]` names, on the split of seed 0. Raises: UsageError."""
    dataset, samples, _ = load(parse_choice(text))
    try:
        rows = split_rows(dataset, samples, 0)
    except UsageError as error:
        raise UsageError(f"{error} ({text})") from None
    subject = Subject(dataset, samples, rows, quick=False)
    return Checkup(text, len(samples), len(subject.columns.rows), concerns(subject))


def concerns(subject: Subject) -> tuple[Concern, ...]:
    """Every concern, in the order of CHECKS; a quick look takes less than a second on 5,000 rows."""
    found = (look(subject) for _, look in CHECKS.values())
    return tuple(concern for concern in found if concern is not None)


def largest_class(samples: Samples) -> tuple[str, float]:
    """The most frequent class and its share of the samples; of labels and values there is none, of a share of 0."""
    if not isinstance(samples.schema.target, Classes):
        return "", 0.0
    counts = np.bincount(samples.target, minlength=len(samples.schema.classes))
    return samples.schema.classes[int(counts.argmax())], float(counts.max() / counts.sum())


# ---- the checks


def _classes(subject: Subject) -> Concern | None:
    name, most = largest_class(subject.samples)
    if most <= LARGE_SHARE:
        return None
    text = f"{share(most)} of the samples are of class {name!r}: always saying so has an accuracy of {100 * most:.1f}"
    if METRICS[subject.metric].by_class:
        text += ", so rank and select by a metric that looks at scores (--metric auroc --selection auroc)"
    return Concern("classes", "note", text)


def _few(subject: Subject) -> Concern | None:
    samples, rows = subject.samples, len(subject.rows["test"])
    names, target = np.array(samples.schema.target.names), samples.target[subject.rows["test"]]
    few = f"the test part has {count(rows, 'row')}"
    if isinstance(samples.schema.target, Value):
        if rows >= FEW_ROWS:
            return None
    else:
        is_labels = isinstance(samples.schema.target, Labels)
        counts = (target == 1).sum(0) if is_labels else np.bincount(target, minlength=len(names))
        there = np.arange(len(names)) if is_labels else np.flatnonzero(np.bincount(samples.target, minlength=len(names)))
        rarest = there[counts[there].argmin()]
        if rows >= FEW_ROWS and counts[rarest] >= FEW_OF_CLASS:
            return None
        few += f", {counts[rarest]} {'with label' if is_labels else 'of class'} {str(names[rarest])!r}"
    if subject.vary == "split":
        return Concern("few", "note", f"{few}: scores of one split swing by chance, which their spread over splits shows")
    if subject.dataset.parts(subject.samples) is not None:
        return Concern("few", "note", f"{few}: scores swing by chance, and intervals are wide")
    return Concern("few", "note", f"{few}: scores of one split swing by chance; let each seed draw its own (--vary split --seeds 0-4)")


def _twins(subject: Subject) -> Concern | None:
    samples, rows = subject.samples, subject.rows
    numbers = [numbered(samples, position) for position in range(len(samples.schema))]
    found = [twins(samples, rows, [position], own) for position, own in enumerate(numbers)]
    if len(numbers) > 1:
        found.append(twins(samples, rows, range(len(numbers)), together(numbers)))
    there = sorted((one for one in found if one is not None), key=lambda one: (-one.test, -len(one.rows)))
    if not there:
        return None
    first, part = there[0], "test" if there[0].test else "valid"
    sizes = {one.modality or "every modality at once": one.test if part == "test" else len(one.rows) for one in there}
    where = listed([f"{n} of {len(rows[part])} in {name}" for name, n in sizes.items() if n], MOST_LISTED)
    ask = "set groups" if samples.groups is None else "mend groups" if subject.dataset.keeps_groups else "keep groups whole"
    twin, before = (sample_name(samples.ids[place[0]]) for place in (first.rows, first.twin))
    text = (
        f"rows of the {part} part hold the same values as rows of a part before it, {where} (such as {twin} and "
        f"{before}): the same patient? {ask}, or leave doubles out"
    )
    return Concern("twins", "serious" if first.test >= max(2, MANY_TWINS * len(rows["test"])) else "note", text)


def _leak(subject: Subject) -> Concern | None:
    columns = subject.columns
    scores = np.nan_to_num(subject.tells)
    found = [int(place) for place in np.argsort(-scores, kind="stable") if scores[place] >= TELLS_LABEL]
    if not found:
        return None
    same = [place for place in found if single_columns.is_label(columns.matrix[:, place], subject.samples.target[columns.rows])]
    others = [place for place in found if place not in same]
    said = [f"{subject.named(same)} {_is(same)} the label under other names"] if same else []
    said += [f"{subject.named(others)} alone {_tells(others)} the label (AUROC {scores[others[0]]:.3f})"] if others else []
    return Concern("leak", "serious", f"{and_list(said)}{subject.in_sample}: known before the outcome is? leave out what is not")


def _single(subject: Subject) -> Concern | None:
    empty, single = subject.empty_and_single
    said = [f"{subject.named(empty)} {_hold(empty)} no value in any row"] if empty else []
    said += [f"{subject.named(single)} {_hold(single)} one value in every row"] if single else []
    return Concern("single", "note", f"{and_list(said)}, which says nothing to any method") if said else None


def _repeated(subject: Subject) -> Concern | None:
    empty, single = subject.empty_and_single
    groups = single_columns.repeated(subject.samples, subject.columns, [*empty, *single])
    if not groups:
        return None
    first = [subject.named(group).replace(", ", " = ").replace(" and ", " = ") for group in groups[:2]]
    more = f", and {count(len(groups) - 2, 'more group')}" if len(groups) > 2 else ""
    return Concern("repeated", "note", f"columns repeat each other: {'; '.join(first)}{more}; leave one of each")


def _axes(subject: Subject) -> Concern | None:
    found = [modality for modality in subject.samples.schema if _looks_channels_last(modality.kind, modality.shape)]
    if not found:
        return None
    shapes = and_list([f"{modality.name} {'x'.join(map(str, modality.shape))}" for modality in found])
    text = f"{shapes} looks channels-last, and methods read the first axis as channels; use np.moveaxis(values, -1, 1)"
    return Concern("axes", "serious", text)


def _looks_channels_last(kind: str, shape: tuple[int, ...]) -> bool:
    """Whether the last axis is as short as channels are, and the first is not, or stands for a side as the second does."""
    if kind not in ("image", "volume"):
        return False
    first, *middle, last = shape
    return last <= 4 and ((first > 4 and min(middle) > 4) or (last in (1, 3) and last < first == middle[0]))


def _hardly(subject: Subject) -> Concern | None:
    seen, n = subject.samples.observed.sum(0), len(subject.samples)
    names = subject.samples.schema.names
    found = [f"{names[k]} ({seen[k]} of {n} rows)" for k in range(len(names)) if seen[k] < max(HARDLY * n, min(HARDLY_ROWS, n))]
    if not found:
        return None
    return Concern(
        "hardly", "note", f"hardly ever observed: {listed(found, MOST_LISTED)}; methods learn next to nothing of what is so rare"
    )


def _mask(subject: Subject) -> Concern | None:
    samples = subject.samples
    rows = subject.columns.rows
    part = samples.rows(rows) if len(rows) < len(samples) and not _has_images(samples) else samples
    missing = ~part.observed
    if not missing.any():
        return None
    found = mask_score(part, missing, subject.dataset.keeps_groups, QUICK_RESAMPLES if subject.quick else RESAMPLES)
    if found is None or found.low <= 0.5 or found.auroc < MASK_TELLS:
        return None
    text = f"which modalities are missing predicts the label by itself (AUROC {found.auroc:.3f}, 95 % from {found.low:.3f})"
    if found.auroc >= TELLS_LABEL:
        return Concern("mask", "serious", f"{text}: is what is recorded a consequence of the outcome?")
    return Concern("mask", "note", f"{text}: a method may score without looking at a value, so compare with that")


def _has_images(samples: Samples) -> bool:
    return any(modality.kind in ("image", "volume") for modality in samples.schema)


def _gaps(subject: Subject) -> Concern | None:
    columns, samples = subject.columns, subject.samples
    empty, _ = subject.empty_and_single
    observed = samples.observed[columns.rows]
    lacking = []
    for place, (position, column) in enumerate(columns.places):
        own = np.isnan(columns.matrix[observed[:, position], place])
        if column != single_columns.STEPS and place not in empty and len(own) and own.mean() > MOSTLY_EMPTY:
            lacking.append(place)
    if not lacking:
        return None
    text = f"{subject.named(lacking)} {_lack(lacking)} more than half of the values where the modality is there{subject.in_sample}"
    return Concern("gaps", "note", f"{text}: a method that fills in the mean sees little else")


def _is(places: list[int]) -> str:
    return "is" if len(places) == 1 else "are"


def _tells(places: list[int]) -> str:
    return "predicts" if len(places) == 1 else "predict"


def _hold(places: list[int]) -> str:
    return "holds" if len(places) == 1 else "hold"


def _lack(places: list[int]) -> str:
    return "lacks" if len(places) == 1 else "lack"


CHECKS: Mapping[str, tuple[str, Callable[[Subject], Concern | None]]] = {  # name -> what it is when all is well, and who looks
    "leak": ("no column tells the label", _leak),
    "twins": ("no rows of different parts look like one patient's", _twins),
    "axes": ("images have their channels first", _axes),
    "classes": ("no class holds over three quarters of the samples", _classes),
    "few": ("the test part has rows enough of every class", _few),
    "mask": ("what is missing does not tell the label", _mask),
    "hardly": ("every modality is observed often enough", _hardly),
    "single": ("every column varies", _single),
    "repeated": ("no column repeats another", _repeated),
    "gaps": ("no column is mostly empty", _gaps),
}
