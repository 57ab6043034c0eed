"""The way of a shot, from its files to the counterfactual plate and the report; what the workers load by this name."""

from .run import Part, inspect, run, run_part

__all__ = ["Part", "inspect", "run", "run_part"]
