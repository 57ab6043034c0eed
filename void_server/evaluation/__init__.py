"""Results against truths."""
