"""Leaderboards: every model and baseline on the same splits of one or several tables, ranked, with what each costs."""
