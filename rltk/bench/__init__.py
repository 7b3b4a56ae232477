"""Benchmarks: policies in environments, on the same prompts with the same sampling seeds.

``config.py`` says what is compared, ``plan.py`` which cells that makes, ``players.py`` and its neighbours how
each kind of policy plays, ``records.py`` what is kept of an episode, ``running.py`` does it all.
"""
