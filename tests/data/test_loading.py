"""bench/data/loading.py: samples are looked at where they enter, once, for whoever asks."""

from dataclasses import replace

import numpy as np
import pytest

from bench import registry
from bench.data import card, loading
from bench.data.loading import load
from bench.data.parts import build_parts
from bench.data.protocol import Protocol, Rule
from bench.datasets.base import Dataset, Modality, Samples, Schema
from bench.errors import UsageError
from bench.names import Choice, parse_choice
from bench.text import count


@pytest.fixture
def loaded(monkeypatch):
    """What `load` makes of samples that a dataset returns."""

    def enter(samples):
        class Entering(Dataset):
            title = "entering"

            def load(self):
                return samples

        monkeypatch.setattr(registry, "_given", {"Entering": Entering})
        return load(Choice("Entering"))

    return enter


def test_ids_of_what_was_loaded_are_known_though_no_memory_holds_the_samples(make_samples, loaded):
    samples = make_samples(n=60)
    assert loading._memory.get() is None
    loaded(samples)
    assert loading.loaded_ids(Choice("Entering")) == set(map(str, samples.ids.tolist()))
    assert loading.loaded_ids(Choice("Entering", "", {"size": 2})) == set(), "other options, other samples"


def test_a_modality_without_any_value_counts_as_missing(make_samples, loaded):
    samples = make_samples(n=60, missing=0.0)
    samples.values["beta"][:7] = np.nan
    samples.values["alpha"][3, :4] = np.nan  # one value is left: observed
    _, found, _ = loaded(samples)
    assert found.blank == {"beta": 7}
    assert (~found.observed).sum() == 7
    assert not found.observed[:7, 1].any()
    assert found.fingerprint() == replace(samples, observed=found.observed).fingerprint()


def test_of_a_sequence_its_real_steps_alone_make_it_observed(loaded):
    schema = Schema((Modality("sound", "S", "sequence", (4, 2)), Modality("note", "N", "vector", (1,))), ("no", "yes"))
    sound = np.ones((6, 4, 2), np.float32)
    sound[2, :3] = np.nan  # its fourth step is padding
    sound[4, :2] = np.nan
    samples = Samples(
        schema, {"sound": sound, "note": np.zeros((6, 1), np.float32)}, np.ones((6, 2), bool), np.arange(6) % 2, np.array(list("abcdef")),
        lengths={"sound": np.full(6, 3)},
    )  # fmt: skip
    _, found, _ = loaded(samples)
    assert found.blank == {"sound": 1}
    assert found.observed[:, 0].tolist() == [True, True, False, True, True, True]


def test_samples_without_gaps_are_handed_on_as_they_are(make_samples, loaded):
    samples = make_samples(n=60)
    assert loaded(samples)[1] is samples


def test_blanks_are_counted_and_said_where_parts_are_made_and_on_the_card(make_samples, loaded, monkeypatch):
    monkeypatch.setattr("bench.data.missingness.RESAMPLES", 20)
    samples = make_samples(n=120, missing=0.0)
    samples.values["beta"][:7] = np.nan
    dataset, found, _ = loaded(samples)
    parts = build_parts(dataset, found, "ABG", Protocol(Rule(), Rule(), Rule()), 0, 0, "training")
    assert parts.notes == ("7 samples hold no value of beta, which counts as missing there",)
    assert sum(round(share * 3 * len(part)) for share, part in zip(parts.missing.values(), parts.named().values(), strict=True)) == 7
    described = card.card("Entering")
    assert "7 samples hold no value of beta, which counts as missing there." in card.page(described)
    assert described.as_json()["blank"] == {"beta": 7}


def test_a_dataset_without_rows_is_refused(make_samples, loaded):
    with pytest.raises(UsageError, match="dataset 'Entering' has no samples"):
        loaded(make_samples(n=24).rows(np.arange(0)))


@pytest.mark.parametrize("groups", [["one"] * 40, ["one"] * 20 + ["other"] * 20], ids=["one group", "a class in one group"])
def test_a_card_is_written_whatever_the_groups(make_samples, loaded, monkeypatch, groups):
    monkeypatch.setattr("bench.data.missingness.RESAMPLES", 20)
    samples = make_samples(n=40, classes=2)
    samples = replace(samples, target=(np.arange(40) >= 20).astype(np.int64), groups=np.array(groups))
    loaded(samples)
    assert count(len(set(groups)), "group") in card.page(card.card("Entering"))


def test_class_names_do_not_break_the_tables_of_a_card(make_samples, loaded):
    samples = make_samples(n=40, classes=2)
    loaded(replace(samples, schema=Schema(samples.schema.modalities, ("<b>50K", "a|b"))))
    page = card.page(card.card("Entering"))
    assert "<b>" not in page
    rows = [line for line in page.splitlines() if "50K" in line or "a\\|b" in line]
    assert len(rows) >= 2
    assert all(row.replace("\\|", "").count("|") in (4, 6) for row in rows)


def test_a_server_knows_whether_it_holds_large_data(monkeypatch):
    with loading.loaded_once():
        load(parse_choice("digits"))
        assert not loading.holds_large()
        monkeypatch.setattr(loading, "SMALL", 1000)
        assert loading.holds_large()
    assert not loading.holds_large()
