"""The sealed test images: what may be known of them before they are opened, and the one way to read them.

How many images, their shape and which labels there are is no look at an image: it comes from the header of the image
file and from the labels. So models are not trained for images that they could not be measured on, and an opening is
not spent on them. Only `sealed_test` asks for the images, after it has written that down.
"""

from __future__ import annotations

from collections.abc import Iterable

from lightning_modules.data import splits
from lightning_modules.data.images import DataError, LabelledImages, Metadata
from lightning_modules.data.splits import Split
from orchestrator.errors import CannotRun, Problem
from orchestrator.study.schema import Study

PART = "t10k"
MOST_NAMED = 5


def check(study: Study, split: Split) -> Metadata:
    """What is known of the test images, none of which is read. split: the training images of the study.

    Raises CannotRun where they are not there, or have another shape or other labels than the training images.
    """
    test, train = _described(study, PART), _described(study, "train")
    if problems := [*_misfits(study, split, test, train)]:
        raise CannotRun(problems)
    return test


def absent(study: Study, test: Metadata) -> list[int]:
    """Classes that models are trained on and the test has no image of."""
    return [label for label in _trained(study, _described(study, "train")) if label not in test.counts]


def read(study: Study) -> LabelledImages:
    """The test images, with the labels that the training images have. Raises CannotRun."""
    try:
        test = study.data.load(PART)
    except DataError as error:
        fix = "put back the files that were there, and do the same again: that is no second opening"
        raise CannotRun([Problem("data", "the test images must be readable", str(error), fix)]) from error
    return splits.numbered(test, _trained(study, _described(study, "train")))


def _described(study: Study, part: str) -> Metadata:
    try:
        return study.data.metadata(part)
    except DataError as error:
        what = "test" if part == PART else "training"
        raise CannotRun([Problem("data", f"the {what} images must be there and whole", str(error))]) from error


def _trained(study: Study, train: Metadata) -> list[int]:
    """The labels in the files whose classes models are trained on, in the order of their own numbers."""
    return sorted(set(train.counts) - set(study.data.unseen_classes))


def _misfits(study: Study, split: Split, test: Metadata, train: Metadata) -> Iterable[Problem]:
    shape, wanted = test.image_shape, split.image_shape
    if shape != wanted:
        rule = "test images have the shape of the training images"
        fix = "bring them to that shape as the training images were brought to theirs"
        yield Problem("data", rule, f"{_times(shape)}, and {_times(wanted)} were trained on", fix)
    if strangers := sorted(set(test.counts) - set(train.counts)):
        images = sum(test.counts[label] for label in strangers)
        named = ", ".join(map(str, strangers[:MOST_NAMED])) + (", …" if len(strangers) > MOST_NAMED else "")
        value = f"{images} of {test.images} images have others: {named}"
        fix = f"the labels of the training images are {min(train.counts)} … {max(train.counts)}"
        yield Problem("data", "a test image has one of the training images' labels", value, fix)
    elif not set(test.counts) & {*_trained(study, train)}:
        value = f"{test.images} images, none of a class that was trained"
        yield Problem("data", "a test needs images of the classes that models are trained on", value)


def _times(shape: tuple[int, ...]) -> str:
    return " × ".join(map(str, shape))
