"""From when on a difference counts: the one place where alpha and the margin of practical equality are said."""

from __future__ import annotations

from dataclasses import dataclass

from bench.text import factor

ALPHA = 0.05  # intervals are at 95 %, and equivalence is judged by those at 90 %


@dataclass(frozen=True)
class Levels:
    """What a suite decides by; boards, comparisons, looks and guides get it from `Suite.levels`. Units: fractions."""

    alpha: float = ALPHA  # p at or below which a difference is significant, after correction
    rope: float = 0.01  # largest difference that does not matter

    @property
    def margin(self) -> str:
        """The margin in words.

        >>> Levels().margin, Levels(rope=0.025).margin
        ('1 point', '2.5 points')
        """
        points = f"{factor() * self.rope:g}"
        return f"{points} in its unit" if factor() == 1 else f"{points} point" if points == "1" else f"{points} points"
