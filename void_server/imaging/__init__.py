"""Frames: finding, reading and writing them, their colour and their grain."""
