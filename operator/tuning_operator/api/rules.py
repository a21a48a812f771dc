"""The settings of every registered rule, as one union that is told apart by the field ``rule``.

Rules own their settings (docs/adr/0002): the union is made from the registries, so a new rule appears in manifests,
in error messages and in the CRD without a line here.
"""

from __future__ import annotations

from functools import reduce
from operator import or_
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from tuning_operator.control.registry import CONTROL_RULES
from tuning_operator.schema import RuleSettings
from tuning_operator.stopping.registry import STOPPING_RULES

if TYPE_CHECKING:
    StoppingSettings = RuleSettings
    ControlSettings = RuleSettings
else:
    StoppingSettings = Annotated[reduce(or_, [rule.Settings for rule in STOPPING_RULES]), Field(discriminator="rule")]
    ControlSettings = Annotated[reduce(or_, [rule.Settings for rule in CONTROL_RULES]), Field(discriminator="rule")]
