"""How a figure on paper looks. Loads no Matplotlib."""

import dataclasses

from lit_tl.settings import Settings, setting

INCH = 25.4  # millimetres


@dataclasses.dataclass(frozen=True, kw_only=True)
class Paper(Settings):
    """Sizes of a figure on paper, as journals ask for them.

    Raises:
        SettingError: a value is not allowed.
    """

    width_mm: float = setting(
        177.8, "Width in millimetres: 178 is a page's text, 85 a column.", low=40, high=1000
    )
    font: str = setting("sans-serif", "A font family that is installed, serif, or monospace.")
    font_size: float = setting(7.0, "In points; titles are larger, tokens smaller.", low=3, high=30)

    @property
    def inches(self) -> float:
        """The width."""
        return self.width_mm / INCH

    @property
    def scale(self) -> float:
        """Of texts, against the usual size."""
        return self.font_size / 7.0
