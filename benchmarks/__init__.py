"""Figures, each a ratio against a floor measured in the same run; they report and are never tests."""
