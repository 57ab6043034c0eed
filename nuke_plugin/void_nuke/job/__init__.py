"""A job of a node: prepared, exported, followed, brought back."""
