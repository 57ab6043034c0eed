"""Render farms: one neutral description of a job's stages, and the schedulers that studios have."""
