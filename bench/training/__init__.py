"""One trial, in torch: everything with a gradient, and what it costs.

`trial`: a trial in, a record and its predictions out. `opened`: its data and class. `task`: what the kind of target means in training.
`loop`: training, evaluation, the checks of both. `recipe`: what of its training a method has of its own. `loader`: rows as batches, from
the device or gathered from large data. `devices`: what is asked of a device of any kind. `timing`: a few steps, timed. `cost`: operations,
parameters, latency, memory. `launches`: what a step asks of a GPU before any arithmetic. `weights`: a checkpoint in a file, and back.
`threads`: how many the numerical libraries use.
"""
