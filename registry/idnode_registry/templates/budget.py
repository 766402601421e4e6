"""What one evaluation may cost. Steps are counted, not time: the same template meets the same end on every machine."""

from __future__ import annotations

from typing import Final

from idnode_registry.errors import TemplateTooCostly

STEPS_MAX: Final = 10_000
"""A step is half a microsecond or so: an instruction of an expression at a place of the text. 10 ms at most in all."""
TEXT_OCTETS_PER_STEP: Final = 64
ELEMENT_STEPS: Final = 3
"""Looking at an element; also reading one, or an attribute, out of XML."""
SCOPE_STEPS: Final = 4
"""A body with variables of its own."""
VALUE_STEPS: Final = 10
"""Making a value."""
STORED_VALUE_STEPS: Final = 2
"""Passing a value of a record in search of another."""
PLACE_STEPS: Final = 4
"""Putting a variable into a text."""
EXPRESSION_STEPS: Final = 3
"""Reading a character of a regular expression."""


class Budget:
    """The steps of one evaluation, counted down."""

    __slots__ = ("_allowed", "left")

    def __init__(self, steps: int = STEPS_MAX) -> None:
        self._allowed = steps
        self.left = steps

    @property
    def spent(self) -> int:
        return self._allowed - self.left

    def spend(self, steps: int) -> None:
        """Take so many steps; raises :class:`TemplateTooCostly` when they are not left."""
        self.left -= steps
        if self.left < 0:
            raise TemplateTooCostly(f"the template takes more than {self._allowed} steps; simplify it")

    def spend_text(self, size: int) -> None:
        """Take the steps for making a text of ``size`` characters."""
        self.spend(1 + size // TEXT_OCTETS_PER_STEP)
