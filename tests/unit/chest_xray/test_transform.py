import numpy as np
import torch
from PIL import Image
from torchvision import transforms

from chest_xray.request import Explanation, InlineImage, Request
from chest_xray.transform import resize, to_tensor
from chest_xray_training.dataset import Film, FilmDataset
from support.films import draw_film, encode
from support.offline import served


def test_it_is_the_original_transform():
    gray = draw_film(5, 517, 433)
    original = transforms.Compose([transforms.Resize((224, 224)), transforms.ToTensor()])
    expected = original(Image.fromarray(gray).convert("RGB"))
    assert torch.equal(to_tensor(gray).expand(3, -1, -1), expected)


def test_resize_changes_its_own_result_no_more():
    once = resize(draw_film(6))
    assert np.array_equal(resize(once), once)
    assert torch.equal(to_tensor(once), to_tensor(draw_film(6)))


def test_extremes_fill_the_range():
    gray = np.zeros((10, 20), np.uint8)
    gray[:, 10:] = 255
    tensor = to_tensor(gray)
    assert (tensor.min(), tensor.max()) == (0, 1)
    assert tensor.dtype == torch.float32
    assert tensor.shape == (1, 224, 224)


def test_parity_of_serving_and_training(tmp_path):
    """The handler's tensor equals the training data set's, bit for bit."""
    for seed, kind in enumerate(["PNG", "JPEG"]):
        data = encode(draw_film(seed, 640, 512), kind)
        path = tmp_path / f"film.{kind.lower()}"
        path.write_bytes(data)
        explained = Request(InlineImage(data), explanation=Explanation.GRID)  # keeps the tensor
        [outcome] = served("4.0").classify([explained])
        trained, _ = FilmDataset([Film(path, path.name, "normal", "train", "")], ["normal"])[0]
        assert torch.equal(outcome.image.pixels, trained)
