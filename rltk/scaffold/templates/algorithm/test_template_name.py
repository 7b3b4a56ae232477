"""What every algorithm has to keep to."""

from rltk.testing import check_algorithm

from rltk_template_name import TemplateNameAlgorithm


def test_it_keeps_the_contract() -> None:
    check_algorithm(TemplateNameAlgorithm)
