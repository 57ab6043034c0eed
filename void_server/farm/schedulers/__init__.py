"""Render farms: a base class, and one module for each."""
