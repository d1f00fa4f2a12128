"""The HTTP server over a bundle."""
