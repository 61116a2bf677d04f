"""Heads: from features to scores."""
