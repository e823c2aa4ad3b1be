"""How a network is trained."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from bitrow import typed
from bitrow.errors import BitrowError
from bitrow.transfer import optimizers
from bitrow.transfer.augment import Augmentation
from bitrow.transfer.data import Images
from bitrow.transfer.numerics import TrainedWeights


@dataclass(frozen=True)
class Recipe:
    """How to train. `batch` is a power of two; `loss_scale` multiplies the loss and is taken out of the gradients.

    `optimizer` and `schedule` are names of `optimizers`; `accumulate` batches make an update. `power_of_two`: delayed
    scales are powers of two. `augmentation` None trains on the images as they are. `replay`: the share of source images
    in each batch. `weights`: what trained convolutions keep.

    Raises:
        BitrowError: a batch that is no power of two, a rate that is not positive, an unknown optimizer, schedule or
            weights, a share of no image or of all.
    """

    batch: int = 32
    learning_rate: float = 1e-3
    epochs: int = 10
    seed: int = 0
    loss_scale: float = 1.0
    power_of_two: bool = False
    augmentation: Augmentation | None = None
    optimizer: str = "adam"
    schedule: str = "cosine"
    accumulate: int = 1
    replay: float = 0.0
    weights: TrainedWeights = TrainedWeights.MASTERS

    def __post_init__(self) -> None:
        if self.batch < 1 or self.batch & (self.batch - 1):
            raise BitrowError(f"batch: found {self.batch}, expected a power of two")
        if not self.learning_rate > 0:
            raise BitrowError(f"learning rate: found {self.learning_rate}, expected a positive number")
        if self.epochs < 1:
            raise BitrowError(f"epochs: found {self.epochs}, expected 1 or more")
        optimizers.check(self.optimizer, self.schedule, self.accumulate)
        object.__setattr__(self, "weights", typed.coerce("recipe weights", TrainedWeights, self.weights))
        if not (self.replay == 0 or (0 < self.replay < 1 and 0 < self.replayed < self.batch)):
            found = f"replay: found {self.replay:g} of a batch of {self.batch}"
            raise BitrowError(f"{found}, expected a share of at least one image, and not of all")

    @property
    def replayed(self) -> int:
        """Source images of a batch."""
        return round(self.replay * self.batch)


class Replay(NamedTuple):
    """The source's training images, labels from 0, and how many classes of the head, its first ones, the target has."""

    images: Images
    classes: int
