"""The settings of triplet: a margin between distances, and which triplets of a batch are taken."""

from __future__ import annotations

from search_spaces.distributions import Choice, Range
from search_spaces.settings import SWITCH, Auto, HeadSpace, Setting, fixed, length_is_better, log_range


def _mining(classes: int, dimensions: int) -> Auto:
    kept = ("semi_hard", "batch_all") + (("batch_hard",) if dimensions > 3 else ())
    reason = (
        "all three" if dimensions > 3 else "batch_hard collapses from scratch in 2-D and 3-D (0.13 to 0.68 on MNIST)"
    )
    return Auto(Choice(kept), "semi_hard", reason)


def _normalise(classes: int, dimensions: int) -> Auto:
    """In few dimensions the first trial measures raw distances."""
    return Auto(SWITCH, not length_is_better(dimensions), "both")


SPACE = HeadSpace(
    {
        "margin_dist": Setting(
            Range(0, 1e3),
            "distance",
            log_range(0.02, 1.0, 0.3, "0.02 to 1 of a distance of about 2"),
            role="margin",
        ),
        "mining": Setting(Choice(("semi_hard", "batch_hard", "batch_all")), "a rule", _mining),
        "normalise": Setting(SWITCH, "yes or no", _normalise),
        "soft_margin": Setting(SWITCH, "yes or no", fixed(False, "the margin is what is studied")),
    }
)
