"""A closer look at a method or at a number: is it true, what does it cost, what happens inside?

`subjects`, `audit`, `audit_page`: what no method may do, checked by experiment. `profile`, `profile_page`: costs by component.
`analysis`, `tables`, `figures`: what methods did inside. `reproduction`: a stored trial again, bit for bit. `submission`, `claims`:
whether a bundle is true. `doctor`: whether this machine can run the suite.
"""
