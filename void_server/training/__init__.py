"""Fine-tuning VOID on counterfactual pairs.

Only :mod:`.config` may be imported without torch.
"""
