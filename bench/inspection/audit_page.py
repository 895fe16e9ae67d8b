"""What audits found, as text: one line a method. Free of torch."""

from __future__ import annotations

from collections.abc import Sequence

from bench.records.record import Finding
from bench.text import Table


def page(findings: Sequence[Finding], width: int | None = None) -> str:
    """One line a method, one column a check, then everything that is not simply passed. What all pass goes where there is no `width`."""
    checks = list(dict.fromkeys(finding.check for finding in findings))
    rows: dict[str, dict[str, str]] = {}
    for finding in findings:
        word = "FAILED" if not finding.passed else "declared" if finding.declared else "ok"
        rows.setdefault(finding.label, {})[finding.check] = word
    body = [[label, *(row.get(check, "") for check in checks)] for label, row in rows.items()]
    passed = [check for check in checks if {row.get(check, "ok") for row in rows.values()} == {"ok"}]
    kept = [check for check in checks if check not in passed]
    lines = [Table(["method", *checks], body, ("method", *checks), passed, kept=kept, whole=True).fitted(width)]
    for title, chosen in (("declared", [f for f in findings if f.declared]), ("FAILED", [f for f in findings if not f.passed])):
        reasons: dict[tuple[str, str], list[str]] = {}  # a method that does not run has one reason for all its checks
        for finding in chosen:
            reasons.setdefault((finding.label, finding.detail), []).append(finding.check)
        lines += ["", *(f"{title}  {label}, {', '.join(found)}: {detail}" for (label, detail), found in reasons.items())] if chosen else []
    return "\n".join(lines)
