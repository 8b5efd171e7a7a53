"""Differentially private gradients: Poisson sampling, exact per-example clipping, noise, and the checks around them.

`engine.PrivateGradients` is what a training loop uses, `user_engine.PrivateUserGradients` where users are the unit.
Nothing here counts epsilon: `acgs.privacy` does, from the same public numbers (population, expected batch, noise
multiplier, steps).
"""
