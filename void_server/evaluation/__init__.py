"""Results against truths: measures, baselines, suites of pairs, tables, a page, and records that can be compared."""
