"""Where tasks run: this machine, or the workers of a cluster. The driver stays the only one that writes.

`base`: what every place is and does with its tasks. `local`: this machine. `worker`: what a worker of any cluster is sent, runs and sends
back. `remote`: the driver's side of that. `dask`, `ray`, `slurm`: such clusters. `leaving`:
what a Slurm job ends with. `named`: a place by its name, as `--on` takes it.
"""

from bench.grid.places.base import Place
from bench.grid.places.local import Local
from bench.grid.places.named import place_of

__all__ = ["Local", "Place", "place_of"]
