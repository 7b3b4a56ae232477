"""Docstrings for terminals and for Markdown pages."""

import pytest

from rltk.describing.docstrings import docstring, markdown, plain, summary


class Documented:
    """Does one thing, and says so in a sentence
    that goes on.

    See :meth:`rltk.interfaces.Algorithm.update` for ``x`` and :class:`~rltk.types.Rollout`::

        kept = as_it(
            stands)

    :param first: a thing
        that is explained.
    :param second: another.
    :raises ValueError: never.
    """


class Heir(Documented):
    pass


def test_the_summary_is_the_first_paragraph_and_ones_own() -> None:
    assert summary(Documented) == "Does one thing, and says so in a sentence that goes on."
    assert summary(Heir) == docstring(Heir) == ""


def test_plain_text_has_no_markup_and_no_line_breaks_inside_paragraphs() -> None:
    assert plain(docstring(Documented)).splitlines() == [
        "Does one thing, and says so in a sentence that goes on.",
        "",
        "See rltk.interfaces.Algorithm.update for x and rltk.types.Rollout:",
        "",
        "    kept = as_it(",
        "        stands)",
        "",
        "first: a thing that is explained.",
        "second: another.",
        "raises ValueError: never.",
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("``a | b`` of :func:`f`", "`a | b` of `f`"),
        (":param a: one\n:raises KeyError: two", "- `a`: one\n- raises `KeyError`: two"),
    ],
)
def test_markdown(text: str, expected: str) -> None:
    assert markdown(text) == expected
