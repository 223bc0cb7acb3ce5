"""Folders of pictures: order, classes, splits, modes and sizes, and what is no picture."""

import warnings

import numpy as np
import pytest
import torch
from PIL import Image

from holdfast.data import load
from holdfast.data.images import decode, header
from holdfast.errors import DataError, OptionError

H, W = 4, 6  # not square, so that exchanged axes show


def pixels(number, mode="RGB"):
    shape = (H, W) if mode == "L" else (H, W, len(mode))
    return np.random.default_rng(number).integers(0, 256, shape).astype(np.uint8)


def save(path, number=0, mode="RGB", **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels(number, mode)).save(path, **options)
    return path


@pytest.fixture
def pets(tmp_path):
    """Three cats and two dogs."""
    root = tmp_path / "pets"
    for i in range(3):
        save(root / "cats" / f"{i}.png", i)
    for i in range(2):
        save(root / "dogs" / f"{i}.png", 10 + i)
    return root


def test_classes_take_turns_and_pixels_are_exact(pets):
    pictures = load(pets)
    assert pictures.classes == ("cats", "dogs")
    assert pictures.labels.tolist() == [0, 1, 0, 1, 0]
    want = np.stack([pixels(n).transpose(2, 0, 1) for n in (0, 10, 1, 11, 2)])
    assert torch.equal(pictures.images, torch.from_numpy(want))
    assert pictures.shape == (3, H, W)
    assert (pictures.name, pictures.split, pictures.skipped, pictures.notes) == ("pets", "test", (), ())
    assert pictures.place.tolist() == [0, 1, 2, 3, 4]


def test_limit_is_a_fair_beginning(pets):
    whole, few = load(str(pets)), load(str(pets), limit=3)
    assert torch.equal(few.images, whole.images[:3])
    assert few.labels.tolist() == [0, 1, 0]
    assert len(load(pets, limit=100)) == 5


def test_classes_are_sorted_as_text(tmp_path):
    for name in ("10", "2", "Zebra", "ant"):
        save(tmp_path / name / "a.png")
    assert load(tmp_path).classes == ("10", "2", "Zebra", "ant")


@pytest.mark.parametrize(("ending", "options"), [("bmp", {}), ("webp", {"lossless": True}), ("PNG", {})])
def test_lossless_formats_are_exact(tmp_path, ending, options):
    save(tmp_path / "a" / f"x.{ending}", 3, **options)
    assert torch.equal(load(tmp_path).images[0], torch.from_numpy(pixels(3).transpose(2, 0, 1)))


def test_jpeg_is_read(tmp_path):
    Image.new("RGB", (W, H), (200, 100, 50)).save(save(tmp_path / "a" / "x.jpg"), quality=95)
    assert (load(tmp_path).images[0].float().mean((1, 2)) - torch.tensor([200.0, 100.0, 50.0])).abs().max() < 3


def test_files_lie_at_any_depth_and_hidden_ones_are_no_matter(tmp_path):
    save(tmp_path / "a" / "deep" / "er" / "x.png", 1)
    save(tmp_path / "a" / ".thumbs" / "y.png", 2)
    save(tmp_path / "__MACOSX" / "y.png", 2)
    (tmp_path / "a" / ".DS_Store").write_bytes(b"x")
    (tmp_path / "readme.txt").write_text("not in a class")
    pictures = load(tmp_path)
    assert len(pictures) == 1
    assert pictures.classes == ("a",)
    assert pictures.skipped == ()


def test_grey_alone_gives_one_channel(tmp_path):
    save(tmp_path / "a" / "x.png", 1, "L")
    save(tmp_path / "b" / "x.png", 2, "L")
    pictures = load(tmp_path)
    assert pictures.shape == (1, H, W)
    assert torch.equal(pictures.images[:, 0], torch.from_numpy(np.stack([pixels(1, "L"), pixels(2, "L")])))
    assert pictures.notes == ()


@pytest.mark.parametrize("limit", [None, 1])
def test_grey_among_colour_gives_three_equal_channels(tmp_path, limit):
    save(tmp_path / "a" / "x.png", 1, "L")
    save(tmp_path / "b" / "x.png", 2)
    pictures = load(tmp_path, limit=limit)
    assert pictures.shape == (3, H, W), "whatever the limit"
    assert torch.equal(pictures.images[0], torch.from_numpy(pixels(1, "L")).expand(3, H, W))
    assert pictures.notes == (f"1 of {len(pictures)} pictures converted from mode L to RGB",)


def test_transparency_is_dropped_and_said(tmp_path):
    save(tmp_path / "a" / "x.png", 1, "RGBA")
    pictures = load(tmp_path)
    assert torch.equal(pictures.images[0], torch.from_numpy(pixels(1, "RGBA")[..., :3].transpose(2, 0, 1)))
    assert pictures.notes == ("1 of 1 pictures converted from mode RGBA to RGB",)


def test_sixteen_bits_are_rounded_not_clipped(tmp_path):
    deep = np.array([[0, 128, 129, 257], [32768, 65535, 65406, 65407]], np.uint16)
    (tmp_path / "a").mkdir()
    Image.fromarray(deep).save(tmp_path / "a" / "x.png")
    assert load(tmp_path).images[0, 0].tolist() == [[0, 0, 1, 1], [128, 255, 254, 255]]


def test_palettes_and_black_and_white_are_converted(tmp_path):
    (tmp_path / "a").mkdir()
    colours = np.random.default_rng(0).choice([0, 128, 255], (H, W, 3)).astype(np.uint8)
    Image.fromarray(colours).quantize(27).save(tmp_path / "a" / "p.png", transparency=bytes([0, 128]))
    Image.fromarray(pixels(0, "L") > 127).save(tmp_path / "a" / "q.png")
    Image.fromarray(pixels(1)).convert("CMYK").save(tmp_path / "a" / "r.jpg")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pictures = load(tmp_path)
    assert torch.equal(pictures.images[0], torch.from_numpy(colours.transpose(2, 0, 1)))
    assert torch.equal(pictures.images[1, 0], torch.from_numpy(pixels(0, "L") > 127).byte() * 255)
    assert [note.split("mode ")[1] for note in pictures.notes] == ["1 to RGB", "CMYK to RGB", "P to RGB"]


def test_exif_orientation_is_applied(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned a quarter clockwise
    save(tmp_path / "a" / "x.png", 1, exif=exif)
    save(tmp_path / "b" / "y.png", 2).rename(tmp_path / "b" / "z.png")
    turned = np.rot90(pixels(1), -1).transpose(2, 0, 1)
    with pytest.raises(DataError, match=rf"'x.png' {W}x{H} and 'z.png' {H}x{W}"):
        load(tmp_path)
    (tmp_path / "b" / "z.png").unlink()
    (tmp_path / "b").rmdir()
    pictures = load(tmp_path)
    assert torch.equal(pictures.images[0], torch.from_numpy(turned.copy()))
    assert pictures.notes == ("1 of 1 pictures turned as their EXIF orientation says",)


@pytest.mark.parametrize("orientation", [0, 1, 9])
def test_an_orientation_without_meaning_changes_nothing(tmp_path, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    save(tmp_path / "a" / "x.png", 1, exif=exif)
    pictures = load(tmp_path)
    assert torch.equal(pictures.images[0], torch.from_numpy(pixels(1).transpose(2, 0, 1)))
    assert pictures.notes == pictures.skipped == ()


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_header_foretells_the_size(tmp_path, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = save(tmp_path / "x.png", 1, exif=exif)
    picture = decode(path, None, True)
    assert header(path).size == picture.pixels.shape[1:] == ((H, W) if orientation < 5 else (W, H))
    assert len(picture.changes) == (orientation > 1)


def test_several_sizes_are_refused_with_the_way_out(pets):
    Image.new("RGB", (9, 5)).save(pets / "dogs" / "wide.png")
    with pytest.raises(DataError, match=r"pictures of 2 sizes, e.g. '0.png' 4x6 and 'wide.png' 5x9 \(HxW\).*resize="):
        load(pets, limit=1)
    pictures = load(pets, resize=(8, 12))
    assert pictures.shape == (3, 8, 12)
    assert pictures.notes == ("6 of 6 pictures resized to 8x12 (HxW), bilinear, aspect not kept",)


def test_resize_is_height_then_width(tmp_path):
    ramp = np.repeat(np.linspace(0, 255, 40).astype(np.uint8)[:, None], 20, 1)  # brighter downwards
    (tmp_path / "a").mkdir()
    Image.fromarray(ramp).save(tmp_path / "a" / "x.png")
    small = load(tmp_path, resize=(8, 5)).images[0, 0].int()
    assert small.shape == (8, 5)
    assert (small.diff(dim=0) > 20).all()
    assert (small.diff(dim=1) == 0).all()
    assert load(tmp_path, resize=7).shape == (1, 7, 7)


def test_resizing_to_the_same_size_changes_nothing(pets):
    assert load(pets, resize=(H, W)).sha256() == load(pets).sha256()
    assert load(pets, resize=(H, W)).notes == ()


@pytest.mark.parametrize("resize", [0, -4, (4, 0), (1, 2, 3), (2.5, 2)])
def test_a_size_that_is_none_is_refused(pets, resize):
    with pytest.raises(OptionError, match=r"resize=.*allowed: a side or"):
        load(pets, resize=resize)


def test_resize_is_for_folders_only():
    with pytest.raises(OptionError, match=r"resize=28 with 'digits', which is 8x8; allowed: folders only"):
        load("digits", resize=28)


def test_what_is_no_picture_is_named_and_left_out(pets):
    (pets / "cats" / "0a.txt").write_text("not a picture")
    broken = (pets / "cats" / "1.png").read_bytes()
    (pets / "cats" / "1.png").write_bytes(broken[: len(broken) // 2])
    (pets / "dogs" / "Thumbs.db").write_bytes(b"")
    pictures = load(pets)
    assert pictures.skipped == ("cats/0a.txt", "cats/1.png", "dogs/Thumbs.db")
    assert pictures.labels.tolist() == [0, 1, 1, 0]
    assert pictures.place.tolist() == [0, 1, 2, 3]


def test_other_formats_are_no_pictures(pets):
    Image.new("RGB", (W, H)).save(pets / "cats" / "x.gif")
    assert load(pets).skipped == ("cats/x.gif",)


def test_no_picture_at_all_is_an_error(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "notes.txt").write_text("words")
    with pytest.raises(DataError, match=r"none of the 2 files of split 'test' is a picture, e.g. 'a/notes.txt'.*PNG"):
        load(tmp_path)


def test_an_empty_class_is_an_error(pets):
    (pets / "birds").mkdir()
    with pytest.raises(DataError, match=r"birds': class folder without files; allowed: at least one"):
        load(pets)


def test_a_folder_without_classes_is_an_error(tmp_path):
    with pytest.raises(DataError, match=r"no sub-folders; allowed: FOLDER/CLASS/PICTURE"):
        load(tmp_path)


def test_a_file_is_not_a_folder(pets):
    with pytest.raises(DataError, match=r"0.png' is a file; allowed: a folder arranged as"):
        load(pets / "cats" / "0.png")


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(DataError, match=r"nowhere' does not exist; allowed: a folder"):
        load(str(tmp_path / "nowhere"))


def test_a_folder_without_training_part_is_all_test(pets):
    for split in ("train", "validation"):
        with pytest.raises(DataError, match=rf"no train/ in it, so all of it is split 'test', not '{split}'"):
            load(pets, split)


def test_a_class_may_be_called_train(tmp_path):
    for name in ("train", "bus"):
        save(tmp_path / name / "x.png")
    assert load(tmp_path).classes == ("bus", "train")


def with_splits(root, counts):
    for number, (split, count) in enumerate(counts.items()):
        for label in ("cats", "dogs"):
            for i in range(count):
                save(root / split / label / f"{i:02}.png", 1000 * number + 100 * (label == "dogs") + i)
    return root


def rows(pictures):
    return [image.numpy().tobytes() for image in pictures.images]


def test_split_folders_are_the_splits(tmp_path):
    root = with_splits(tmp_path, {"train": 4, "validation": 3, "test": 2})
    parts = {split: load(root, split) for split in ("train", "validation", "test")}
    assert [len(part) for part in parts.values()] == [8, 6, 4]
    assert len({row for part in parts.values() for row in rows(part)}) == 18
    assert {part.classes for part in parts.values()} == {("cats", "dogs")}
    (root / "validation").rename(root / "val")
    assert load(root, "validation").sha256() == parts["validation"].sha256()


def test_validation_is_carved_out_of_train(tmp_path):
    root = with_splits(tmp_path, {"train": 20, "test": 1})
    train, validation = load(root, "train", seed=3), load(root, "validation", seed=3)
    assert (len(train), len(validation)) == (36, 4)
    assert validation.labels.bincount().tolist() == [2, 2]
    assert len(set(rows(train)) | set(rows(validation))) == 40
    assert set(rows(load(root, "validation", seed=4))) != set(rows(validation))


def test_a_split_that_is_not_there_is_named(tmp_path):
    root = with_splits(tmp_path, {"train": 1})
    with pytest.raises(DataError, match=r"has train but no test/; allowed: .*Add it, or choose another"):
        load(root)
    (root / "train").rename(root / "test")
    with pytest.raises(DataError, match=r"has test but no validation/"):
        load(root, "validation")


def test_too_few_to_carve_from(tmp_path):
    save(tmp_path / "train" / "a" / "x.png")
    with pytest.raises(DataError, match=r"1 files in train/ leave none for split 'train'"):
        load(tmp_path, "train")


def test_classes_come_from_train(tmp_path):
    root = with_splits(tmp_path, {"train": 1, "test": 1})
    for file in (root / "test" / "cats").iterdir():
        file.unlink()
    (root / "test" / "cats").rmdir()
    test = load(root)
    assert test.classes == ("cats", "dogs")
    assert test.labels.tolist() == [1]
    save(root / "test" / "birds" / "x.png")
    with pytest.raises(DataError, match=r"class 'birds' is not in train/; allowed: cats, dogs"):
        load(root)
