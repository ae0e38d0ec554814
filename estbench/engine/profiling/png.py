"""Pictures as PNG in base64, the form in which measures return images."""

import base64
import io

from PIL import Image
from torch import Tensor, nn

from estbench.engine.base import MeasurementError

# few grey levels, a difference that is hardly visible, for a file of half the size
_GREYS = 16
_GAP = 1


def png(images: Tensor) -> str:
    """A grid of grey images as a PNG in base64.

    Args:
        images: values in [0, 1], ``(rows, columns, height, width)``.

    Raises:
        MeasurementError: they have another shape, or values outside [0, 1].
    """
    takes = "a picture takes finite values from 0 to 1 of shape (rows, columns, height, width)"
    if not isinstance(images, Tensor):
        raise MeasurementError(f"{takes}; got a value of type {type(images).__name__}")
    if images.ndim != 4 or not images.numel() or images.is_complex():
        raise MeasurementError(f"{takes}; got shape {tuple(images.shape)} and type {images.dtype}")
    if not images.isfinite().all() or images.min() < 0 or images.max() > 1:
        got = f"values from {images.min():.3g} to {images.max():.3g}"
        raise MeasurementError(f"{takes}; got {got}")
    # a white line between images, since the report shows dark on light
    spaced = nn.functional.pad(1 - images.float(), (0, _GAP, 0, _GAP), value=1.0)
    height, width = (images.shape[i] * (images.shape[i + 2] + _GAP) - _GAP for i in (0, 1))
    grid = spaced.transpose(1, 2).flatten(2).flatten(0, 1)[:height, :width]
    levels = (grid * (_GREYS - 1)).round().byte().cpu().numpy()
    file = io.BytesIO()
    picture = Image.fromarray(levels, "P")
    picture.putpalette([level * 255 // (_GREYS - 1) for level in range(_GREYS) for _ in range(3)])
    picture.save(file, "PNG", optimize=True, bits=4)
    return base64.b64encode(file.getvalue()).decode()
