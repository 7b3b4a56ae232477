"""Plugins that score episodes."""
