"""The methods: one folder each, with its README, settings, fit and export."""
