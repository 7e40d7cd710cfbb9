"""Corrections: what they make of a label map and a catalogue, and files that are refused."""

import json
from dataclasses import replace

import numpy as np
import pytest
from report_inputs import make_run

from morpheus_lite.errors import InputError, OutputError
from morpheus_lite.io import read_corrections, write_corrections
from morpheus_lite.io.corrections import Correction, SourcePart, digest_labels

LABELS = np.array(
    [
        [1, 1, 1, 1, 0, 2, 2],
        [1, 1, 1, 1, 0, 2, 2],
        [0, 0, 0, 0, 0, 0, 0],
        [5, 5, 0, 7, 7, 9, 9],
    ],
    np.int32,
)


@pytest.fixture(scope="module")
def image():
    whole = make_run()[0]
    return replace(whole, data=whole.data[:4, :7], valid=whole.valid[:4, :7], wcs=None)


@pytest.fixture
def write(image, tmp_path):
    def writer(*sources, labels=LABELS):
        return write_corrections(sources, image, labels, tmp_path / "c.json", model="hst", overwrite=True)

    return writer


def test_what_is_written_is_read(write, image):
    sources = (
        Correction((1,), None, (SourcePart(0, 0, "disk"), SourcePart(3, 1))),
        Correction((2,), "background"),
        Correction((5, 7), "spheroid"),
        Correction((9,), "irregular"),
    )
    found = read_corrections(write(*sources))
    assert found.sources == sources and found.shape == (4, 7) and found.model == "hst"
    assert found.labels_digest == digest_labels(LABELS) and list(found.bands) == list(image.bands)
    found.check_image(image)


def test_digests_are_what_the_documentation_says():
    """Height, width and labels as little-endian int32: 1 x 2 pixels with labels 3 and 0."""
    assert digest_labels(np.array([[3, 0]], np.int64)) == (
        "81c1a5a2f482e82ca2c66653482ab24e6d90944bf183c8164e8f8f8d72db60db"
    )


def test_the_label_map_becomes_what_was_said(write):
    found = read_corrections(
        write(
            Correction((1,), None, (SourcePart(0, 0, "disk"), SourcePart(3, 1))),
            Correction((2,), "background"),
            Correction((5, 7), "spheroid"),
            Correction((9,), "irregular"),
        )
    )
    corrected = found.apply(LABELS)
    # of label 1, columns 0 and 1 are nearer to (0, 0), columns 2 and 3 to (3, 1)
    np.testing.assert_array_equal(
        corrected.labels,
        [[1, 1, 10, 10, 0, 0, 0], [1, 1, 10, 10, 0, 0, 0], [0] * 7, [5, 5, 0, 5, 5, 9, 9]],
    )
    np.testing.assert_array_equal(corrected.false, np.where(LABELS == 2, 2, 0))
    assert corrected.classes == {1: "disk", 5: "spheroid", 9: "irregular"}
    assert corrected.reshaped == {1, 10, 5} and corrected.labels.dtype == np.int32


def test_of_pixels_as_far_from_two_parts_the_first_has_them(write):
    labels = np.ones((4, 7), np.int32)
    found = read_corrections(write(Correction((1,), None, (SourcePart(6, 0), SourcePart(0, 0))), labels=labels))
    np.testing.assert_array_equal(found.apply(labels).labels, [[2, 2, 2, 1, 1, 1, 1]] * 4)


def test_a_catalogue_is_corrected_or_has_to_be_measured_again(write):
    table = make_run()[3][:5]
    table["label"] = np.array([1, 2, 5, 7, 9], np.int32)
    corrected = read_corrections(write(Correction((2,), "background"), Correction((9,), "irregular"))).apply(LABELS)
    found = corrected.correct_catalog(table)
    assert found["label"].tolist() == [1, 5, 7, 9] and found["corrected"].tolist() == [False, False, False, True]
    assert found["morphology"].tolist() == [*table["morphology"][[0, 2, 3]], "irregular"]
    assert "corrected" not in table.colnames and len(table) == 5
    for one in (Correction((5, 7)), Correction((1,), None, (SourcePart(0, 0), SourcePart(3, 0)))):
        with pytest.raises(InputError, match="measure again"):
            read_corrections(write(one)).apply(LABELS).correct_catalog(table)


def test_other_images_and_label_maps_are_refused(write, image):
    found = read_corrections(write(Correction((1,), "disk")))
    other = LABELS.copy()
    other[3, 2] = 5
    with pytest.raises(InputError, match="not the label map"):
        found.apply(other)
    with pytest.raises(InputError, match="the label map has shape"):
        found.apply(LABELS[:3])
    brighter = image.data.copy()
    brighter[0, 0, 1] += 1
    with pytest.raises(InputError, match=f"other pixels in {image.bands[1]}"):
        found.check_image(replace(image, data=brighter))
    with pytest.raises(InputError, match="the corrections are of"):
        found.check_image(replace(image, bands=("A", "B")))
    single = replace(
        image, data=image.data[..., :1], valid=image.valid[..., :1], bands=image.bands[:1], zero_points=(), units=()
    )
    with pytest.raises(InputError, match="the corrections are of"):
        found.check_image(single)
    outside = read_corrections(write(Correction((1,), None, (SourcePart(0, 0), SourcePart(5, 0)))))
    with pytest.raises(InputError, match="x 5, y 0 is not a pixel of"):
        outside.apply(LABELS)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": "ecsv"}, 'expected "format"'),
        ({"version": 2}, "version 2 of the format"),
        ({"labels": None}, "expected a text"),
        ({"image": {"name": "a", "shape": [4], "bands": {}}}, "not what the report saves"),
        ({"image": {"name": "a", "shape": [4, 7.5], "bands": {}}}, "expected whole numbers"),
        ({"sources": [{"labels": [1], "class": "galaxy"}]}, "'galaxy': choose one of spheroid, .*background"),
        ({"sources": [{"labels": [True], "class": "disk"}]}, "expected whole numbers"),
        ({"sources": [{"labels": [], "class": "disk"}]}, "expected whole numbers, at least 1"),
        ({"sources": [{"labels": [0], "class": "disk"}]}, "expected whole numbers, at least 1"),
        ({"sources": [{"labels": [1], "class": None}]}, "expected a class, parts, or other labels"),
        ({"sources": [{"labels": [1], "class": "disk"}, {"labels": [2, 1]}]}, "label 1 is in two corrections"),
        ({"sources": [{"labels": [1], "parts": [{"x": 1, "y": 1}]}]}, "expected two or more"),
        ({"sources": [{"labels": [1], "parts": [{"x": 1, "y": 1}, {"x": 1, "y": 1}]}]}, "at different pixels"),
        ({"sources": [{"labels": [1], "parts": [{"x": 1}, {"x": 2}]}]}, "KeyError 'y'"),
        ({"sources": [3]}, "not what the report saves"),
        ({"sources": None}, "not what the report saves"),
    ],
)
def test_files_that_say_what_cannot_be_are_refused(write, change, message):
    path = write(Correction((1,), "disk"))
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(InputError, match=message):
        read_corrections(path)


def test_what_is_no_file_of_corrections_is_refused(write, tmp_path):
    for content in (b"", b"[1]", b"\xff\xfe", b'"x"'):
        (tmp_path / "x.json").write_bytes(content)
        with pytest.raises(InputError, match="the report saves them"):
            read_corrections(tmp_path / "x.json")
    with pytest.raises(InputError, match="the report saves them"):
        read_corrections(tmp_path / "nowhere.json")
    path = write(Correction((1,), "disk"))
    with pytest.raises(OutputError):
        write_corrections([], make_run()[0], LABELS, path)
