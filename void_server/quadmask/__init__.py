"""Quadmasks: their classes and mattes, and the reasoners that find what a removal affects."""
