"""The pipeline, from a shot's files to the counterfactual plate and the report; workers load it by this name."""

from .run import Part, check_part, inspect, run, run_part

__all__ = ["Part", "check_part", "inspect", "run", "run_part"]
