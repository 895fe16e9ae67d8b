"""The datasets as data: a line and a page about each, and published pages checked against the data.

What `bench data card` does, as Python functions; the command line only prints what they return.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from bench import registry
from bench.data.files import file_datasets
from bench.datasets.base import Dataset, Samples
from bench.datasets.files import FileDataset, prepared_copies
from bench.errors import UsageError
from bench.names import Choice, parse_choice
from bench.stats.levels import ALPHA
from bench.text import share

MOST_COMBINATIONS = 40  # rows of a page's table; the JSON holds them all
MOST_CLASSES = 5  # columns of that table


def outline(name: str) -> dict[str, Any]:
    """One line about a dataset for `bench list datasets`; of one whose files are not here, what is known without them."""
    from bench.data.loading import load

    dataset = registry.dataset_of(Choice(name))
    row: dict[str, Any] = {"name": name, "samples": None, "classes": None, "modalities": None, "title": dataset.title, "here": True}
    if isinstance(dataset, FileDataset):
        if not dataset.is_here:
            return {**row, "here": False}
        if (dataset.prepared_folder / "meta.json").is_file():
            meta = dict(prepared_copies(dataset)).get(dataset.prepared_folder)
            if meta is not None:
                described = ", ".join(f"{m['letter']} {m['name']} {m['kind']} {'x'.join(map(str, m['shape']))}" for m in meta["modalities"])
                return {**row, "samples": meta["rows"], "classes": len(meta["classes"]), "modalities": described}
    try:
        _, samples = load(Choice(name))
    except UsageError:
        return {**row, "here": False}
    described = ", ".join(f"{m.letter} {m.name} {m.kind} {'x'.join(map(str, m.shape))}" for m in samples.schema)
    return {**row, "samples": len(samples), "classes": len(samples.schema.classes), "modalities": described}


# ---- the page about a dataset


def card(text: str) -> dict[str, Any]:
    """What is known and measured about a dataset: facts, sizes, gaps, and what the gaps give away. Raises: UsageError."""
    from bench.data.loading import load
    from bench.data.missingness import indicators, little_test, mask_score, summaries

    dataset, samples = load(parse_choice(text))
    whole, single = indicators(samples)
    little = little_test(summaries(samples)) if whole.any() else None
    mask, values = (mask_score(samples, missing, dataset.keeps_groups) if missing.any() else None for missing in (whole, single))
    return {
        "name": text,
        "title": dataset.title,
        "synthetic": dataset.synthetic,
        "facts": facts_of(dataset),
        "samples": len(samples),
        "classes": dict(
            zip(samples.schema.classes, np.bincount(samples.target, minlength=len(samples.schema.classes)).tolist(), strict=True)
        ),
        "groups": None if samples.groups is None else len(np.unique(samples.groups)),
        "split": None
        if samples.split is None
        else {part: int((samples.split == part).sum()) for part in np.unique(samples.split).tolist()},
        "modalities": [_modality(samples, position) for position in range(len(samples.schema))],
        "missing": float(1 - samples.observed.mean()),
        "combinations": _combinations(samples),
        "little": None if little is None else asdict(little),
        "mask": None if mask is None else asdict(mask),
        "single_values": None if values is None else {"indicators": single.shape[1], **asdict(values)},
        "fingerprint": samples.fingerprint(),
    }


def facts_of(dataset: Dataset) -> dict[str, str]:
    """The facts on top of a dataset's file (`Source: ...`), then how to obtain it and its terms."""
    page = sys.modules[type(dataset).__module__].__doc__ or ""
    found = {
        key: " ".join(text.split()) for key, text in re.findall(r"^([A-Z][a-z]+):((?:.*\n)(?:[ \t]+.*\n)*)", page + "\n", re.MULTILINE)
    }
    found = {"Source": dataset.source, "Licence": dataset.licence, **found}
    if isinstance(dataset, FileDataset):
        found |= {"Obtain": dataset.obtain, "Terms": dataset.terms}
    return found


def _modality(samples: Samples, position: int) -> dict[str, Any]:
    modality = samples.schema.modalities[position]
    rows = samples.observed[:, position]
    values, single = samples.values[modality.name][rows], 0.0
    if modality.name in samples.lengths:
        lengths = samples.lengths[modality.name][rows]
        values = values[np.arange(modality.shape[0]) < lengths[:, None]]
    if values.size:
        single = float(np.isnan(values).mean())
    entry = {
        "letter": modality.letter,
        "name": modality.name,
        "kind": modality.kind,
        "shape": list(modality.shape),
        "missing": float(1 - rows.mean()),
        "single_values_missing": single,
    }
    if modality.name in samples.lengths and len(lengths):
        entry["steps"] = {"median": float(np.median(lengths)), "longest": int(lengths.max())}
    return entry


def _combinations(samples: Samples) -> list[dict[str, Any]]:
    """Which modalities are observed together, most frequent first, with class counts."""
    patterns, member, counts = np.unique(samples.observed, axis=0, return_inverse=True, return_counts=True)
    classes = np.zeros((len(patterns), len(samples.schema.classes)), dtype=np.int64)
    np.add.at(classes, (member.ravel(), samples.target), 1)
    letters = np.array(list(samples.schema.combination))
    return [
        {"combination": "".join(letters[patterns[k]]), "samples": int(counts[k]), "classes": classes[k].tolist()}
        for k in sorted(range(len(patterns)), key=lambda k: (-counts[k], (~patterns[k]).tolist()))
    ]


def page(found: Mapping[str, Any]) -> str:
    """A card as markdown; the same card gives the same bytes."""
    from tabulate import tabulate

    def table(rows: list[dict[str, Any]]) -> str:
        return tabulate(rows, headers="keys", tablefmt="github", disable_numparse=True, colalign=["left"] * len(rows[0]))

    classes, gaps = list(found["classes"]), found["missing"] > 0
    sizes = [{"class": name, "samples": count, "share": share(count / found["samples"])} for name, count in found["classes"].items()]
    modalities = [
        {
            "letter": m["letter"],
            "modality": m["name"],
            "kind": m["kind"],
            "shape": " x ".join(map(str, m["shape"])),
            "missing": share(m["missing"]),
            "single values missing": share(m["single_values_missing"]),
            **({"steps, median (longest)": f"{m['steps']['median']:g} ({m['steps']['longest']})" if "steps" in m else "-"}
               if any("steps" in other for other in found["modalities"]) else {}),
        }
        for m in found["modalities"]
    ]  # fmt: skip
    shown = found["combinations"][:MOST_COMBINATIONS]
    rows = [
        {
            "observed": c["combination"] or "nothing",
            "samples": c["samples"],
            "share": share(c["samples"] / found["samples"]),
            **({name: share(count / c["samples"]) for name, count in zip(classes, c["classes"], strict=True)}
               if len(classes) <= MOST_CLASSES else {}),
        }
        for c in shown
    ]  # fmt: skip
    hidden = len(found["combinations"]) - len(shown)
    lines = [
        f"# {found['name']}",
        "",
        f"{found['title'][:1].upper()}{found['title'][1:]}. Written by `bench data card`: change the data or the code, not this page.",
        "",
        *(f"- **{key}.** {text}" for key, text in found["facts"].items()),
        "",
        "## Samples",
        "",
        f"{found['samples']} samples, {len(classes)} classes{_groups(found)}.",
        "",
        table(sizes),
        "",
        "## Modalities",
        "",
        "*Missing*: the whole modality is not observed. *Single values missing*: share of NaN inside observed ones.",
        "",
        table(modalities),
        "",
        "## Observed combinations",
        "",
        *(
            [
                f"{len(found['combinations'])} combinations; {share(found['missing'])} of all cells (sample x modality) are missing."
                + (" Class columns: share of the combination's samples." if len(classes) <= MOST_CLASSES else ""),
                "",
                table(rows),
                *(["", f"and {hidden} rarer ones; `bench data card {found['name']} --json` lists them."] if hidden else []),
            ]
            if gaps
            else ["Every sample observes every modality: there are no natural gaps."]
        ),
        "",
        *(["## What the gaps say", "", *_gaps(found), ""] if gaps or found["single_values"] else []),
        f"Fingerprint of the samples: `{found['fingerprint']}`.",
        "",
    ]
    return "\n".join(lines)


def _groups(found: Mapping[str, Any]) -> str:
    text = f", {found['groups']} groups" if found["groups"] else ""
    if found["split"]:
        text += ", official split " + ", ".join(f"{part} {count}" for part, count in sorted(found["split"].items(), reverse=True))
    return text


def _gaps(found: Mapping[str, Any]) -> list[str]:
    little, mask, single = found["little"], found["mask"], found["single_values"]
    lines = []
    if little is not None:
        p = "< 0.001" if little["p"] < 0.001 else f"= {little['p']:.3f}"
        verdict = "no: gaps come with other values" if little["p"] < ALPHA else "nothing speaks against it"
        lines.append(
            f"- **Completely at random?** {verdict.capitalize()}. Little's test over whole modalities (each as its first three principal "
            f"components): chi-square {little['chi2']:.1f}, {little['df']} degrees of freedom, p {p}, {little['patterns']} patterns."
        )
    if mask is not None:
        lines.append(
            f"- **Does the mask alone predict the label?** {_predicts(mask)} (0.5 is chance; logistic regression on the missing indicators "
            f"of the {len(found['modalities'])} modalities, five-fold cross-validation). What a method gains over this comes from values."
        )
    if single is not None:
        lines.append(
            f"- **Does it, with the gaps inside modalities?** {_predicts(single)}, from {single['indicators']} different indicators of "
            "single values. Methods see such a gap only as a value that equals the training mean."
        )
    return lines


def _predicts(score: Mapping[str, float]) -> str:
    verdict = "Yes" if score["low"] > 0.5 else "Not beyond chance"
    return f"{verdict}: AUROC {score['auroc']:.3f}, 95 % interval {score['low']:.3f} to {score['high']:.3f}"


# ---- published pages


def publishable() -> list[str]:
    """Names of the file datasets that are here and whose owners allow pages about them."""
    return [name for name, dataset in file_datasets().items() if dataset.is_here and not dataset.restricted]


def publish(folder: Path, names: Iterable[str]) -> list[Path]:
    """Write one page a dataset. Raises: UsageError if the owners of one forbid what is derived of it."""
    pages = {folder / f"{name}.md": page(card(_allowed(name))) for name in names}
    folder.mkdir(parents=True, exist_ok=True)
    for path, text in pages.items():
        path.write_text(text, encoding="utf-8")
    return list(pages)


def stale_pages(folder: Path) -> list[dict[str, Any]]:
    """Each page of a folder and its state: `ok`, `stale`, or `not here` where the data it is rendered from are not."""
    found = []
    for path in sorted(folder.glob("*.md")):
        if path.stem.partition("[")[0] not in registry.dataset_names():
            continue
        dataset = registry.dataset_of(parse_choice(path.stem))
        if isinstance(dataset, FileDataset) and not dataset.is_here:
            state = "not here"
        else:
            state = "ok" if path.read_text(encoding="utf-8") == page(card(path.stem)) else "stale"
        found.append({"page": str(path), "state": state})
    if not found:
        raise UsageError(f"{folder} holds no page of a dataset; `bench data card --publish {folder}` writes them")
    return found


def _allowed(name: str) -> str:
    dataset = registry.dataset_of(parse_choice(name))
    if isinstance(dataset, FileDataset) and dataset.restricted:
        raise UsageError(f"a page about {name} may not be published: {dataset.terms}")
    return name
