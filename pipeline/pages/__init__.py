"""What a run left, as one page that can be sent to somebody: an HTML file that needs nothing else."""
