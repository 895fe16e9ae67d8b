"""The help of a command with many options: what is asked, how it is trained and run, where it comes from and goes."""

from __future__ import annotations

import click

SECTIONS = {  # options by their names in Python; those of no section stand at the end, as "Options"
    "What is asked": (
        "suite", "methods", "dataset", "datasets", "combination", "combinations", "protocol", "protocols", "noise", "seed", "seeds",
        "test_noise", "test_combinations", "settings", "patterns", "metric", "by", "rope", "vary", "fixed_seed", "until_resolved",
        "max_seeds", "allow",
    ),
    "How it is trained": (
        "selection", "epochs", "training", "configs", "tuned_for", "suggestions", "budget_gflops", "budget_minutes", "sampler", "pruner",
        "fix",
    ),
    "How it is run": (
        "device", "threads", "jobs", "per_gpu", "place", "is_mixed", "minutes", "memory_gb", "dry_run", "retry_failed", "wait", "shard",
        "is_traced",
        "keeps_weights", "depth",
    ),
    "Where it comes from and goes": (
        "data_root", "out", "published", "publish", "no_predictions", "beside", "site", "add", "verify", "study", "plot",
        "figures", "formats", "check", "render", "rescore",
    ),
    "What is printed": ("as_json", "quiet", "verbose", "is_explained"),
}  # fmt: skip
OTHER = "Options"
FEW = 8  # options that need no headings


class Sectioned(click.Command):
    """A command whose help lists options under the headings of SECTIONS, once they are many."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        records = [(param.name, record) for param in self.get_params(ctx) if (record := param.get_help_record(ctx)) is not None]
        if len(records) <= FEW:
            super().format_options(ctx, formatter)
            return
        title_of = {name: title for title, names in SECTIONS.items() for name in names}
        for title in (*SECTIONS, OTHER):
            own = [record for name, record in records if title_of.get(str(name), OTHER) == title]
            if own:
                with formatter.section(title):
                    formatter.write_dl(own)
