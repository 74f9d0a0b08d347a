"""Study: the one typed description of a search. What may stand in a study's YAML, with every default.

Parameters that may be searched keep the form in which they were written (W&B's sweep syntax, or `auto`); `spaces`
turns them into distributions once the number of classes is known.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from lightning_modules import objectives
from lightning_modules.bodies import BODIES
from lightning_modules.bodies.base import Body
from lightning_modules.data.sources import SOURCES
from lightning_modules.data.sources.base import Source
from lightning_modules.objectives.base import Objective
from orchestrator.study.choices import OneOf
from orchestrator.study.field_types import AUTO as AUTO
from orchestrator.study.field_types import (
    FEW,
    LARGEST_BATCH,
    MOST_SEEDS,
    SMALLEST_BATCH,
    Chips,
    Cores,
    Count,
    Currency,
    Gpus,
    LongText,
    Price,
    Seed,
    SeedsOrAuto,
    Space,
    Text,
    WholeOrAuto,
)
from orchestrator.study.search_section import Search as Search
from orchestrator.study.section import Section
from search_spaces import distributions
from search_spaces.configurations import Searched, nearest, with_implied_settings
from search_spaces.heads import settings_of
from search_spaces.settings import TRAINING

AS_WRITTEN = "as the study says"
DEVICES = ("cpu", "gpu", "tpu")


class Data(Section, Source):
    """Where the images come from, a source with its options, and which of them are validated on.

    unseen_classes: classes whose images are neither trained nor validated on, as identities that are new to the model;
    the others are numbered anew.
    """

    validation_images: Count = 10_000
    split_seed: Seed = 0
    unseen_classes: list[Seed] = Field(default=[], max_length=10_000)


BODY, DATA = OneOf(BODIES), OneOf(SOURCES, beside=Data)


class Training(Section):
    """How every head is trained; a head's own block overrides what may be searched.

    shift_px: by how many pixels training images are moved at most, each anew in every epoch; 0 for not at all.
    """

    epochs: Annotated[int, Field(ge=1, le=10_000)] = 12
    batch_size: Annotated[int, Field(ge=SMALLEST_BATCH, le=LARGEST_BATCH)] = 128
    shift_px: Annotated[int, Field(ge=0, le=64)] = 1
    seed: WholeOrAuto = AUTO
    lr: Space = AUTO
    weight_decay: Space = AUTO
    warmup_share: Space = AUTO
    margin_warmup_epochs: Space = AUTO


class Confirmation(Section):
    """The best `top` configurations of each head again, on `seeds` fresh seeds; `auto` costs about the search again.

    0 confirms nothing. racing: a configuration that is clearly behind gets no further seeds.
    """

    top: WholeOrAuto = AUTO
    seeds: SeedsOrAuto = AUTO
    racing: bool = False


class SealedTest(Section):
    """The sealed test: each head's best, trained on train and validation images on so many seeds."""

    seeds: Annotated[int, Field(ge=1, le=MOST_SEEDS)] = 3


class HeadProfile(Section):
    """What one trial of a head gets, where that differs from the other heads."""

    cpu: Cores | None = None
    gpu: Gpus | None = None
    tpu: Chips | None = None
    workers: Annotated[int, Field(ge=1, le=1024)] | None = None


class Profile(Section):
    """What one trial gets: cores, GPUs (a share of one, or whole ones), TPU chips.

    workers: so many processes, each of which gets that much, share every batch of the trial.
    """

    cpu: Cores = 1.0
    gpu: Gpus = 0.0
    tpu: Chips = 0
    workers: Annotated[int, Field(ge=1, le=1024)] = 1

    def requested(self) -> dict[str, float]:
        """As Ray is asked for it, for each worker."""
        return {name: amount for name in DEVICES if (amount := getattr(self, name))}

    @property
    def accelerator(self) -> str:
        """What trains on it, never "auto": a trial without a GPU may well see one."""
        return "cuda" if self.gpu else "tpu" if self.tpu else "cpu"


class Prices(Section):
    """What an hour of one core, one GPU or one TPU chip costs; what has no price counts nothing."""

    currency: Currency = "USD"
    cpu_hour: Price | None = None
    gpu_hour: Price | None = None
    tpu_hour: Price | None = None

    def given(self) -> dict[str, float]:
        """The price of an hour of each kind that has one: cpu, gpu, tpu."""
        prices = {kind: getattr(self, f"{kind}_hour") for kind in DEVICES}
        return {kind: price for kind, price in prices.items() if price is not None}


class Resources(Profile):
    """What every trial gets; heads: what differs for some, as large ones on GPUs and small ones on cores.

    prices: only for the estimate of a plan.
    """

    heads: Annotated[dict[str, HeadProfile], FEW] = Field(default={})
    prices: Prices = Prices()

    def of(self, head: str) -> Profile:
        """What a trial of a head gets."""
        own = self.heads.get(head, HeadProfile())
        given = {
            name: getattr(self, name) if (amount := getattr(own, name)) is None else amount
            for name in Profile.model_fields
        }
        return Profile(**given)


class Tracking(Section):
    """The Weights & Biases mirror. Keys are W&B's own affair (environment or netrc), never a study's."""

    mode: Literal["offline", "online", "off"] = "offline"
    project: Text = "embedding-heads"
    entity: Text | None = None
    pictures: bool = True
    system_metrics: bool = False


class Study(Section):
    """A search, whole. Load one with `Study.load`; every field has a default but name and heads."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")]
    heads: Annotated[dict[str, Annotated[dict[str, Space], FEW]], Field(min_length=1, max_length=100)]
    description: LongText = ""
    data: Annotated[Data, DATA] = DATA.default()
    embedding_dim: Annotated[int, Field(ge=2, le=65_536)] = 3
    body: Annotated[Body, BODY] = BODY.default()
    training: Training = Training()
    search: Search = Search()
    confirmation: Confirmation = Confirmation()
    test: SealedTest = SealedTest()
    resources: Resources = Resources()
    tracking: Tracking = Tracking()

    @classmethod
    def load(cls, source: str | Path, overrides: Iterable[str] = ()) -> Study:
        """The study in a YAML file, or a shipped one by its name; overrides are like "training.epochs=3".

        Raises StudyError, which names every problem with its file, line, place, rule, value and a fix.
        """
        from orchestrator.study.yaml_file import load

        return load(cls, source, overrides)

    def to_yaml(self, comment: str = "") -> str:
        """The study as YAML that `load` reads back to an equal one."""
        from orchestrator.study.yaml_file import dump

        return dump(self, comment)

    @property
    def objectives(self) -> tuple[Objective, ...]:
        """What its embeddings are judged by."""
        return tuple(map(objectives.named, self.search.objectives))

    @property
    def objective(self) -> Objective:
        """What its trials are ranked by: the first of its objectives."""
        return objectives.named(self.search.objectives[0])

    def spaces(self, num_classes: int) -> dict[str, dict[str, Searched]]:
        """For each head, every parameter of it: searched, or constant."""
        return {head: self._space(head, num_classes) for head in self.heads}

    def searched(self) -> dict[str, dict[str, Searched]]:
        """For each head, the parameters that are no constants; which they are does not depend on the classes."""
        return {
            head: {name: item for name, item in space.items() if not item.parameter.is_constant}
            for head, space in self.spaces(num_classes=10).items()
        }

    def _space(self, head: str, num_classes: int) -> dict[str, Searched]:
        """Without the settings that are never read, for what they depend on never has that value."""
        space: dict[str, Searched] = {}
        for name, setting in settings_of(head).items():
            when = setting.when
            if when:
                decides = space[when[0]].parameter
                if not decides.contains(when[1]):
                    continue
                when = None if decides.is_constant else when
            auto, written = setting.auto(num_classes, self.embedding_dim), self._written(head, name)
            if written == AUTO:
                space[name] = Searched(auto.parameter, auto.start, auto.reason, when, setting.role)
                continue
            parameter = distributions.parse(written)
            space[name] = Searched(parameter, nearest(parameter, auto.start), AS_WRITTEN, when, setting.role)
        return space

    def _written(self, head: str, name: str) -> Any:
        """What the study says of a setting of a head."""
        return with_implied_settings(head, self.heads[head]).get(
            name, getattr(self.training, name, AUTO) if name in TRAINING else AUTO
        )
