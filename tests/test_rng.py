"""Uniforms that depend on seed, episode and position alone."""

import numpy as np

from rltk.rng import EpisodeStream, UniformsAhead, numpy_generator


def test_uniforms_drawn_ahead_are_those_drawn_one_by_one():
    """In turn, across the ends of episodes and of what was drawn, and out of turn."""
    ahead, choose = UniformsAhead(seed=7, positions=4), numpy_generator("turns")
    episodes, positions = np.arange(3), np.zeros(3, dtype=np.int64)
    for step in range(60):
        draws = 2 if 20 < step < 30 else 1
        expected = EpisodeStream(7, episodes, positions).uniform(draws)
        assert np.array_equal(ahead.stream(episodes, positions).uniform(draws), expected)
        positions = positions + 1
        if step % 7 == 0:
            slot = int(choose.integers(3))
            episodes, positions = episodes.copy(), positions.copy()
            episodes[slot], positions[slot] = 3 + step, 0
        if step % 11 == 0:
            positions = choose.integers(9, size=3)


def test_rows_of_a_stream_drawn_ahead_are_streams_of_their_own():
    episodes, positions = np.arange(5), np.full(5, 3)
    stream = UniformsAhead(seed=1).stream(episodes, positions)
    some = np.array([4, 1])
    assert np.array_equal(stream.rows(some).uniform(2), stream.uniform(2)[some])


def test_uniforms_are_of_their_own_for_each_seed_episode_position_and_draw():
    streams = [EpisodeStream(seed, np.arange(50), np.full(50, p)) for seed in (0, 1) for p in range(20)]
    drawn = np.concatenate([stream.uniform(3).ravel() for stream in streams])
    assert len(set(drawn.tolist())) == len(drawn) == 2 * 20 * 50 * 3
    assert drawn.min() >= 0 and drawn.max() < 1 and abs(drawn.mean() - 0.5) < 0.02
