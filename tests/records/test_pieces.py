"""bench/records/pieces.py and stacked.py: large files of a published folder lie in pieces, and everyone reads both forms."""

import gzip
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from bench.cli import main
from bench.errors import UsageError
from bench.leaderboard import checked, publish, rescore
from bench.leaderboard import write as render
from bench.leaderboard.folder import board_of
from bench.leaderboard.site import published_data
from bench.records import pieces, stacked
from bench.records.folder import Folder, answers_of
from bench.records.glance import glance
from bench.records.predictions import Predictions

QUICK = Path(__file__).parents[2] / "leaderboards" / "quick"
LIMIT = 100_000  # of a file: the predictions of a setting of `quick` fit, those of two do not
PAGES = ("table.csv", "table.tex", "significance.json")


def set_limit(monkeypatch, most):
    monkeypatch.setattr(pieces, "MOST_PLAIN", most)
    monkeypatch.setattr(pieces, "MOST_BYTES", most)
    monkeypatch.setattr(stacked, "MOST_PREDICTED", most)


@pytest.fixture
def limit(monkeypatch):
    """Publishing cuts files above this size."""
    return lambda most: set_limit(monkeypatch, most)


@pytest.fixture(scope="module")
def once(tmp_path_factory):
    """The board `quick`, cut."""
    folder = tmp_path_factory.mktemp("once") / "quick"
    with pytest.MonkeyPatch.context() as monkeypatch:
        set_limit(monkeypatch, LIMIT)
        publish(folder, answers_of("", QUICK), draw=False)
    return folder


@pytest.fixture
def folder(once, tmp_path, limit):
    """A copy of it."""
    limit(LIMIT)
    shutil.copytree(once, tmp_path / "quick")
    return tmp_path / "quick"


def cut_files(folder):
    return sorted(path.relative_to(folder).as_posix() for kind in ("records", "predictions") for path in (folder / kind).glob("*"))


def told(folder):
    answers = answers_of("", folder)
    arrays = {id_: {name: a.tolist() for name, a in found.named().items()} for id_, found in answers.predictions.items()}
    return answers.suite, list(answers.records), answers.audits, answers.commands, arrays


def test_board_in_pieces_says_what_it_said_in_one(folder):
    assert not (folder / "records.jsonl").exists()
    assert not (folder / "predictions.npz").exists()
    assert {"records/001.jsonl.gz", "records/002.jsonl.gz", "predictions/001.npz", "predictions/002.npz"} < set(cut_files(folder))
    assert max((folder / name).stat().st_size for name in cut_files(folder)) <= LIMIT
    assert told(folder) == told(QUICK)
    for name in PAGES:
        assert (folder / name).read_bytes() == (QUICK / name).read_bytes()


def test_pages_say_what_is_cut_and_a_check_finds_nothing(folder):
    page = (folder / "README.md").read_text(encoding="utf-8")
    assert "`records.jsonl` is compressed and cut into numbered pieces, `records/001.jsonl.gz` and on." in page
    assert "`predictions.npz` is cut into numbered pieces, `predictions/001.npz` and on." in page
    assert not checked(folder).stale
    render(folder, draw=False)
    assert (folder / "README.md").read_text(encoding="utf-8") == page
    found = CliRunner().invoke(main, ["leaderboard", "--check", str(folder)])
    assert (found.exit_code, found.output) == (0, f"ok     {folder}  \n")


def test_small_board_stays_in_one_file_each(tmp_path):
    publish(tmp_path / "quick", answers_of("", QUICK), draw=False)
    assert cut_files(tmp_path / "quick") == []
    with np.load(tmp_path / "quick" / "predictions.npz") as mine, np.load(QUICK / "predictions.npz") as theirs:
        assert mine.files == theirs.files
        assert all(mine[name].tolist() == theirs[name].tolist() for name in mine.files)


def test_same_board_makes_the_same_bytes_whenever_it_is_written(folder, tmp_path, limit, monkeypatch):
    monkeypatch.setattr("time.time", lambda: 2_000_000_000.0)
    publish(tmp_path / "again" / "quick", answers_of("", QUICK), draw=False)
    for name in cut_files(folder):
        assert (tmp_path / "again" / "quick" / name).read_bytes() == (folder / name).read_bytes()


def test_pieces_that_an_earlier_version_wrote_in_plain_text_are_read(folder):
    for path in (folder / "records").iterdir():
        path.with_suffix("").write_bytes(gzip.decompress(path.read_bytes()).replace(b"records.jsonl.gz", b"records.jsonl"))
        path.unlink()
    assert told(folder) == told(QUICK)
    assert pieces.published_in(folder.parent) == [folder]


HEAD = gzip.compress(b"{}\n" * 10, mtime=0)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"{}\n", "is damaged"),
        (HEAD[:-3], "is cut off"),
        (HEAD[:12] + b"\xff\xff" + HEAD[14:], "is damaged"),
        (HEAD + b"more", "has bytes behind its end"),
        (HEAD + HEAD, "has bytes behind its end"),
        (gzip.compress(b" " * 3_000_000), "holds more than 2 MB"),
    ],
    ids=["plain text", "cut off", "broken", "bytes behind", "second member", "bomb"],
)
def test_piece_that_nobody_here_wrote_is_refused_and_never_unpacked_whole(folder, data, reason, monkeypatch):
    monkeypatch.setattr(pieces, "MOST_UNPACKED", 2_000_000)
    (folder / "records" / "002.jsonl.gz").write_bytes(data)
    with pytest.raises(UsageError, match=rf"002\.jsonl\.gz {reason}.*publish it again"):
        Folder(folder)


@pytest.mark.parametrize("small_first", [True, False])
def test_publishing_again_leaves_nothing_of_the_other_form(folder, tmp_path, limit, small_first):
    other = tmp_path / "other" / "quick"
    other.parent.mkdir()
    for most in (10**9, LIMIT) if small_first else (LIMIT, 10**9):
        limit(most)
        publish(other, answers_of("", folder), draw=False)
    assert (cut_files(other) == cut_files(folder)) if small_first else (cut_files(other) == [])
    assert (other / "records.jsonl").exists() != small_first
    assert not [path.name for path in other.iterdir() if path.name.startswith(".")]
    assert told(other) == told(QUICK)


def test_folder_may_be_published_onto_itself(folder, limit):
    for most in (10**9, LIMIT):
        limit(most)
        publish(folder, answers_of("", folder), draw=False)
        assert told(folder) == told(QUICK)
        assert not checked(folder).stale
    publish(folder, answers_of("", folder), draw=False, predictions=False)
    assert not (folder / "predictions").exists()
    assert checked(folder).stale == ()
    assert (folder / "significance.json").read_bytes() == (QUICK / "significance.json").read_bytes()


@pytest.mark.parametrize("kind", ["records", "predictions"])
@pytest.mark.parametrize("place", ["first", "middle", "last"])
def test_lost_piece_is_missed(folder, kind, place):
    names = [name for name in cut_files(folder) if name.startswith(kind)]
    assert len(names) > 2
    (folder / names[{"first": 0, "middle": 1, "last": -1}[place]]).unlink()
    with pytest.raises(UsageError, match=r"cannot be read.*publish it again"):
        list(answers_of("", folder).predictions)


def test_folder_with_compressed_and_plain_pieces_is_refused(folder):
    (folder / "records" / "001.jsonl").write_bytes(b"")
    with pytest.raises(UsageError, match=r"it has both records/001\.jsonl and records/001\.jsonl\.gz, of which one is left over"):
        Folder(folder)


def test_folder_with_both_forms_is_refused(folder):
    shutil.copy(QUICK / "records.jsonl", folder / "records.jsonl")
    with pytest.raises(
        UsageError, match=r"it has both records\.jsonl and records/001\.jsonl\.gz, of which one is left over; publish it again"
    ):
        Folder(folder)


def test_records_in_pieces_are_rescored_where_they_lie(folder):
    path = folder / "records" / "002.jsonl.gz"
    lines = [json.loads(line) for line in gzip.decompress(path.read_bytes()).splitlines()]
    lines[0]["metrics"]["accuracy"] += 0.5
    path.write_bytes(gzip.compress("".join(json.dumps(line, sort_keys=True) + "\n" for line in lines).encode()))
    assert path in checked(folder).stale
    assert rescore(folder) == [lines[0]["id"]]
    assert not [one for one in checked(folder).stale if one.parent.name == "records"]
    assert told(folder)[4] == told(QUICK)[4]
    assert [r.metrics for r in answers_of("", folder).records] == [r.metrics for r in answers_of("", QUICK).records]


def test_whoever_looks_for_boards_finds_those_in_pieces(folder):
    assert pieces.published_in(folder.parent) == [folder]
    assert pieces.published_in(folder.parent / "absent") == []
    assert glance("", folder) == glance("", QUICK)
    mine, theirs = (published_data(one) for one in (folder, QUICK))
    assert mine["trials"] == theirs["trials"]
    assert board_of(folder).overall[0].rows == board_of(QUICK).overall[0].rows


def test_more_than_a_thousand_pieces_keep_their_order(tmp_path, limit):
    limit(1)
    lines = [f"{{{number}}}" for number in range(1200)]
    assert pieces.write_lines(tmp_path, lines) == {"records.jsonl.gz": 1200}
    assert list(pieces.lines(tmp_path)) == lines


def test_setting_that_fits_a_file_is_not_split_over_two(tmp_path, limit):
    def one(seed, rows):
        return Predictions(np.arange(rows).astype(str), np.zeros(rows, int), np.full((rows, 2), seed, np.float32))

    batches = [{f"{part}{seed}": one(seed, 100) for seed in range(3)} for part in "abc"]
    limit(stacked.size_of(batches[0]) + 100)
    assert stacked.write_predictions(tmp_path, batches, [id_ for batch in batches for id_ in batch]) == 3
    files = stacked.StackedFiles(tmp_path)
    assert list(files.of(["c1", "a0", "absent", "b2"])) == ["c1", "a0", "b2"]
    assert len(files.read) == stacked.KEPT_FILES
    with np.load(tmp_path / "predictions" / "002.npz") as arrays:
        assert arrays["0/trials"].tolist() == ["b0", "b1", "b2"]


def test_board_that_grows_by_settings_keeps_its_pieces_but_the_last(tmp_path, limit):
    def grown(name, settings):
        batches = [
            {
                f"{part}{seed}": Predictions(np.arange(50).astype(str), np.zeros(50, int), np.full((50, 2), seed, np.float32))
                for seed in range(3)
            }
            for part in settings
        ]
        (tmp_path / name).mkdir()
        stacked.write_predictions(tmp_path / name, batches, [id_ for batch in batches for id_ in batch])
        return [path.read_bytes() for path in sorted((tmp_path / name / "predictions").iterdir())]

    limit(4_000)
    before, after = grown("before", "abcd"), grown("after", "abcdefgh")
    assert len(after) > len(before) > 1
    assert after[: len(before) - 1] == before[:-1]


def test_setting_larger_than_a_file_is_split(tmp_path, limit):
    batch = {str(seed): Predictions(np.array(["a"]), np.array([0]), np.full((1, 2), seed, np.float32)) for seed in range(10)}
    limit(stacked.size_of(batch) // 3)
    assert stacked.write_predictions(tmp_path, [batch], batch) > 2
    found = stacked.StackedFiles(tmp_path).of(batch)
    assert {id_: one.outputs[0, 0] for id_, one in found.items()} == {id_: one.outputs[0, 0] for id_, one in batch.items()}


def test_withheld_predictions_of_a_board_in_pieces_stay_out(tmp_path, limit):
    limit(LIMIT)
    publish(tmp_path / "quick", answers_of("", QUICK), draw=False, predictions=False)
    assert {name.partition("/")[0] for name in cut_files(tmp_path / "quick")} == {"records"}
    assert checked(tmp_path / "quick").stale == ()
    page = (tmp_path / "quick" / "README.md").read_text(encoding="utf-8")
    assert "**Predictions are not published.**" in page
    assert "`records.jsonl` is compressed and cut into numbered pieces" in page
    assert "`predictions.npz` is cut" not in page


@pytest.fixture
def large_tests(tmp_path, monkeypatch):
    """The board `quick`, whose tests are as large as those of a board of ten datasets."""
    monkeypatch.setattr(pieces, "MOST_TEXT", LIMIT)
    publish(tmp_path / "quick", answers_of("", QUICK), draw=False)
    return tmp_path / "quick"


def test_tests_of_a_large_board_are_compressed_and_read_as_they_were(large_tests):
    assert not (large_tests / "significance.json").exists()
    packed = large_tests / "significance.json.gz"
    assert gzip.decompress(packed.read_bytes()) == (QUICK / "significance.json").read_bytes()
    assert pieces.text_of(large_tests / "significance.json") == (QUICK / "significance.json").read_text(encoding="utf-8")
    assert checked(large_tests).stale == ()
    mine, theirs = (published_data(one) for one in (large_tests, QUICK))
    assert {key for key in theirs if mine[key] != theirs[key]} <= {"source", "option"}


def test_tests_of_another_board_or_in_both_forms_are_stale(large_tests):
    packed = large_tests / "significance.json.gz"
    text = gzip.decompress(packed.read_bytes())
    for data in (gzip.compress(text.replace(b"0.05", b"0.06", 1)), packed.read_bytes()[:-9], b""):
        packed.write_bytes(data)
        assert [path.name for path in checked(large_tests).stale] == ["significance.json"]
    with pytest.raises(UsageError, match=r"significance\.json cannot be read"):
        published_data(large_tests)
    render(large_tests, draw=False)
    assert checked(large_tests).stale == ()
    (large_tests / "significance.json").write_bytes(text)
    assert [path.name for path in checked(large_tests).stale] == ["significance.json"]


@pytest.mark.parametrize("most", [LIMIT, 10**9])
def test_rendering_again_leaves_one_form_of_the_tests(large_tests, monkeypatch, most):
    monkeypatch.setattr(pieces, "MOST_TEXT", most)
    render(large_tests, draw=False)
    assert [path.name for path in large_tests.glob("significance.json*")] == [
        "significance.json" if most > LIMIT else "significance.json.gz"
    ]
    assert checked(large_tests).stale == ()


def test_large_tests_without_predictions_are_held_to_their_hash(large_tests, tmp_path):
    publish(tmp_path / "bare" / "quick", answers_of("", large_tests), draw=False, predictions=False)
    packed = tmp_path / "bare" / "quick" / "significance.json.gz"
    assert checked(packed.parent).stale == ()
    packed.write_bytes(gzip.compress(b"{}"))
    assert checked(packed.parent).stale == (packed,)
