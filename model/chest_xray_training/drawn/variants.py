"""Films as other people store them, which the gate must not refuse."""

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from chest_xray.transform import SIZE
from chest_xray_training.drawn.canvas import (
    Chance,
    Pixels,
    as_pixels,
    resized,
    words,
)


def as_stored_elsewhere(chance: Chance, film: Pixels) -> Pixels:
    """A film turned a little, cropped, framed, shrunk, exposed or lettered in another way, or seen
    from behind: still a film."""
    image = Image.fromarray(film)
    if chance.random() < 0.5:
        image = image.rotate(chance.uniform(-8, 8), Image.Resampling.BILINEAR)
    left, top, right, bottom = (
        SIZE * chance.uniform(0, 0.14, 4) * (chance.random(4) < 0.5)
    ).astype(int)
    image = image.crop((left, top, SIZE - right, SIZE - bottom))
    if chance.random() < 0.3:
        side = int(chance.uniform(48, 200))
        image = image.resize((side, side), Image.Resampling.BILINEAR)
    if chance.random() < 0.35:
        shade = 0 if chance.random() < 0.8 else int(chance.integers(256))
        widths = (image.width * chance.uniform(0, 0.15, 4) * (chance.random(4) < 0.6)).astype(int)
        left, top, right, bottom = (int(width) for width in widths)
        framed = Image.new("L", (image.width + left + right, image.height + top + bottom), shade)
        framed.paste(image, (left, top))
        image = framed
    picture = resized(np.asarray(image) / 255, SIZE)
    if chance.random() < 0.7:
        picture = picture.clip(0, 1) ** np.exp(chance.uniform(-0.6, 0.6))
    if chance.random() < 0.7:
        contrast, brightness = np.exp(chance.uniform(-0.7, 0.45)), chance.uniform(-0.15, 0.15)
        picture = (picture - 0.5) * contrast + 0.5 + brightness
    if chance.random() < 0.2:
        picture = picture + chance.normal(0, chance.uniform(0, 0.05), picture.shape)
    image = Image.fromarray(as_pixels(picture))
    if chance.random() < 0.35:
        draw = ImageDraw.Draw(image)
        for _ in range(int(chance.integers(1, 4))):
            place = (chance.choice([4, 150, 190]), chance.choice([2, 20, 195]))
            font = ImageFont.load_default(float(chance.uniform(8, 18)))
            draw.text(place, words(chance, 12), fill=int(chance.integers(170, 256)), font=font)
    found: Pixels = np.asarray(image)
    return np.ascontiguousarray(found[:, ::-1]) if chance.random() < 0.5 else found
