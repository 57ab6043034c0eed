"""Render farms: one neutral description of a job's stages, and translators to the engines that studios have."""
