"""What is asked, as plain values: nothing here runs or reads an answer. Free of torch.

`assemble`: from what a door was given to a suite. `defaults`: what data from outside ask for where nobody said. `suite`: methods,
settings and seeds under one budget; `budgets`: what it says of one dataset; `keys`: how its keys are read; `machine`: what a trial may
take. `plan`: from a suite to its trials. `shards`: these in parts. `trial`: one training and its identity. `parts`: its data, cut and
hidden. `winners`: tuned configurations as rows of a run.
"""
