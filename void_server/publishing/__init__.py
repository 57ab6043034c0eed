"""Versions that are handed on: checked, approved, disclosed, published."""
