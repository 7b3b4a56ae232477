"""What every stage has to keep to: it leaves results, and goes on exactly where it was interrupted."""

from rltk.testing import check_stage

from rltk_template_name import TemplateNameStage


def test_it_keeps_the_contract() -> None:
    check_stage(TemplateNameStage)
