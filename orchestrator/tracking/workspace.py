"""A saved W&B workspace for a study: what people would otherwise click together. Through wandb-workspaces, an extra."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib.util import find_spec
from typing import Any

from orchestrator.tracking import connection
from orchestrator.tracking.run import About
from orchestrator.tracking.sweep import Place
from search_spaces.configurations import Searched

EXTRA = "pip install 'embedding-head-orchestrator[workspace]'"
PICTURES = ["embedding", "embedding_3d", "embedding_best", "embedding_unfolds"]


def ensure(place: Place, about: About, say: Callable[[str], None]) -> Place:
    """The place with its workspace: the one that was saved before, or a new one. Without the extra, none, and said so.

    Never raises: runs are worth more than a view of them, and the next time tries again.
    """
    if place.workspace:
        return place
    if find_spec("wandb_workspaces") is None:
        say(f"no workspace was made for it: {EXTRA}")
        return place
    try:
        with connection.quiet():
            url = connection.within(
                connection.ANSWER_S, lambda: str(_save(place, about)), "W&B was asked for a workspace"
            )
    except Exception as error:
        say(f"no workspace was made for it: {type(error).__name__}: {error}")
        return place
    place = place.model_copy(update={"workspace": url})
    place.keep(about.folder)
    return place


def margins_and_scales(searched: Mapping[str, Mapping[str, Searched]]) -> list[tuple[str, str]]:
    """The pairs of settings of one head that are a margin and a scale, each pair once."""
    return list(
        dict.fromkeys(
            (margin, scale)
            for space in searched.values()
            for margin in space
            for scale in space
            if (space[margin].role, space[scale].role) == ("margin", "scale")
        )
    )


def _save(place: Place, about: About) -> Any:
    import wandb_workspaces.reports.v2 as panels
    import wandb_workspaces.workspaces as workspaces

    study = about.study
    searched = study.searched()
    names = list(dict.fromkeys(name for space in searched.values() for name in space))
    columns = [panels.ParallelCoordinatesPlotColumn(panels.Config(name)) for name in ("head", *names)]
    columns.append(panels.ParallelCoordinatesPlotColumn(panels.SummaryMetric("objective")))
    space = [
        panels.ParallelCoordinatesPlot(title="Settings and what they reach", columns=columns),
        panels.ParameterImportancePlot(with_respect_to="objective"),
    ]
    space += [
        panels.ScatterPlot(
            title=f"{margin} × {scale}",
            x=panels.Config(margin),
            y=panels.Config(scale),
            z=panels.SummaryMetric("objective"),
        )
        for margin, scale in margins_and_scales(searched)
    ]
    heads = [
        panels.LinePlot(title="Objective by epoch", x="epoch", y=["objective"], groupby="config.head"),
        panels.BarPlot(title="Objective by head", metrics=["objective"], groupby="config.head"),
        panels.LinePlot(title="Loss by epoch", x="epoch", y=["train/loss"], groupby="config.head"),
    ]
    media = [panels.MediaBrowser(title="Embeddings", media_keys=PICTURES, num_columns=3)]
    sections = [
        workspaces.Section(name="What the settings do", panels=space, is_open=True),
        workspaces.Section(name="Heads side by side", panels=heads, is_open=True),
        workspaces.Section(name="Embeddings", panels=media, is_open=True),
    ]
    view = workspaces.Workspace(
        entity=place.entity,
        project=place.project,
        name=f"{study.name} ({about.study_id})",
        sections=sections,
        runset_settings=workspaces.RunsetSettings(
            filters=workspaces.And(workspaces.Config("study_id") == about.study_id), groupby=[workspaces.Config("head")]
        ),
    )
    view.save()
    return view.url
