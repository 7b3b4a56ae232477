"""What every policy has to keep to, and where this one can act."""

import pytest
import torch
from rltk import UserError
from rltk.testing import check_policy

from rltk_template_name import TemplateNamePolicy


def test_it_keeps_the_contract() -> None:
    check_policy(TemplateNamePolicy)


def test_it_says_that_it_cannot_act_on_text() -> None:
    config = TemplateNamePolicy.Config()
    with pytest.raises(UserError, match="cannot act here, got 'text'"):
        TemplateNamePolicy(config, spaces=None, generator=torch.Generator())
