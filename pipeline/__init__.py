"""A pipeline for tables: a table goes in; a trained, evaluated and tracked network comes out."""
