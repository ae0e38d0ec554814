"""Tasks on images, of which training may see a fresh binarisation at every step."""

import torch
from torch import Tensor

from estbench.core.task import Batch, Splits, Task
from estbench.data import datasets


class ImageTask(Task):
    """A task whose minibatches are images and nothing else.

    Attributes:
        dataset: a data set of images.
        binarisation: how they are made binary; ``dynamic`` draws them anew for every training step.
    """

    dataset: datasets.Dataset
    binarisation: datasets.Binarisation

    def view(self, batch: Batch, generator: torch.Generator) -> Batch:
        """The minibatch, drawn anew from its grey levels where the binarisation is dynamic."""
        return (datasets.draw(batch[0], generator),) if self.binarisation == "dynamic" else batch

    def binarised(self) -> Splits:
        """The data set as the binarisation has it."""
        return datasets.binarised(self.dataset, self.binarisation)


def latent_shape(latents: str, units: int, classes: int) -> tuple[int, ...]:
    """The event shape of latents, ``bernoulli`` or ``categorical``; 0 units stand for 200 or 20, as in Jang et al."""
    return (units or 20, classes) if latents == "categorical" else (units or 200,)


def pixel_logits(mean: Tensor) -> Tensor:
    """The logits at which a decoder starts: those of the mean image, ``(pixels,)``, away from 0 and 1."""
    return mean.clamp(0.01, 0.99).logit()
