"""The datasets as data: a line and a page about each, and published pages checked against the data.

What `bench data card` does, as Python functions; the command line only prints what they return.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from bench import registry
from bench.data.files import file_datasets
from bench.data.missingness import Little, MaskScore, indicators, little_test, mask_score, summaries
from bench.datasets.base import PARTS, Classes, Dataset, Labels, Samples, Target, Value
from bench.datasets.files import FileDataset, prepared_copies
from bench.datasets.target import target_from
from bench.errors import UsageError
from bench.names import Choice, bare_choice, parse_choice
from bench.stats.levels import ALPHA
from bench.text import Table, count, in_cell, in_page, share, without_sample_names

MOST_COMBINATIONS = 40  # rows of a page's table; the JSON holds them all
MOST_CLASSES = 5  # columns of that table


def outline(name: str) -> dict[str, object]:
    """One line about a dataset for `bench list datasets`; of one whose files are not here, what is known without them."""
    from bench.data.loading import load

    dataset = registry.dataset_of(Choice(name))
    row: dict[str, object] = {"name": name, "samples": None, "classes": None, "modalities": None, "title": dataset.title, "here": True}
    if isinstance(dataset, FileDataset):
        if not dataset.is_here:
            return {**row, "here": False}
        if (dataset.prepared_folder / "meta.json").is_file():
            meta = dict(prepared_copies(dataset)).get(dataset.prepared_folder)
            if meta is not None:
                described = ", ".join(f"{m['letter']} {m['name']} {m['kind']} {'x'.join(map(str, m['shape']))}" for m in meta["modalities"])
                return {**row, "samples": meta["rows"], "classes": _asked(meta), "modalities": described}
    try:
        samples = load(Choice(name)).samples
    except UsageError:
        return {**row, "here": False}
    described = ", ".join(f"{m.letter} {m.name} {m.kind} {'x'.join(map(str, m.shape))}" for m in samples.schema)
    return {**row, "samples": len(samples), "classes": _described(samples.schema.target), "modalities": described}


def _asked(meta: Mapping[str, Any]) -> object:
    """What a prepared copy asks of a row, as `_described` says it."""
    return _described(target_from(meta["target"])) if "target" in meta else len(meta["classes"])


def _described(target: Target) -> object:
    """The number of classes, else what is to be told in words."""
    return target.outputs if isinstance(target, Classes) else target.describe()


# ---- the page about a dataset


@dataclass(frozen=True)
class Steps:
    """How long the observed sequences of a padded modality are."""

    median: float
    longest: int


@dataclass(frozen=True)
class ModalityRow:
    """One modality of a dataset."""

    letter: str
    name: str
    kind: str
    shape: tuple[int, ...]
    missing: float  # share of samples that do not observe it
    single_values_missing: float  # share of NaN inside observed ones
    steps: Steps | None = None  # None without padding


@dataclass(frozen=True)
class CombinationRow:
    """Modalities that are observed together, and in which samples."""

    combination: str  # letters, "" where nothing is observed
    samples: int
    classes: tuple[int, ...]  # samples of each class


@dataclass(frozen=True)
class Card:
    """What is known and measured about a dataset: facts, sizes, gaps, and what the gaps give away."""

    name: str  # NAME or NAME[option=value]; of a file without its folder
    title: str
    synthetic: bool
    facts: Mapping[str, str]  # what its file says of itself
    samples: int
    classes: Mapping[str, int]  # class -> samples; of labels, those that have it; of a value, its fifths
    groups: int | None  # None where samples are no groups
    split: Mapping[str, int] | None  # part -> samples, of the split that comes with the dataset; train, valid, test
    split_kind: str | None  # whose it is: official, fixed, or a name (`Dataset.split_kind`)
    modalities: tuple[ModalityRow, ...]
    blank: Mapping[str, int]  # modality -> samples said to observe it that hold no value of it; they count as missing
    missing: float  # share of cells (sample x modality) that are not observed
    combinations: tuple[CombinationRow, ...]  # most frequent first
    little: Little | None  # None without gaps
    mask: MaskScore | None  # what missing modalities say of the label; None without gaps
    single_values: MaskScore | None  # what these and missing single values say of it
    indicators: int  # different indicators of single values
    fingerprint: str
    target: Mapping[str, Any] = field(default_factory=dict)  # what is to be told of a row, where that is no class
    value: Mapping[str, float] = field(default_factory=dict)  # of a value: mean, SD, least, median and largest
    indicated: bool = False  # methods get columns that say where single values are missing

    def as_json(self) -> dict[str, object]:
        """The documented shape: the fields, `steps` where there is padding, `blank` and `indicated` where so, `indicators` in
        `single_values`."""
        fields = asdict(self)
        fields["modalities"] = [{key: value for key, value in row.items() if value is not None} for row in fields["modalities"]]
        count = fields.pop("indicators")
        for key in ("blank", "indicated", "target", "value"):
            if not fields[key]:
                del fields[key]
        if self.single_values is not None:
            fields["single_values"] = {"indicators": count, **fields["single_values"]}
        return fields


def card(text: str) -> Card:
    """The card of the dataset that `NAME` or `NAME[option=value]` names. Raises: UsageError."""
    from bench.data.loading import load

    dataset, samples, _ = load(parse_choice(text))
    whole, single = indicators(samples)
    mask, values = (mask_score(samples, missing, dataset.keeps_groups) if missing.any() else None for missing in (whole, single))
    parts = dataset.parts(samples)
    return Card(
        name=bare_choice(text),
        title=dataset.title,
        synthetic=dataset.synthetic,
        facts=facts_of(dataset),
        samples=len(samples),
        classes=_sizes(samples),
        target={} if isinstance(samples.schema.target, Classes) else samples.schema.target.as_json(),
        value=_spread(samples),
        groups=None if samples.groups is None else len(np.unique(samples.groups)),
        split=None if parts is None else {part: len(parts[part]) for part in PARTS if part in parts},
        split_kind=None if parts is None else dataset.split_kind,
        modalities=tuple(_modality(samples, position) for position in range(len(samples.schema))),
        blank=dict(samples.blank),
        missing=float(1 - samples.observed.mean()),
        combinations=_combinations(samples),
        little=little_test(summaries(samples)) if whole.any() else None,
        mask=mask,
        single_values=values,
        indicators=single.shape[1],
        fingerprint=samples.fingerprint(),
        indicated=dataset.indicators,
    )


def _sizes(samples: Samples) -> dict[str, int]:
    """Samples of each class, or that have each label, or in each stratum of a value."""
    target = samples.schema.target
    if isinstance(target, Labels):
        return dict(zip(target.labels, (samples.target == 1).sum(0).tolist(), strict=True))
    strata = samples.in_strata()
    return dict(zip(strata.schema.classes, np.bincount(strata.target, minlength=strata.schema.outputs).tolist(), strict=True))


def _spread(samples: Samples) -> dict[str, float]:
    """How a value is spread; empty of other targets."""
    if not isinstance(samples.schema.target, Value) or not len(samples):
        return {}
    found, target = {}, samples.target
    for name, number in (
        ("mean", target.mean()),
        ("sd", target.std()),
        ("least", target.min()),
        ("median", np.median(target)),
        ("largest", target.max()),
    ):
        found[name] = float(number)
    return found


def facts_of(dataset: Dataset) -> dict[str, str]:
    """The facts on top of a dataset's file (`Source: ...`), then how to obtain it and its terms."""
    page = getattr(sys.modules.get(type(dataset).__module__), "__doc__", None) or ""  # a class that came by value has no module here
    found = {
        key: " ".join(text.split()) for key, text in re.findall(r"^([A-Z][a-z]+):((?:.*\n)(?:[ \t]+.*\n)*)", page + "\n", re.MULTILINE)
    }
    found = {"Source": dataset.source, "Licence": dataset.licence, **found, **dataset.facts}
    found = {key: text for key, text in found.items() if text}
    if isinstance(dataset, FileDataset):
        found |= {"Obtain": dataset.obtain, "Terms": dataset.terms}
    return found


def _modality(samples: Samples, position: int) -> ModalityRow:
    modality = samples.schema.modalities[position]
    rows = samples.observed[:, position]
    values, steps = samples.values[modality.name][rows], None
    if modality.name in samples.lengths:
        lengths = samples.lengths[modality.name][rows]
        values = values[np.arange(modality.shape[0]) < lengths[:, None]]
        steps = Steps(float(np.median(lengths)), int(lengths.max())) if len(lengths) else None
    single = float(np.isnan(values).mean()) if values.size else 0.0
    return ModalityRow(modality.letter, modality.name, modality.kind, tuple(modality.shape), float(1 - rows.mean()), single, steps)


def _combinations(samples: Samples) -> tuple[CombinationRow, ...]:
    """Which modalities are observed together, most frequent first, with counts of classes or strata."""
    samples = samples.in_strata()
    patterns, member, counts = np.unique(samples.observed, axis=0, return_inverse=True, return_counts=True)
    classes = np.zeros((len(patterns), len(samples.schema.classes)), dtype=np.int64)
    np.add.at(classes, (member.ravel(), samples.target), 1)
    letters = np.array(list(samples.schema.combination))
    return tuple(
        CombinationRow("".join(letters[patterns[k]]), int(counts[k]), tuple(classes[k].tolist()))
        for k in sorted(range(len(patterns)), key=lambda k: (-counts[k], (~patterns[k]).tolist()))
    )


def page(found: Card) -> str:
    """A card as markdown; the same card gives the same bytes."""
    return "\n".join(_markdown(block) if isinstance(block, Table) else block for block in blocks(found))


def blocks(found: Card) -> list[str | Table]:
    """A card as lines of markdown with tables between them."""
    kind = found.target.get("kind", "classes")
    sizes = [{HEADS[str(kind)]: name, "samples": count, "share": share(count / found.samples)} for name, count in found.classes.items()]
    return [
        f"# {found.name}",
        "",
        f"{found.title[:1].upper()}{found.title[1:]}. Written by `bench data card`: change the data or the code, not this page.",
        "",
        *(f"- **{key}.** {text}" for key, text in found.facts.items()),
        "",
        "## Samples",
        "",
        f"{count(found.samples, 'sample')}, {_told(found)}{_groups(found)}.",
        "",
        _table(sizes),
        "",
        "## Modalities",
        "",
        "*Missing*: the whole modality is not observed. *Single values missing*: share of NaN inside observed ones.",
        "",
        _modality_table(found.modalities),
        "",
        *_blanks(found),
        "## Observed combinations",
        "",
        *(_combination_lines(found) if found.missing else ["Every sample observes every modality: there are no natural gaps."]),
        "",
        *(["## What the gaps say", "", *_gaps(found), ""] if found.missing or found.single_values else []),
        f"Fingerprint of the samples: `{found.fingerprint}`.",
        "",
    ]


HEADS = {"classes": "class", "labels": "label", "value": "stratum"}  # of the table of sizes


def _told(found: Card) -> str:
    """What is to be told of a sample."""
    if not found.target:
        return count(len(found.classes), "class", "classes")
    if found.target["kind"] == "labels":
        return count(len(found.classes), "label")
    unit = f" in {found.target['unit']}" if found.target["unit"] else ""
    spread = ", ".join(f"{name} {number:g}" for name, number in found.value.items())
    return f"a value, {found.target['name']}{unit} ({spread})"


def _table(rows: Sequence[Mapping[str, object]]) -> Table:
    head = list(rows[0])
    return Table(head, [[str(row[key]) for key in head] for row in rows], head, whole=True)


def _markdown(table: Table) -> str:
    from tabulate import tabulate

    body = [[in_cell(cell) for cell in row] for row in table.body]
    return tabulate(
        body, [in_cell(key) for key in table.head], tablefmt="github", disable_numparse=True, colalign=["left"] * len(table.head)
    )


def _modality_table(modalities: Sequence[ModalityRow]) -> Table:
    rows = []
    for row in modalities:
        cells = {
            "letter": row.letter,
            "modality": row.name,
            "kind": row.kind,
            "shape": " x ".join(map(str, row.shape)),
            "missing": share(row.missing),
            "single values missing": share(row.single_values_missing),
        }
        if any(other.steps for other in modalities):
            cells["steps, median (longest)"] = f"{row.steps.median:g} ({row.steps.longest})" if row.steps else "-"
        rows.append(cells)
    return _table(rows)


def _blanks(found: Card) -> list[str]:
    said = [
        f"{count(cells, 'sample')} hold no value of {in_page(name)}, which counts as missing there." for name, cells in found.blank.items()
    ]
    return [" ".join(said), ""] if said else []


def _combination_lines(found: Card) -> list[str | Table]:
    shown = found.combinations[:MOST_COMBINATIONS]
    with_classes = len(found.classes) <= MOST_CLASSES and found.target.get("kind") != "labels"
    rows = []
    for row in shown:
        cells = {"observed": row.combination or "nothing", "samples": row.samples, "share": share(row.samples / found.samples)}
        if with_classes:
            cells |= {name: share(count / row.samples) for name, count in zip(found.classes, row.classes, strict=True)}
        rows.append(cells)
    said = f"{count(len(found.combinations), 'combination')}; {share(found.missing)} of all cells (sample x modality) are missing."
    lines: list[str | Table] = [said + (" Class columns: share of the combination's samples." if with_classes else ""), "", _table(rows)]
    rarer = len(found.combinations) - len(shown)
    return [*lines, "", f"and {rarer} rarer ones; `bench data card {found.name} --json` lists them."] if rarer else lines


def _groups(found: Card) -> str:
    text = f", {count(found.groups, 'group')}" if found.groups else ""
    if found.split:
        text += f", {found.split_kind} split " + ", ".join(f"{part} {count}" for part, count in found.split.items())
    return text


def _gaps(found: Card) -> list[str]:
    lines, little = [], found.little
    if little is not None:
        p = "< 0.001" if little.p < 0.001 else f"= {little.p:.3f}"
        verdict = "no: gaps come with other values" if little.p < ALPHA else "nothing speaks against it"
        lines.append(
            f"- **Completely at random?** {verdict.capitalize()}. Little's test over whole modalities (each as its first three principal "
            f"components): chi-square {little.chi2:.1f}, {little.df} degrees of freedom, p {p}, {little.patterns} patterns."
        )
    if found.mask is not None:
        lines.append(
            f"- **Does the mask alone predict the label?** {_predicts(found.mask)} (0.5 is chance; logistic regression on the missing "
            f"indicators of {count(len(found.modalities), 'modality', 'modalities')}, five-fold cross-validation). What a method gains "
            "over this comes from values."
        )
    if found.single_values is not None:
        seen = "in indicator columns, chosen on the training rows" if found.indicated else "only as a value that equals the training mean"
        lines.append(
            f"- **Does it, with the gaps inside modalities?** {_predicts(found.single_values)}, from {found.indicators} different "
            f"indicators of single values. Methods see such a gap {seen}."
        )
    return lines


def _predicts(score: MaskScore) -> str:
    verdict = "Yes" if score.low > 0.5 else "Not beyond chance"
    return f"{verdict}: AUROC {score.auroc:.3f}, 95 % interval {score.low:.3f} to {score.high:.3f}"


# ---- published pages


def publishable() -> list[str]:
    """Names of the file datasets that are here and whose owners allow pages about them."""
    return [name for name, dataset in file_datasets().items() if dataset.is_here and not dataset.restricted]


def publish(folder: Path, names: Iterable[str]) -> list[Path]:
    """Write one page a dataset, which names no sample unless ids are public.

    Raises: UsageError if the owners of one forbid what is derived of it.
    """
    pages = {folder / f"{bare_choice(name)}.md": _published(_allowed(name)) for name in names}
    folder.mkdir(parents=True, exist_ok=True)
    for path, text in pages.items():
        path.write_text(text, encoding="utf-8")
    return list(pages)


def stale_pages(folder: Path) -> list[dict[str, str]]:
    """Each page of a folder and its state: `ok`, `stale`, or `not here` where the data it is rendered from are not."""
    found = []
    for path in sorted(folder.glob("*.md")):
        if path.stem.partition("[")[0] not in registry.dataset_names():
            continue
        dataset = registry.dataset_of(parse_choice(path.stem))
        if isinstance(dataset, FileDataset) and not dataset.is_here:
            state = "not here"
        else:
            state = "ok" if path.read_text(encoding="utf-8") == _published(path.stem) else "stale"
        found.append({"page": str(path), "state": state})
    if not found:
        raise UsageError(f"{folder} holds no page of a dataset; `bench data card --publish {folder}` writes them")
    return found


def _allowed(name: str) -> str:
    dataset = registry.dataset_of(parse_choice(name))
    if dataset.restricted:
        raise UsageError(f"a page about {name} may not be published: {getattr(dataset, 'terms', '') or 'its owners forbid it'}")
    return name


def _published(name: str) -> str:
    text = page(card(name))
    return text if registry.dataset_of(parse_choice(name)).public_ids else without_sample_names(text)
