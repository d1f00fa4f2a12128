"""A pipeline for tables: a table goes in; a trained, tracked, tuned and served network comes out."""
