"""Studies: Optuna searches whose trials are training runs."""
