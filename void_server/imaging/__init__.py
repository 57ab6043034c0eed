"""Find, read and write frames; handle their colour and grain."""
