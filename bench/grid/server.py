"""For the fork server alone: importing this module warms it up."""

from bench.grid.warm import warm_up

warm_up()
