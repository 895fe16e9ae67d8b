"""Many trials: from planned trials to stored records, each in a process of its own. Free of torch but for what estimating loads.

`engine`: a whole run, with resume. `how`: how to go about it, one value. `places`, a room: where jobs run; another kind of place is one
more class there. `slots`: the GPUs of this machine, and which task has which. `job`: what a worker is given. `same`: what must be the same
on a worker. `process`: one task in one process, under limits. `faults`: whether an error is the task's or the machine's. `lost`: what the
machine took, in few lines. `warm`, `server`: what the fork server loads once. `progress`: what a run shows. `hooks`: who else is told of
records. `estimate`: how long it will take. `left`: how long the rest of it takes.
"""
