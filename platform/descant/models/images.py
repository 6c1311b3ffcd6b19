"""Images as the pixels that an image encoder reads."""

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from pydantic import Field

from descant.artifacts.models import AnyModel, StoredModel
from descant.core.errors import ConfigError, DataError
from descant.core.spec import Spec


class ImageInput(Spec):
    """How images are sized and scaled; what is left out comes from the model's own preprocessor_config.json."""

    size: int | None = Field(None, ge=1)
    """Height and width in pixels that every image is resized to."""
    mean: tuple[float, float, float] | None = None
    """Subtracted from the red, green and blue values, which lie between 0 and 1."""
    std: tuple[float, float, float] | None = None
    """What they are divided by afterwards."""


def load_processor(image: ImageInput, reference: AnyModel) -> Any:
    """The image processor of the model with the values of ``image`` in place, always through PIL.

    Raises ConfigError where the model has no settings of its own and ``image`` does not give them all.
    """
    from transformers import AutoImageProcessor, ViTImageProcessorPil

    declared: dict[str, Any] = {
        "image_mean": image.mean,
        "image_std": image.std,
        "size": None if image.size is None else {"height": image.size, "width": image.size},
    }
    given = {name: value for name, value in declared.items() if value is not None}
    folder = reference.locate() if isinstance(reference, StoredModel) else None
    if folder is not None and (folder / "preprocessor_config.json").is_file():
        loaded: Any = AutoImageProcessor
        return loaded.from_pretrained(
            folder, backend="pil", local_files_only=True, trust_remote_code=False, **given
        )
    if len(given) < len(declared):
        raise ConfigError(
            "E-MOD-IMAGE",
            str(folder or "tiny vit"),
            "there is no preprocessor_config.json",
            "Give size, mean and std of 'image' in the recipe.",
        )
    return ViTImageProcessorPil(**given)


def pixel_values(processor: Any, images: Sequence[bytes]) -> list[np.ndarray]:
    """float32 [3, height, width] of each image file (PNG or JPEG); DataError for bytes that are none."""
    from PIL import Image, UnidentifiedImageError

    pixels = []
    for number, image in enumerate(images):
        try:
            with Image.open(io.BytesIO(image), formats=("PNG", "JPEG")) as opened:
                rgb = opened.convert("RGB")
        except (UnidentifiedImageError, OSError) as error:
            raise DataError(
                "E-DATA-IMAGE", f"image {number}", f"is neither PNG nor JPEG ({error})", "Remove the row."
            ) from None
        found = processor(images=rgb, return_tensors="np")["pixel_values"][0]
        pixels.append(np.asarray(found, dtype=np.float32))
    return pixels
