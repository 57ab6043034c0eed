"""The node: its knobs, its text, what artists enter in it, its versions."""
