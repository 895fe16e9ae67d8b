"""3Sources, real: 416 news stories told by up to three papers, a paper being a modality that is absent where it did not report.

Source:     Greene and Cunningham 2009 (ECML PKDD), mlg.ucd.ie/datasets/3sources.html: stories of February to April 2009 in term counts.
Licence:    research and other non-commercial use; the articles belong to their authors and come as counts alone.
Sizes:      416 stories, 948 articles: bbc 352, guardian 302, reuters 294. Classes: the dominant topic of a story, as the authors judged
            it (50 stories have several): business 104, entertainment 60, health 54, politics 49, sport 89, tech 60.
Modalities: B bbc, G guardian, R reuters: counts of 3560, 3631 and 3068 stemmed terms.
Learnt:     of each paper the words=512 that most training articles hold, as log(1 + count), each article to unit length.
Missing:    natural, and the textbook case of incomplete views: B 15.4 %, G 27.4 %, R 29.3 %; three papers tell 169 stories, two 194,
            one 53.
Split:      none official; 70/15/15 by whole groups, so not by class. A group is a story, but for two pairs that share an article (19 = 294
            and 315 = 322): each pair is one, or a test article would be among the training articles.
Metrics:    about 62 test rows and six classes: read many seeds with `vary = "split"`, and macro-F1 beside accuracy.
Traps:      the authors chose stems (three uses or more) on all articles, before any split. Stories are numbered by date, so numbers are no
            inputs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from bench.datasets.base import DataError, Modality, Samples, Schema
from bench.datasets.files import FileDataset, Report
from bench.datasets.safe import read_text
from bench.datasets.tables import Table
from bench.datasets.vocabulary import checked_size, commonest, unit_length

VIEWS = {"bbc": "B", "guardian": "G", "reuters": "R"}  # name: letter
TOPICS = ("business", "entertainment", "health", "politics", "sport", "tech")
HEADER = "%%MatrixMarket matrix coordinate real general"
LARGEST = 2**26  # cells of one matrix; ours have 1.3 million


class ThreeSources(FileDataset):
    name = "three-sources"
    folder = "three_sources"
    files = (
        "3sources.disjoint.clist",
        "3sources_bbc.docs", "3sources_bbc.mtx", "3sources_bbc.terms",
        "3sources_guardian.docs", "3sources_guardian.mtx", "3sources_guardian.terms",
        "3sources_reuters.docs", "3sources_reuters.mtx", "3sources_reuters.terms",
    )  # fmt: skip
    title = "topics of news stories told by three papers, 3Sources (real, natural gaps)"
    source = "3Sources, Greene and Cunningham 2009, ECML PKDD, A Matrix Factorization Approach for Integrating Multiple Data Views"
    licence = "research and non-commercial use"
    obtain = "Get the files of 3Sources from mlg.ucd.ie/datasets/3sources.html, or of Datasets/3sources in github.com/Anu-Gamage/C-RSP."
    terms = "Research and non-commercial use. Cite Greene and Cunningham 2009; the articles belong to their authors."
    checksums = {
        "3sources.disjoint.clist": "707d4117c30d341aa3e5b4763acd782b850b07e011451c9edb6ae2a1244ab9ef",
        "3sources_bbc.docs": "4a1090ea173194d35cc8c3e3372e047bed7f3efb5ef3146e9f8563cea1222f87",
        "3sources_bbc.mtx": "1a5c78fbf34b885769c55b965c75cf60c83ff26f8822f6684e0a592a7b99b918",
        "3sources_bbc.terms": "08b56df9a41e4f102712c79d5278112947e46809b0923906f259ff2f01dd778b",
        "3sources_guardian.docs": "b7c4dd740e85d3ffd02c8d3a45af40894de31cfd83dd52c2723543915acc1343",
        "3sources_guardian.mtx": "4d116076e905919727e494833c36cf42a81caca2937b3ae23a49de1c7dc1b56a",
        "3sources_guardian.terms": "ea903a64e56b71e7003d872a2ea526b9da7669ac57217dc104cb4e2f9998172f",
        "3sources_reuters.docs": "30fafd04987ccd2625e541587c4e01f9f36c35e438f01cb105fd04b891cc50eb",
        "3sources_reuters.mtx": "88e128379e62223023781b8c1ab1268d1841b9f91ea959fbe2231602a950285e",
        "3sources_reuters.terms": "90d76e7bdf961f13d0dbf066a201bc8d9006b1e02ea49e0fc7514ec552287a25",
    }
    options = {"words": 512}
    words: int

    def __init__(self, **options: object) -> None:
        super().__init__(**options)
        checked_size("words", self.words)

    def read(self, folder: Path, report: Report) -> Samples:
        topic_of = read_topics(folder / "3sources.disjoint.clist")
        stories = np.array(sorted(topic_of))
        values = {}
        for step, view in enumerate(VIEWS):
            report(step, len(VIEWS), f"reading 3sources_{view}.mtx")
            told = read_stories(folder / f"3sources_{view}.docs", stories)
            terms = len(_lines(folder / f"3sources_{view}.terms"))
            values[view] = np.full((len(stories), terms), np.nan, dtype=np.float32)
            values[view][np.searchsorted(stories, told)] = read_counts(folder / f"3sources_{view}.mtx", len(told), terms)
        observed = np.stack([~np.isnan(array).all(1) for array in values.values()], axis=1)
        if not observed.any(1).all():
            untold = stories[~observed.any(1)][0]
            raise DataError(f"story {untold:03d} of 3sources.disjoint.clist is in no .docs file; one of them is cut short")
        return Samples(
            Schema(tuple(Modality(view, letter, "vector", values[view].shape[1:]) for view, letter in VIEWS.items()), TOPICS),
            values,
            observed,
            target=np.array([topic_of[story] for story in stories.tolist()]),
            ids=np.array([f"story-{story:03d}" for story in stories]),
            groups=np.array([f"story-{story:03d}" for story in stories[same_article(values, observed)]]),
        )

    def learn(self, train: Samples) -> Callable[[Samples], Samples]:
        kept = {view: commonest(train.values[view], self.words) for view in train.schema.names}

        def weigh(samples: Samples) -> Samples:
            return samples.with_values({view: unit_length(np.log1p(samples.values[view][:, columns])) for view, columns in kept.items()})

        return weigh


def read_topics(path: Path) -> dict[int, int]:
    """Story -> position of its topic in `TOPICS`, from lines `name, 001,002,...`. Raises: DataError."""
    found: dict[int, int] = {}
    for line, text in _lines(path):
        name, _, rest = text.partition(",")
        if name not in TOPICS:
            raise DataError(f"{path.name} line {line} must begin with one of {', '.join(TOPICS)} and a comma, got {name[:40]!r}")
        for cell in rest.split(","):
            story = _story(path, line, cell)
            if story in found:
                raise DataError(f"{path.name} line {line}: story {story:03d} comes twice; every story has one topic")
            found[story] = TOPICS.index(name)
    absent = [topic for topic in TOPICS if TOPICS.index(topic) not in found.values()]
    if absent:
        raise DataError(f"{path.name} has no story of {', '.join(absent)}; it is cut short")
    return found


def read_stories(path: Path, known: np.ndarray) -> np.ndarray:
    """The story of each article of a paper, all of them `known`. Shapes: -> (articles,) int64. Raises: DataError."""
    found: dict[int, int] = {}
    for line, text in _lines(path):
        story = _story(path, line, text)
        if story in found:
            raise DataError(f"{path.name} line {line}: story {story:03d} comes twice; a paper has one article of a story")
        if story not in known:
            raise DataError(f"{path.name} line {line}: story {story:03d} has no topic in 3sources.disjoint.clist")
        found[story] = line
    return np.array(list(found), dtype=np.int64)


def read_counts(path: Path, articles: int, terms: int) -> np.ndarray:
    """Counts of a Matrix Market file, a line for each term of each article. Shapes: -> (articles, terms) float32.

    Raises: DataError if its sizes are others, an entry is no count or stands twice, or it is cut short.
    """
    lines = _lines(path)
    if lines[0][1].split() != HEADER.split():
        raise DataError(f"{path.name} line {lines[0][0]} must read {HEADER!r}, got {lines[0][1][:60]!r}")
    rows = [(line, text.split()) for line, text in lines[1:] if not text.startswith("%")]
    for line, cells in rows:
        if len(cells) != 3:
            raise DataError(f"{path.name} line {line} must hold three numbers, got {len(cells)}; it is damaged or cut short")
    if not rows:
        raise DataError(f"{path.name} holds nothing but its first line; it is cut short")
    table = Table(
        path, ("term", "article", "count"), np.array([cells for _, cells in rows], dtype=object), np.array([at for at, _ in rows])
    )
    (sizes, *_), entries = table.numbers(), table.numbers()[1:]
    if sizes.tolist() != [terms, articles, len(entries)]:
        raise DataError(
            f"{table.where(0)} must state {terms} terms, {articles} articles (so many have its .terms and .docs file) and {len(entries)} "
            f"entries (so many follow), got {' '.join(table.cells[0])}; one of the files is damaged or cut short"
        )
    if terms * articles > LARGEST:
        raise DataError(f"{path.name} states {terms} x {articles} cells, more than the {LARGEST} such a matrix may have")
    term, article, count = entries.T
    wrong = (entries != np.floor(entries)).any(1) | (term < 1) | (term > terms) | (article < 1) | (article > articles) | (count < 1)
    if wrong.any():
        row = int(wrong.argmax()) + 1
        raise DataError(
            f"{table.where(row)} must hold a term from 1 to {terms}, an article from 1 to {articles} and a count from 1, "
            f"got {' '.join(table.cells[row])}"
        )
    places = (article.astype(np.int64) - 1) * terms + term.astype(np.int64) - 1
    first = np.unique(places, return_index=True)[1]
    if len(first) < len(places):
        again = int(np.setdiff1d(np.arange(len(places)), first)[0])
        raise DataError(f"{table.where(again + 1)} holds a second count of a term in an article")
    counts = np.zeros(articles * terms, dtype=np.float32)
    counts[places] = count
    return counts.reshape(articles, terms)


def same_article(values: Mapping[str, np.ndarray], observed: np.ndarray) -> np.ndarray:
    """The first row that shares an article with a row, in whichever paper; itself if there is none. Shapes: -> (N,) int64."""
    group = np.arange(len(observed))
    for column, array in enumerate(values.values()):
        rows = np.flatnonzero(observed[:, column])
        article = np.unique(array[rows], axis=0, return_inverse=True)[1].ravel()
        for twice in np.flatnonzero(np.bincount(article) > 1):
            twins = np.isin(group, group[rows[article == twice]])
            group[twins] = group[twins].min()
    return group


def _lines(path: Path) -> list[tuple[int, str]]:
    """Lines of a text that hold something, with their numbers. Raises: DataError."""
    found = [(number, text.strip()) for number, text in enumerate(read_text(path).splitlines(), start=1) if text.strip()]
    if not found:
        raise DataError(f"{path.name} is empty; get the file anew")
    return found


def _story(path: Path, line: int, text: str) -> int:
    if not (text.strip().isascii() and text.strip().isdigit() and len(text.strip()) <= 6):
        raise DataError(f"{path.name} line {line} must hold numbers of stories, such as 019, got {text.strip()[:40]!r}")
    return int(text)
