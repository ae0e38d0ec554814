"""Tasks on images, which may be binarised again at every training step."""

import torch
from torch import Tensor

from estbench.core.task import Batch, Splits, Task
from estbench.data import datasets


class ImageTask(Task):
    """A task whose minibatches are images and nothing else.

    Attributes:
        dataset: a data set of images.
        binarisation: how they are binarised; ``dynamic`` does so again for every training step.
    """

    dataset: datasets.Dataset
    binarisation: datasets.Binarisation

    def view(self, batch: Batch, generator: torch.Generator) -> Batch:
        """The minibatch, binarised from its grey levels if the binarisation is dynamic."""
        return (datasets.draw(batch[0], generator),) if self.binarisation == "dynamic" else batch

    def binarised(self) -> Splits:
        """The data set with the task's binarisation."""
        return datasets.binarised(self.dataset, self.binarisation)


def latent_shape(latents: str, units: int, classes: int) -> tuple[int, ...]:
    """The event shape of ``bernoulli`` or ``categorical`` variables; 0 units mean 200 or 20, as in Jang et al."""
    return (units or 20, classes) if latents == "categorical" else (units or 200,)


def pixel_logits(mean: Tensor) -> Tensor:
    """The initial logits of a decoder: those of the mean image, ``(pixels,)``, bounded away from 0 and 1."""
    return mean.clamp(0.01, 0.99).logit()
