"""Fine-tuning VOID on counterfactual pairs."""
