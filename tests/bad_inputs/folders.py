"""Folders of images that are laid out wrongly, or hold one image twice: rows 18 to 30."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from PIL import Image

from tests.bad_inputs.images import DATA, GRAY, HOLDS, SKIPPED_HINT, N, draw, encode, with_files, write_photos
from tests.bad_inputs.row import Row

READ = "png, jpg, jpeg, webp, bmp, gif, tif, tiff"
EMPTY_CLASS_HINT = "put images into it, or remove the folder"


def write_sides(root: Path) -> None:
    write_photos(root / "train")
    write_photos(root / "test", n=10, seed=1000)


def write_with_empty_class(root: Path) -> None:
    write_photos(root)
    (root / "emu").mkdir()


def write_with_links(root: Path) -> None:
    write_photos(root)
    (root / "loop").symlink_to(root, target_is_directory=True)
    (root / "cat" / "loop").symlink_to(root / "cat", target_is_directory=True)


def write_with_dangling_link(root: Path) -> None:
    write_photos(root)
    (root / "cat" / "gone.png").symlink_to("nowhere.png")


def write_papers(root: Path) -> None:
    for name in ("cat/a.pdf", "dog/b.doc"):
        (root / name).parent.mkdir(parents=True)
        (root / name).write_text("no image")


def write_leaking(root: Path) -> None:
    write_sides(root)
    (root / "test" / "cat" / "copy.png").write_bytes((root / "train" / "cat" / "4.png").read_bytes())


def write_nearly_leaking(root: Path) -> None:
    write_sides(root)
    pixels = draw(3)
    pixels[::8, ::8] += 1
    Image.fromarray(pixels).save(root / "test" / "cat" / "near.png")


def write_twice_labelled(root: Path, number: int) -> None:
    write_photos(root)
    (root / "dog" / "twin.png").write_bytes((root / "cat" / f"{number}.png").read_bytes())


# ---- rows


ACCEPTED = (
    Row(
        21,
        "hidden folders",
        "OK",
        DATA,
        with_files({".git/x.png": encode("PNG"), "cat/.thumbs/x.png": encode("PNG")}),
        notes=(HOLDS, GRAY),
        n=N,
    ),
    Row(
        22,
        "an image beside the class folders",
        "W",
        DATA,
        with_files({"stray.png": encode("PNG")}),
        notes=("1 image beside the class folders is not used: stray.png",),
        findings=(
            (
                "warning",
                "1 image beside the class folders is not used: stray.png",
                "move them into the folder of their class, or away",
            ),
        ),
        named="stray.png",
        n=N,
    ),
    Row(
        23,
        "a loop of links",
        "OK",
        DATA,
        write_with_links,
        notes=(HOLDS, GRAY, "links to folders are not followed: loop"),
        n=N,
    ),
    Row(
        24,
        "a link that leads nowhere",
        "S",
        DATA,
        write_with_dangling_link,
        notes=("skipped 1 unreadable: cat/gone.png: a link that leads nowhere",),
        findings=(("warning", "skipped 1 unreadable: cat/gone.png: a link that leads nowhere", SKIPPED_HINT),),
        named="cat/gone.png",
        n=N,
    ),
    Row(
        26,
        "classes Cat and cat",
        "W",
        DATA,
        lambda root: write_photos(root, classes=("Cat", "cat")),
        notes=("the classes 'Cat' and 'cat' differ in upper and lower case only",),
        findings=(
            (
                "warning",
                "the classes 'Cat' and 'cat' differ in upper and lower case only",
                "merge the two folders if they mean the same class",
            ),
        ),
        named="'Cat' and 'cat'",
        n=N,
        classes=("Cat", "cat"),
    ),
    Row(
        29,
        "near duplicates",
        "W",
        DATA,
        write_nearly_leaking,
        notes=("1 of the 21 test images looks nearly like one in train: train/cat/3.png and test/cat/near.png",),
        findings=(
            (
                "warning",
                "1 image held out is nearly the same as one of another side: train/cat/3.png and test/cat/near.png",
                "keep what was taken together (a burst, a video, copies) on one side: "
                "else what is measured is too good",
            ),
        ),
        named="test/cat/near.png",
        n=N + 21,
    ),
    *(
        Row(
            30,
            f"one image, two labels, {side}",
            "W",
            DATA,
            partial(write_twice_labelled, number=number),
            notes=(f"one image is there under two labels: cat/{number}.png (cat) and dog/twin.png (dog)",),
            findings=(
                (
                    "warning",
                    f"1 image stands under two labels: cat/{number}.png (cat) and dog/twin.png (dog)",
                    "correct the labels, or remove those that nobody can tell apart",
                ),
            ),
            named="dog/twin.png",
            n=N + 1,
        )
        for number, side in ((4, "trained on"), (3, "held out"))
    ),
)

REFUSED = (
    Row(
        18,
        "an empty class folder",
        "R",
        DATA,
        write_with_empty_class,
        error=f"{{data}}/emu: no images in this class folder ({READ})",
        hint=EMPTY_CLASS_HINT,
        named="emu",
    ),
    Row(
        19,
        "a class folder without images",
        "R",
        DATA,
        with_files({"emu/notes.doc": b"none yet"}),
        error=f"{{data}}/emu: no images in this class folder ({READ})",
        hint=EMPTY_CLASS_HINT,
        named="emu",
    ),
    Row(
        20,
        "one class only",
        "R",
        DATA,
        lambda root: write_photos(root, classes=("cat",)),
        error="{data}, by its folders: there is only the class 'cat'",
        hint="add examples of another class: a classifier needs two at least",
        named="'cat'",
    ),
    Row(
        27,
        "no images at all",
        "R",
        DATA,
        write_papers,
        error=f"{{data}}: no images in any of its folders ({READ}); it holds files of other kinds: .doc, .pdf",
        hint="put images into them",
        named="{data}",
    ),
    Row(
        27,
        "an empty folder",
        "R",
        DATA,
        lambda root: root.mkdir(),
        error="{data}: the folder is empty",
        hint="put one folder of images for each class into it",
        named="{data}",
    ),
    Row(
        28,
        "one image in train and test",
        "R",
        DATA,
        write_leaking,
        error="the same image is in train and test: train/cat/4.png and test/cat/copy.png",
        hint="remove it from one of them, or set data.allow_leakage to true: what is measured on test is then too good",
        findings=(
            (
                "error",
                "1 image of test is in train, too: train/cat/4.png and test/cat/copy.png",
                "remove it from one side: what is measured on test is too good; or set data.allow_leakage to true",
            ),
        ),
        named="test/cat/copy.png",
    ),
)

ROWS = (*ACCEPTED, *REFUSED)
