"""benchmarks/fuzz_readers.py: a few hundred damaged files of each format, in the tests; the benchmark itself runs ten thousand."""

import importlib.util
import json
import random
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "fuzz_readers.py"
FORMATS = ("pickle", "torch", "npy", "npz", "h5ad", "nifti", "jpg", "png", "csv", "csv.gz", "json", "bundle")


@pytest.fixture(scope="module")
def fuzz():
    spec = importlib.util.spec_from_file_location("bench_fuzz", SCRIPT)
    sys.modules["bench_fuzz"] = module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
@pytest.mark.parametrize("name", FORMATS)
def test_damaged_files_are_refused_or_read(name):
    command = [sys.executable, str(SCRIPT), "--mutations", "200", "--seed", "1000000", "--formats", name]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.stdout, run.stderr
    result = json.loads(run.stdout)[name]
    assert result["failures"] == []
    assert result.get("read", 0) + result.get("refused", 0) == result["mutations"] == 200
    assert result["refused"] > 0


def test_every_format_is_fuzzed(fuzz):
    assert set(FORMATS) == set(fuzz.FORMATS)


def test_same_seed_damages_in_the_same_way(fuzz):
    data = bytes(range(256)) * 4
    first = [fuzz.damaged(data, random.Random(seed), range(16)) for seed in range(50)]
    assert first == [fuzz.damaged(data, random.Random(seed), range(16)) for seed in range(50)]
    assert sum(changed != data for changed in first) > 45


def test_png_checksums_are_made_right(fuzz, tmp_path):
    from PIL import Image

    Image.new("RGB", (4, 4)).save(tmp_path / "a.png")
    data = (tmp_path / "a.png").read_bytes()
    broken = data[:29] + bytes(4) + data[33:]  # the checksum of the first chunk
    assert broken != data
    assert fuzz.with_checksums(broken) == data
