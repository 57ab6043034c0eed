"""Counterfactual pairs: the same shot with an object and without it."""

from .layout import PairFacts, PairFolder, pairs_in

__all__ = ["PairFacts", "PairFolder", "pairs_in"]
