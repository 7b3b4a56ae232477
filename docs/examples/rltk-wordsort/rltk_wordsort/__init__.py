"""Sorting words: five plugins for rltk, each of which also works as a file given to ``-p``."""
