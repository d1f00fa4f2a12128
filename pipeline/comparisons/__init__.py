"""Comparisons: the same run with some settings varied, over seeds, and what of the differences is more than noise."""
