"""Plugins that do one step of a recipe each."""
