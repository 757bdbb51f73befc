"""The roads that sealed bytes travel."""
