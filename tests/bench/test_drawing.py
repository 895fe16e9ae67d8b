"""bench/drawing.py: what would stop a plot is said before the work that it would show."""

import sys

import pytest

from bench.drawing import check_plot, missing
from bench.errors import UsageError


def test_absent_matplotlib_is_said_with_the_way_on(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert missing() == "matplotlib is not installed; pip install 'missing-modality-bench[plot]'"
    with pytest.raises(UsageError, match="no plot can be drawn: matplotlib is not installed"):
        check_plot(tmp_path / "curves.svg")


@pytest.mark.parametrize(
    ("name", "words"), [("curves.txt", "a file ending in .png, .pdf, .svg, got"), ("gone/curves.png", "does not exist")]
)
def test_plot_that_could_not_be_written_is_refused_ahead(tmp_path, name, words):
    with pytest.raises(UsageError, match=words):
        check_plot(tmp_path / name)


def test_plot_that_can_be_drawn_passes(tmp_path):
    pytest.importorskip("matplotlib")
    assert missing() is None
    check_plot(tmp_path / "curves.pdf")
