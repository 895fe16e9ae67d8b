"""What is asked, as plain values: nothing here runs or reads an answer. Free of torch.

`suite`: methods, settings and seeds under one budget. `trial`: one training and its identity. `winners`: tuned configurations as rows of a
run. `plan`: from a suite to its trials.
"""
