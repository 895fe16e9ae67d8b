"""A suite cut into parts that run without knowing of each other, on machines that share nothing. Free of torch.

A trial belongs to a part by its id alone, so every machine cuts alike, whatever the order of options. `bench merge` joins the parts.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from bench.errors import UsageError
from bench.question.trial import Trial


@dataclass(frozen=True)
class Shard:
    """Part `part`, counted from 1, of `of` parts."""

    part: int
    of: int

    def __post_init__(self) -> None:
        if not 1 <= self.part <= self.of:
            raise UsageError(f"a shard is PART/PARTS with 1 <= PART <= PARTS, such as 3/16, got {self}")

    def __str__(self) -> str:
        return f"{self.part}/{self.of}"

    @property
    def is_whole(self) -> bool:
        return self.of == 1

    def holds(self, trial: Trial) -> bool:
        """Whether a trial belongs to it. Each trial belongs to one of the parts."""
        return int(trial.id, 16) % self.of == self.part - 1


WHOLE = Shard(1, 1)


def shard_of(text: str | Shard | None) -> Shard:
    """A shard as people write it; the whole for None. Raises: UsageError."""
    if isinstance(text, Shard) or text is None:
        return text or WHOLE
    found = re.fullmatch(r"\s*([0-9]{1,9})\s*/\s*([0-9]{1,9})\s*", str(text))
    if found is None:
        raise UsageError(f"a shard is PART/PARTS, such as 3/16, got {text!r}")
    return Shard(int(found[1]), int(found[2]))
