"""Plugins that watch a run."""
