"""Where the numbers come from, in one line, and what forbids reading them as one experiment."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

from bench.records.record import Record, most_on_one_dataset
from bench.text import and_list


def mixtures(done: Sequence[Record]) -> list[str]:
    """What is mixed that one experiment may not mix; where there is something, no significance is claimed.

    Each dataset is of one commit, machine and device; see `most_on_one_dataset`.
    """
    found = []
    own = [record for record in done if not record.is_reproduced]  # of the others it was shown that another machine gives the same
    if any(record.provenance.dirty for record in own):
        found.append("some records come from a checkout with uncommitted changes")
    are_all = len({record.trial.dataset_label for record in own}) == 1
    for what, value in (
        ("commits" if all(map(_is_commit, own)) else "versions of bench", lambda record: record.provenance.code),
        ("hardware ids", lambda record: record.provenance.hardware_id),
        ("devices", lambda record: record.device),
    ):
        datasets, number = most_on_one_dataset(own, value)
        if datasets:
            found.append(f"records {'' if are_all else f'of {and_list(datasets)} '}come from {number} {what}")
    data: dict[str, set[str]] = defaultdict(set)
    codes_of: dict[tuple, set[str]] = defaultdict(set)
    masks: dict[tuple, set[str]] = defaultdict(set)
    for record in done:
        trial = record.trial
        data[trial.dataset_label].add(trial.fingerprint)
        codes_of[trial.label, trial.setting].add(trial.version)
        if record.test_mask and trial.vary == "training":
            masks[trial.setting].add(record.test_mask)
            for rule, evaluated in record.facts.evaluations.items():
                masks[*trial.setting, rule].add(evaluated.mask)
    changed = sorted(name for name, fingerprints in data.items() if len(fingerprints) > 1)
    if changed:
        found.append(f"records come from different versions of the data of {', '.join(changed)}")
    recoded = sorted({label for (label, _), versions in codes_of.items() if len(versions) > 1})
    if recoded:
        found.append(f"records come from different versions of the code of {', '.join(recoded)}")
    if len({record.trial.harness for record in done}) > 1:
        found.append("records come from different versions of the harness")
    if any(len(hashes) > 1 for hashes in masks.values()):
        found.append("methods of one setting were scored on different test masks")
    return found


def _is_commit(record: Record) -> bool:
    return record.provenance.commit is not None


def on_one_machine(done: Sequence[Record]) -> bool:
    """Whether timings may be compared: one machine, one kind of device, and no GPU that several trials shared, each waiting for others."""
    is_shared = any((record.provenance.per_gpu or 1) > 1 for record in done)
    return not is_shared and len({record.provenance.hardware_id for record in done}) < 2 and len({r.device for r in done} - {None}) < 2


def provenance_line(done: Sequence[Record]) -> str:
    """One line: commit, data, seeds, versions, hardware, date."""
    if not done:
        return "no finished trial"

    def values(key: str) -> str:
        return ", ".join(sorted({str(getattr(record.provenance, key)) for record in done}))

    commits = sorted({record.provenance.code[:10] for record in done if _is_commit(record)})
    state = "dirty" if any(record.provenance.dirty for record in done) else "clean"
    code = [f"commit {', '.join(commits)} ({state})"] if commits else []
    code += sorted({record.provenance.code for record in done if not _is_commit(record)})
    data = sorted({f"{record.trial.dataset_label} {record.trial.fingerprint[:8]}" for record in done})
    masks = sorted({record.test_mask for record in done if record.test_mask})
    torch = sorted({str(packages["torch"]) for record in done if "torch" in (packages := record.provenance.packages)})
    dates = sorted({str(record.facts.ended)[:10] for record in done})
    parts = [
        *code,
        f"data {', '.join(data)}",
        f"test masks {', '.join(masks) if len(masks) <= 6 else f'{len(masks)}, in records.jsonl'}",
        f"seeds {ranges({record.trial.seed for record in done})}",
        f"torch {', '.join(torch)} {values('device')}, {values('threads')} thread a trial",
        f"hardware {values('hardware_id')} ({values('hardware')})",
        *([f"bench {values('bench')}"] if commits else []),
        f"UTC {dates[0]}" + (f" to {dates[-1]}" if len(dates) > 1 else ""),
    ]
    return " | ".join(parts)


def ranges(seeds: Iterable[int]) -> str:
    """Seeds as ranges: 0-4, 7."""
    texts: list[list[int]] = []
    for seed in sorted(seeds):
        if texts and texts[-1][1] == seed - 1:
            texts[-1][1] = seed
        else:
            texts.append([seed, seed])
    return ", ".join(str(a) if a == b else f"{a}-{b}" for a, b in texts)
