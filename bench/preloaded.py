"""Imported by the fork server after everything else: what has to see all that is loaded."""

from __future__ import annotations

import gc

from bench.threads import look_up

look_up()
gc.freeze()  # nothing loaded here is ever garbage: a trial's collector need not go through it, nor copy its pages by marking them
