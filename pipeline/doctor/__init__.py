"""What is measured of a network while it trains, and what follows from it."""
