"""The settings of softmax, the baseline: a plain linear layer, whose weights decay or are kept small by smoothing."""

from __future__ import annotations

from search_spaces.distributions import Range
from search_spaces.settings import DECAY, EQUAL, HEAD_LR, HeadSpace, Setting, log_range

SPACE = HeadSpace(
    {
        "head_lr": HEAD_LR,
        "weight_decay": Setting(
            DECAY, "AdamW's", log_range(1e-4, 1e-1, 0.01, f"around AdamW's own default, 0.01; {EQUAL}")
        ),
        "label_smoothing": Setting(
            Range(0, 0.99),
            "a share",
            log_range(0.01, 0.4, 0.1, "tight clusters in place of rays"),
        ),
    }
)
