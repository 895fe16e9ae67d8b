"""Damaged files, for every test of this folder."""

import random

import pytest

from bench.datasets.base import DataError
from bench.datasets.files import check


@pytest.fixture
def survives():
    """Damages a file in many ways and reads it each time: a DataError that names a file in one line, or samples that pass `check`.

    Bits flip, ends are cut, pieces are lost and moved. Gives how often it was refused.
    """

    def tried(path, read, times=60):
        data, reasons = path.read_bytes(), []
        for seed in range(times):
            rng = random.Random(seed)
            damaged = bytearray(data)
            place = rng.randrange(len(data))
            if seed % 4 == 0:
                damaged[place] ^= 1 << rng.randrange(8)
            elif seed % 4 == 1:
                del damaged[place:]
            elif seed % 4 == 2:
                del damaged[place : place + rng.randrange(1, 30)]
            else:
                damaged[place:place] = damaged[: rng.randrange(1, 30)]
            path.write_bytes(damaged)
            try:
                check(read(), "damaged")
            except DataError as error:
                reasons.append(str(error))
        assert not any("\n" in reason for reason in reasons)
        path.write_bytes(data)
        return len(reasons)

    return tried
