"""The router: how much of the semantic leg a query gets, how long it may be reranked, and what that should gain.

A monotone LightGBM teacher is distilled into additive piecewise-linear tables of int8, which a lookup reads in
microseconds without LightGBM. `distillation` makes them, `document` keeps them, `runtime` reads them.
"""
