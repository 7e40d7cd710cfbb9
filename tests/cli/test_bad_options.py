"""Options and configurations that cannot be: exit code 2 or 3, one message that names them, no file, no traceback."""

import re
import shutil
import time
from pathlib import Path

import pytest

from morpheus_lite.cli import main

EXAMPLES = Path(__file__).parents[2] / "examples" / "data"
DIGITS = "9" * 200

CLASSIFY = ["classify", "field.fits", "-o", "out"]
CATALOG = ["catalog", "field.fits", "--maps", "absent.fits", "-o", "out.fits"]
BATCH = ["batch", "field.fits", "-o", "out"]
EQUAL = "spheroid=1,disk=1,irregular=1,point_source=1"
SIMULATE = ["simulate", "--seed", "1", "-o", "out"]
TRAIN = ["train", "bad.toml", "--run", "run", "-o", "out"]

OPTIONS = {
    ("classify", "batch"): {
        "--stride": ["0", "-1", "1.5", "nan", "x", DIGITS],
        "--edges": ["sometimes", ""],
        "--segmentation": ["cake"],
        "--products": ["", "cake", "maps,cake", ","],
        "--model": ["", "nonsense", "absent/model", "field.fits"],
    },
    ("classify",): {
        "--memory": ["", "x", "-1GB", "0", "nan", "1e9", DIGITS, "9" * 400 + "GB", "2 gallons"],
        "--catalog-format": ["hdf5"],
        "--columns": ["topcat"],
        "--planes": ["", "cake"],
        "--device": ["", "tpu", "gpu:x", "gpu:-1"],
        "--precision": ["float8"],
        "--seed-threshold": ["nan", "inf", "0", "-1", "1.5", "x"],
        "--threshold": ["nan", "0", "2", "x"],
        "--min-area": ["0", "-5", "2.5", "nan", DIGITS],
        "--min-snr": ["nan", "inf", "-1", "x"],
        "--name": ["", "a/b", "n" * 300],
        "--band": ["F160W", "=x", "F160W="],
    },
    ("classify", "catalog"): {
        "--rms": ["absent.fits", "NAME="],
        "--weight": ["absent.fits"],
        "--dq": ["absent.fits"],
        "--zero-point": ["F160W=", "F160W=nan", "F160W=inf", "F160W=bright", "=25"],
    },
    ("classify", "catalog", "batch"): {
        "--aperture-radii": ["", "x", "nan", "inf", "-1", "0", "0.5,x"],
        "--aperture-unit": ["parsec"],
        "--psf": ["", "0,2", "0", "-1", "3,1", "3px,nan", "2 5", "absent.fits", "F160W=0,2"],
        "--psf-fwhm": ["nan", "inf", "0", "-1", "x"],
        "--gain": ["nan", "0", "-1", "F160W=x", "F160W=", "=2"],
        "--saturation": ["nan", "inf", "x"],
        "--class-prior": [
            "x",
            "0.5",
            "spheroid=1",
            EQUAL.replace("=1", "=-1"),
            EQUAL.replace("=1", "=0"),
            EQUAL + ",qso=1",
        ],
    },
    ("batch",): {
        "--workers": ["-1", "1.5", "x", DIGITS],
        "--memory-limit": ["x", "", "1KB", "0", "-1GB", DIGITS],
        "--scheduler": ["x", "tcp://", "carrier-pigeon://host:1", "host:port"],
        "--dashboard": ["x", "127.0.0.1:x", "127.0.0.1:99999", "nowhere.invalid:0", "8.8.8.8:0"],
        "--tls-ca": ["absent.pem", "."],
        "--tls-cert": ["absent.pem", "field.fits"],
        "--retries": ["-1", "x", DIGITS],
        "--tile-timeout": ["0", "-1", "nan", "inf", "x"],
        "--tile-size": ["0", "-4096", "x"],
        "--noise": ["", "image"],
    },
    ("simulate",): {
        "--seed": ["-1", "1.5", "x", DIGITS],
        "--count": ["0", "-1", DIGITS],
        "--pixel-scale": ["nan", "inf", "0", "-0.06", "1e-300", "1e300", "x"],
        "--depth": ["nan", "inf", "0", "-1", "x"],
        "--bands": ["", "CAKE", "F160W,F160W"],
        "--conditions": ["perfect"],
    },
}
COMMANDS = {"classify": CLASSIFY, "catalog": CATALOG, "batch": BATCH, "simulate": SIMULATE}

OTHERS = [
    "classify",
    "classify absent.fits -o out",
    "classify s3://nobody.invalid.bucket/field.fits -o out",
    "classify ssh://nowhere.invalid/field.fits -o out",
    "classify http://nowhere.invalid/field.fits -o out",
    "classify carrier-pigeon://nowhere/field.fits -o out",
    "classify field.fits -o field.fits",
    "classify field.fits --config absent.toml",
    "classify field.fits --config .",
    "classify field.fits truth.fits --name one -o out",
    "classify field.fits --band-names A,B -o out",
    "classify field.fits --seed-threshold 0.3 --threshold 0.6 --model hst -o out",
    "classify field.fits --detection-band F999W -o out",
    "classify field.fits --model hausen2020 --class-prior equal -o out",
    "catalog field.fits --maps absent.fits -o out.cake",
    "catalog field.fits --maps absent.fits -o out",
    "catalog field.fits -o out.fits",
    "catalog --maps absent.fits -o out.fits",
    "catalog field.fits --maps . -o out.fits",
    "batch absent.fits -o out",
    "batch absent/*.fits -o out",
    "batch absent.csv -o out",
    "batch bad.csv -o out",
    "batch field.fits",
    "batch field.fits -o field.fits",
    "batch field.fits -o out --workers 1 --scheduler tcp://host:1",
    "batch field.fits -o out --scheduler tls://127.0.0.1:1 --tls-ca absent.pem",
    "simulate -o out",
    "simulate --seed 1 --shape 16 16 -o out",
    "simulate --seed 1 --shape 64 -o out",
    "simulate --seed 1 --shape 1000000000 1000000000 -o out",
    "simulate --seed 1 -o field.fits",
    "evaluate out.fits --truth absent.fits",
    "evaluate absent.fits --truth truth.fits",
    "evaluate truth.fits",
    "evaluate field.fits --truth field.fits",
    "evaluate bad.csv --truth truth.fits",
    "evaluate field.fits --truth bad.csv",
    "calibrate truth.fits",
    "calibrate --truth truth.fits",
    "calibrate absent.fits --truth truth.fits",
    "calibrate field.fits --truth truth.fits --bias odd",
    "calibrate field.fits --truth truth.fits --seed -1",
    "calibrate field.fits --truth truth.fits --sources",
    "calibrate field.fits field.fits --truth truth.fits",
    "info absent.fits",
    "info .",
    "info bad.csv",
    "info latin.toml",
    "models --nonsense",
    "train absent.toml -o out",
    "train field.fits -o out",
    "train . -o out",
    "train latin.toml -o out",
    "train field.fits -o out",
    "train bad.toml",
    "nonsense",
]

CONFIGURATIONS = [
    'stride = "three"', "stride = [1]", "stride = true", "stride = 1.5", "stride = nan", "stride = {a = 1}",
    "stride = 0", f"stride = {DIGITS}", "compress = 1", 'compress = "yes"', "compress = []", "products = 3",
    'products = ["cake"]',
    "memory = -2000000000", 'memory = "much"', "psf-fwhm = nan", 'psf-fwhm = "wide"', "core = inf", "core = true",
    "band = 3", "zero-point = {F160W = true}", "zero-point = [25]",
    "strides = 3", 'config = "again.toml"', "help = true",
    "images = 3", "verbose = -1.5", "[table]\na = 1", "stride = ", "a = " + "[" * 2000,
]  # fmt: skip

MODEL = """
[model]
down = [[1, 4]]
intermediate = [1, 4]
up = [[1, 4]]
bands = ["F160W"]
"""
TRAINING = f'name = "tiny"\nfields = ["absent*.npz"]\nvalidation = ["absent*.npz"]\nloss = "factored"\n{MODEL}'
WRONG = {
    "name": ["3", "true", '""', '["a"]', '"a\\u0000b"'],
    "fields": ["3", "[3]", "{a = 1}", "true"],
    "validation": ["nan", "[[]]"],
    "steps": ['"many"', "0", "-5", "1.5", "nan", "true", "[1]", "{a = 1}", DIGITS, "9" * 5000],
    "warmup": ["-1", '"x"', "false", "inf"],
    "learning_rate": ['"fast"', "0", "-1e-3", "nan", "inf", "true", "[1e-3]", DIGITS],
    "average": ["1", "-0.1", "nan", '"x"'],
    "checkpoint_every": ["0", "2.5", '"x"'],
    "patience": ["0", "nan", "[]"],
    "seed": ["-1", "1.5", '"x"', "1" * 30],
    "simulated": ["0", "1", "nan", '"half"'],
    "loss": ['"cake"', "3", "[]"],
    "start": ["3", '""', '"nonsense"', "[]", "{}"],
    "stages": ["3", '"x"', "[3]", "[]", "{a = 1}", "[{patch = 16, nonsense = 1}]"],
    "images": ["3", '"x"', "[3]", "[{}]", '[{image = 3, class_map = "a"}]', '[{image = "a"}]',
               '[{image = {}, class_map = "a"}]'],
    "model": ["3", '"hst"', "[]", "{}", '{down = "x", intermediate = [1, 4], up = [[1, 4]]}'],
    "step": ["100"],
}  # fmt: skip
STAGE = {
    "until": ["5", "0", '"x"', "true"],
    "patch": ["15", "0", "-16", '"x"', "16.0", "nan", "100000"],
    "batch": ["0", '"x"', "true", DIGITS],
    "pool": ["0", "[]"],
    "bright": ["-1", "nan", '"x"'],
    "classes": ["1", "[1, 1]", '["x", 1, 1, 1]', "[-1, 1, 1, 1]", "[0, 0, 0, 0]", "[nan, 1, 1, 1]"],
    "styles": ["[1, 1, 1, 1]", "[0, 0, 0]"],
    "drop_bands": ["1.5", '"x"'],
}
IMAGE = {
    "labels": ["3", "[]"], "class_map": ["{}", "3"], "rms": ["3", "{F160W = 3}"], "share": ["0", "-1", "nan", '"x"'],
    "held_out": ["0.25", '"middle 0.3"', '"left nan"', '"left 2"', '""'], "sources": ['"a"'], "mask": ['"m"'],
}  # fmt: skip
NETWORK = {
    "down": [
        "3",
        "[3]",
        "[[1]]",
        '[["x", 4]]',
        "[[1, -4]]",
        "[]",
        "[[1, 4], [1, 4]]",
        f"[[1, {DIGITS}]]",
        "[[1, true]]",
    ],
    "intermediate": ["3", "[]", "[1, 1.5]"],
    "cell": ["0", '"x"', "true", "1.5", DIGITS],
    "bands": ['"F160W"', "[3]", "3"],
    "stretches": ["[]", "3", '["x"]', "[0]", "[nan]", "[inf]"],
    "nonsense": ["3"],
}


def with_key(text, key, value):
    """The TOML with a key of its first table changed or added."""
    if re.search(rf"(?m)^{key} = .*$", text):
        return re.sub(rf"(?m)^{key} = .*$", lambda _: f"{key} = {value}", text, count=1)
    return f"{key} = {value}\n{text}"


def trainings():
    """Name -> configuration of a training that cannot be, and what the message has to name."""
    for key, values in WRONG.items():
        for value in values:
            text = TRAINING.partition("[model]")[0] if key == "model" else TRAINING
            yield f"{key} = {value}"[:40], with_key(text, key, value), key
    for key, values in STAGE.items():
        for value in values:
            yield f"stage {key} = {value}"[:40], f"{TRAINING}[[stages]]\n{key} = {value}\n", key
    for key, values in IMAGE.items():
        for value in values:
            image = with_key('image = "absent.fits"\nclass_map = "absent.fits"\n', key, value)
            yield f"image {key} = {value}"[:40], f"{TRAINING}[[images]]\n{image}", key
    for key, values in NETWORK.items():
        for value in values:
            head, _, model = TRAINING.partition("[model]\n")
            yield f"model {key} = {value}"[:40], f"{head}[model]\n{with_key(model, key, value)}", key


TRAININGS = list(trainings())
CASES = [
    pytest.param([*COMMANDS[command], option, value], option, id=f"{command} {option} {value[:20]}")
    for commands, table in OPTIONS.items()
    for option, values in table.items()
    for value in values
    for command in commands
]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working directory with a good image, a truth file, and files that are none."""
    shutil.copyfile(EXAMPLES / "demo_field.fits", tmp_path / "field.fits")
    shutil.copyfile(EXAMPLES / "demo_truth.fits", tmp_path / "truth.fits")
    (tmp_path / "bad.csv").write_bytes(b"\xff\xfe,image\n\x00")
    (tmp_path / "latin.toml").write_bytes('name = "Käse"\n'.encode("latin-1"))
    (tmp_path / "bad.toml").write_text(TRAINING)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    return tmp_path


def refused(arguments, folder, capsys):
    """What the command says, once it has behaved."""
    before = {path: path.stat().st_size for path in folder.rglob("*") if path.is_file()}
    started = time.monotonic()
    code = main(arguments)
    assert time.monotonic() - started < 120  # on a machine with nothing else to do: 5 s, for TensorFlow
    captured = capsys.readouterr()
    assert code in (2, 3), captured.err
    assert "Traceback" not in captured.err and captured.out == ""
    lines = [line for line in captured.err.splitlines() if not line.startswith(("Usage:", "Try ")) and line.strip()]
    assert 1 <= len(lines) <= 3 and len(captured.err) < 1500, captured.err
    assert {path: path.stat().st_size for path in folder.rglob("*") if path.is_file()} == before
    return captured.err


def named(message, option):
    """Whether a message names an option, however it writes it."""
    key = option.strip("-").replace("-", "_").lower()
    return key.rstrip("s") in message.replace("-", "_").replace(" ", "_").lower()


@pytest.mark.parametrize(("arguments", "option"), CASES)
def test_bad_options(arguments, option, folder, capsys):
    message = refused(arguments, folder, capsys)
    value = arguments[-1].partition(",")[0]
    assert named(message, option) or (len(value) > 3 and value in message), message


@pytest.mark.parametrize("line", OTHERS)
def test_bad_commands(line, folder, capsys):
    refused(line.split(), folder, capsys)


@pytest.mark.parametrize("text", CONFIGURATIONS, ids=[text[:30] for text in CONFIGURATIONS])
def test_bad_files_of_options(text, folder, capsys):
    (folder / "options.toml").write_text(text)
    message = refused([*CLASSIFY, "--config", "options.toml"], folder, capsys)
    key = text.partition(" = ")[0].strip("[]").split("]")[0]
    assert named(message, key) or "TOML" in message, message


@pytest.mark.parametrize(("text", "key"), [case[1:] for case in TRAININGS], ids=[case[0] for case in TRAININGS])
def test_bad_trainings(text, key, folder, capsys):
    (folder / "bad.toml").write_text(text)
    message = refused(TRAIN, folder, capsys)
    assert key in message.replace("' '", "").replace(" ", "_") or "TOML" in message, message
