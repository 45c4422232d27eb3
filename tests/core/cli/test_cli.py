"""The command line: what it writes, what it says, how it ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from fractions import Fraction
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image

import afunet_core as af
from afunet_core.cli import COMMANDS, main, options
from afunet_core.data.demo import demo_bracket
from afunet_core.merging.alignment import REGISTRATION_MODES
from afunet_core.merging.output import display_picture
from afunet_core.metrics import psnr_mu
from afunet_core.tonemap import OPERATORS
from afunet_core.utils.device import PRECISIONS
from scenes import exif_of, tiny_network, write_bracket

EV = (-2.0, 0.0, 2.0)
PLAIN = ["--method", "weighted", "--align", "off", "-q"]
Command = Callable[..., Any]


@pytest.fixture(scope="module")
def frames() -> list[np.ndarray]:
    return demo_bracket(reduction=12).frames


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    af.save_model(tiny_network(head="anchored", downscale=2), path)
    return str(path)


@pytest.fixture
def afunet(capsys: pytest.CaptureFixture[str]) -> Command:
    """Run a command, which must end with a status, and return what it said on stdout and on stderr."""

    def run(*words: object, ends: int = 0) -> Any:
        capsys.readouterr()
        assert main([str(word) for word in words]) == ends
        return capsys.readouterr()

    return run


@pytest.fixture
def refused(afunet: Command) -> Command:
    """Run a command that must end in one line on stderr, and return it."""

    def run(*words: object) -> str:
        (line,) = afunet(*words, ends=2).err.strip().splitlines()
        assert line.startswith("afunet: error: ")
        return str(line)

    return run


def pixels(path: str | Path) -> np.ndarray:
    return af.read_image(path).pixels


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        ("--version", 0, f"afunet {af.__version__}"),
        *((f"{command} --help", 0, f"afunet {command}") for command in COMMANDS),
        ("", 2, "See afunet --help"),
        ("paint", 2, "See afunet --help"),
        ("merge", 2, "See afunet merge --help"),
        ("merge a.tif -o b.exr --ev x", 2, "See afunet merge --help"),
        ("merge a -o b --noise 1,2,3", 2, "See afunet merge --help"),
        ("merge a -o b --ev 1/100s 1/25s", 2, "'1/100s' is a time; state it by --times"),
        ("merge a -o b --times -2EV 0EV", 2, "is in stops; state it by --ev"),
        ("merge a -o b --gamma x", 2, "'x' is not a number"),
        ("info --nonsense", 2, "unrecognized arguments: --nonsense"),
    ],
)
def test_help_and_misuse(words: str, status: int, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(words.split())
    assert end.value.code == status
    out, err = capsys.readouterr()
    assert said in (err if status else out)
    assert len(err.splitlines()) == (1 if status else 0)


def test_help_needs_no_torch() -> None:
    script = "import sys, afunet_core.cli as c; c.build_parser(); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


def test_the_choices_offered_are_those_there_are() -> None:
    assert sorted(options.ALIGNMENTS) == sorted(REGISTRATION_MODES)
    assert ("auto", *PRECISIONS) == options.PRECISIONS
    assert sorted(options.OPERATORS) == sorted(OPERATORS)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("a.png --half", "half: expected an .exr or a .dng as output, got .png"),
        ("a.exr --gain-map --tonemapped a.png", "gain_map: expected a .jpg among the results"),
        ("a.exr --stages folder", "stages: expected a method with the network, got weighted"),
    ],
)
def test_options_that_change_nothing_are_refused_before_any_file_is_looked_at(
    words: str, said: str, refused: Command
) -> None:
    assert said in refused("merge", "1.tif", "2.tif", "--method", "weighted", "-o", *words.split())


def test_merge_writes_what_merge_returns(frames: list[np.ndarray], model: str, tmp_path: Path, afunet: Command) -> None:
    paths, out = write_bracket(tmp_path, frames, EV), tmp_path / "out.exr"
    more = ["--tonemapped", tmp_path / "out.png", "--stages", tmp_path / "stages", "-q"]
    afunet("merge", *paths, "-o", out, "--model", model, *more)
    expected = af.merge(af.Bracket.from_files(paths), model=model)
    np.testing.assert_array_equal(pixels(out), expected.radiance)
    np.testing.assert_allclose(pixels(tmp_path / "out.png") / 255, display_picture(expected), atol=0.5 / 255 + 1e-6)
    stages = {"ghost.png", *(f"stage1_{side}.png" for side in ("under", "reference", "over"))}
    assert {path.name for path in (tmp_path / "stages").iterdir()} == stages
    stored = af.read_image(out).metadata
    assert stored["ev"] == [0, 2, 4]
    assert stored["model"]["sha256"] == expected.info["model"]["sha256"]


@pytest.mark.parametrize(
    "exposures",
    [
        *("--ev -2 0 2", "--ev -2,0,2", "--ev=-2,0,2", "--ev -2EV 0 +2EV", "--ev [-2,0,2]"),
        *("--times 1/100 1/25 4/25", "--times 0.01 0.04 0.16"),
    ],
)
def test_ways_to_state_exposures(exposures: str, frames: list[np.ndarray], tmp_path: Path, afunet: Command) -> None:
    out = tmp_path / "out.tif"
    afunet("merge", *write_bracket(tmp_path / "in", frames), "-o", out, *PLAIN, *exposures.split())
    expected = af.merge(af.Bracket(frames, ev=EV), method="weighted", align="off")
    np.testing.assert_allclose(pixels(out), expected.radiance, rtol=1e-5, atol=1e-7)


def test_dark_frames_noise_and_counts(tmp_path: Path, afunet: Command) -> None:
    """A sensor's data in, light above black in its counts out, however black and noise are stated."""
    light = np.linspace(50.0, 900.0, 24 * 30).reshape(24, 30)
    counts = [np.round(np.clip(light * time + 64, 0, 4095)).astype(np.uint16) for time in (1, 2, 4)]
    tifffile.imwrite(tmp_path / "dark.tif", np.full((24, 30), 64, np.uint16))
    base = ["merge", *write_bracket(tmp_path / "in", counts), "--encoding", "linear", "--bit-depth", 12]
    base += ["--times", 1, 2, 4, *PLAIN, "--units", "counts", "--overwrite", "-o", tmp_path / "out.exr"]
    for black, noise in ((64, "estimate"), (tmp_path / "dark.tif", "photons"), ("auto", "0.5,2.0")):
        afunet(*base, "--black-level", black, "--noise", noise)
        np.testing.assert_allclose(pixels(tmp_path / "out.exr"), light, atol=2.5)
    for units in ("counts", "relative"):
        more = ["--noise", "photons", "--units", units, "--tonemapped", tmp_path / f"{units}.png"]
        afunet(*base, "--black-level", 64, *more)
    np.testing.assert_allclose(pixels(tmp_path / "counts.png"), pixels(tmp_path / "relative.png"), atol=1)


@pytest.mark.parametrize("given", ["trip [2026]/scene", "trip [2026]", "trip [2026]/scene/*.tif"])
def test_one_bracket_into_one_file(given: str, frames: list[np.ndarray], tmp_path: Path, afunet: Command) -> None:
    """A folder, the folder around it, and a pattern that the shell did not expand."""
    write_bracket(tmp_path / "trip [2026]" / "scene", frames, EV)
    afunet("merge", tmp_path / given, "-o", tmp_path / "out.exr", *PLAIN)
    assert (tmp_path / "out.exr").is_file()


def test_what_is_there_is_kept_and_a_warning_is_one_line(
    frames: list[np.ndarray], model: str, tmp_path: Path, afunet: Command, refused: Command
) -> None:
    out = tmp_path / "out.exr"
    out.write_bytes(b"precious")
    words = ["merge", *write_bracket(tmp_path, frames[:2]), "-o", out, "--model", model, "--ev", "-2", "0"]
    assert "--overwrite" in refused(*words)
    assert out.read_bytes() == b"precious"
    (line,) = afunet(*words, "--overwrite", "--align", "off").err.splitlines()
    assert line.startswith("afunet: warning: There is no frame")
    assert pixels(out).shape == frames[0].shape


def damaged(paths: list[str]) -> list[str]:
    Path(paths[1]).write_bytes(Path(paths[1]).read_bytes()[:500])
    return paths


WRONG_OPTIONS = {"--model imaginary --method afunet": "imaginary", "--device abacus": "abacus"}
WRONG_OPTIONS |= {"--method mertens": ".png", "-o missing/out.exr": "out.exr", "-o out.gif": "out.gif"}
WRONG_OPTIONS |= {"-o out": "out", "-o folder.exr": "folder.exr"}


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda at, frames: [*write_bracket(at, frames), "--ev", "2", "0", "-2"], "--override"),
        (lambda at, frames: write_bracket(at, frames), "exposure.txt"),
        (lambda at, frames: [*write_bracket(at, frames, EV)[:2], str(at / "gone.tif")], "gone.tif"),
        (lambda at, frames: damaged(write_bracket(at, frames, EV)), "1.tif"),
        (lambda at, frames: write_bracket(at, [frames[0], frames[1][:-3], frames[2]], EV), "size"),
        (lambda at, frames: [*write_bracket(at, frames, EV), str(at)], "either frames or folders"),
        *(
            (lambda at, frames, more=more: [*write_bracket(at, frames, EV), *more.split()], said)
            for more, said in WRONG_OPTIONS.items()
        ),
    ],
)
def test_a_users_error_is_one_line(
    make: Any, said: str, frames: list[np.ndarray], tmp_path: Path, refused: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = make(tmp_path / "in", frames)
    (tmp_path / "out" / "folder.exr").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "out")
    if "-o" in words:  # told before the work
        monkeypatch.setattr("afunet_core.cli.merge.run_job", lambda *_, **__: pytest.fail("the work was begun"))
    method = [] if "--method" in words else ["--method", "weighted"]
    assert said in refused("merge", "-o", "out.exr", *words, *method)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["folder.exr"]


def test_debug_shows_the_traceback(tmp_path: Path) -> None:
    with pytest.raises(af.AFUNetError):
        main(["--debug", "merge", "gone.tif", "gone too.tif", "-o", str(tmp_path / "out.exr")])


@pytest.mark.skipif(os.name != "posix", reason="signals as POSIX knows them")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_leaves_nothing(
    number: int, request: pytest.FixtureRequest, frames: list[np.ndarray], tmp_path: Path, afunet: Command,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """The signal arrives while the picture is being written."""
    # A test run in the background of a shell inherits SIGINT ignored, and so would the command, rightly.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    request.addfinalizer(lambda: signal.signal(signal.SIGINT, before))
    out, replace = tmp_path / "out", os.replace
    out.mkdir()

    def interrupted(source: str, target: str) -> None:
        signal.raise_signal(number)
        replace(source, target)

    monkeypatch.setattr(os, "replace", interrupted)
    handler = signal.getsignal(signal.SIGTERM)
    words = ["merge", *write_bracket(tmp_path / "in", frames, EV), "-o", out / "out.exr", *PLAIN]
    assert "interrupted" in afunet(*words, ends=130).err
    assert list(out.iterdir()) == []
    assert signal.getsignal(signal.SIGTERM) is handler


def raising(error: BaseException) -> Callable[..., None]:
    def fail(*_: Any, **__: Any) -> None:
        raise error

    return fail


def test_an_interrupt_while_modules_load(monkeypatch: pytest.MonkeyPatch, afunet: Command) -> None:
    monkeypatch.setattr("afunet_core.cli.build_parser", raising(KeyboardInterrupt()))
    assert "interrupted" in afunet("info", ends=130).err


@pytest.mark.parametrize(
    ("place", "error"),
    [
        ("cli.merge.run_job", torch.OutOfMemoryError("out of memory")),
        ("io.read.part_pixels", MemoryError("Unable to allocate 9 GiB")),  # which is no damage of the file
    ],
)
def test_lack_of_memory_is_one_line(
    place: str, error: Exception, frames: list[np.ndarray], tmp_path: Path, refused: Command, monkeypatch: Any
) -> None:
    monkeypatch.setattr(f"afunet_core.{place}", raising(error))
    said = refused("merge", *write_bracket(tmp_path, frames, EV), "-o", tmp_path / "out.exr")
    assert said.endswith("memory ran out. Give a smaller --memory, or use --device cpu.")


@pytest.mark.parametrize("how", [[], ["--workers", "1"]], ids=["here", "on a worker"])
def test_a_batch_goes_on_past_a_bad_bracket_and_resumes(
    how: list[str], frames: list[np.ndarray], tmp_path: Path, afunet: Command
) -> None:
    root, out = tmp_path / "brackets", tmp_path / "merged"
    for name in ("a", "deeper/b", "deeper/c"):
        write_bracket(root / name, frames, EV)
    (root / "a" / "1.tif").write_bytes(b"spoilt")
    words = ["merge", root, "-o", out, *PLAIN, "--tonemapped", tmp_path / "pictures", *how]
    said = afunet(*words, ends=1)
    assert "2 merged, 0 skipped, 1 failed" in said.out
    assert said.err.startswith("afunet: error: a: ")
    assert sorted(path.relative_to(out).as_posix() for path in out.rglob("*.exr")) == ["deeper/b.exr", "deeper/c.exr"]
    assert (tmp_path / "pictures" / "deeper" / "b.png").is_file()
    before = (out / "deeper" / "b.exr").stat().st_mtime_ns
    write_bracket(root / "a", frames, EV)
    assert "1 merged, 2 skipped, 0 failed" in afunet(*words).out
    assert (out / "deeper" / "b.exr").stat().st_mtime_ns == before
    assert "3 merged, 0 skipped, 0 failed" in afunet(*words, "--overwrite").out
    assert (out / "deeper" / "b.exr").stat().st_mtime_ns > before


def test_batches_that_cannot_be(frames: list[np.ndarray], tmp_path: Path, refused: Command) -> None:
    for name in ("one/scene", "two/scene"):
        write_bracket(tmp_path / name, frames, EV)
    one, two, empty, out = (tmp_path / name for name in ("one", "two", "empty", "out"))
    empty.mkdir()
    (tmp_path / "file").touch()
    assert "a folder for the results" in refused("merge", one, two, "-o", tmp_path / "out.exr")
    assert "a folder for the results" in refused("merge", one, "-o", tmp_path / "file")
    for target in (out, tmp_path / "out.exr"):
        assert "folders with brackets" in refused("merge", empty, "-o", target)
    assert ".gif" in refused("merge", one, "-o", out, "--format", "gif")
    assert "a folder for the pictures" in refused("merge", one, two, "-o", out, "--tonemapped", "a.png")
    assert "a suffix must choose the format" in refused("merge", *(one / "scene").glob("*.tif"), "-o", out, *PLAIN)
    refused("merge", one, "-o", out, "--group")


def test_a_file_for_the_brackets_of_a_camera_folder(tmp_path: Path, afunet: Command, refused: Command) -> None:
    """One can go there."""
    for minute, number in product((1, 2), range(3)):
        exif = exif_of(Fraction(5**number, 1000), {0x9003: f"2026:06:21 12:0{minute}:0{number}"})
        code = np.full((4, 4), 50 * 2**number, np.uint8)
        Image.fromarray(code).save(tmp_path / f"{minute}{number}.jpg", exif=exif)
    words = ["merge", tmp_path, "-o", tmp_path / "out.exr", "--group", *PLAIN]
    assert "a file for 2 brackets" in refused(*words)
    for path in tmp_path.glob("2*.jpg"):
        path.unlink()
    afunet(*words)
    assert (tmp_path / "out.exr").is_file()


def test_streams_that_are_closed(frames: list[np.ndarray], tmp_path: Path) -> None:
    """As in services, and in programs with windows."""
    words = ["merge", *write_bracket(tmp_path, frames, EV), "-o", str(tmp_path / "out.exr"), *PLAIN[:-1]]
    script = (
        "import sys; sys.stdout = sys.stderr = None; from afunet_core.cli import main; sys.exit(main(sys.argv[1:]))"
    )
    assert subprocess.run([sys.executable, "-c", script, *words], check=False).returncode == 0


def test_names_that_would_write_to_the_terminal(tmp_path: Path, frames: list[np.ndarray], afunet: Command) -> None:
    write_bracket(tmp_path / "in" / "odd\x1b[2J\nname", frames, EV)
    said = afunet("merge", tmp_path / "in", "-o", tmp_path / "out", *PLAIN).out
    assert "\x1b" not in said
    assert len(said.splitlines()) == 2


def test_info_on_models_images_and_variants(
    frames: list[np.ndarray], model: str, tmp_path: Path, afunet: Command
) -> None:
    found = json.loads(afunet("info", model, "--json").out)
    assert found["config"]["head"] == "anchored"
    assert f"parameters: {found['parameters']}" in afunet("info", model).out
    out = tmp_path / "out.exr"
    afunet("merge", *write_bracket(tmp_path, frames, EV), "-o", out, *PLAIN)
    assert 'method: "weighted"' in afunet("info", out).out
    variants = json.loads(afunet("info", "--variants", "--json").out)
    assert variants["published"] == {"parameters": 1162035, "flops": variants["stages-4"]["flops"]}
    assert "GFLOP at 64×96" in afunet("info", "--variants", "--size", 64, 96).out
    assert "default: " in afunet("info").out
    (line,) = [line for line in afunet("info", "compact").out.splitlines() if line.startswith("card: ")]
    assert Path(line.removeprefix("card: ").partition(" (")[0]).name == "compact.md"


def test_from_synthesis_to_figure(model: str, tmp_path: Path, afunet: Command) -> None:
    """synthesize, merge, evaluate and figure hand over through files; what is scored is what merge writes."""
    scenes, merged, report = tmp_path / "scenes", tmp_path / "merged", tmp_path / "report"
    afunet("synthesize", "-o", scenes, "--count", 2, "--size", 48, 64, "--sheet", "--seed", 3)
    assert sorted(path.name for path in scenes.iterdir()) == ["0000-static", "0001-camera", "sheet.png"]
    afunet("merge", scenes, "-o", merged, "--model", model, "--align", "off", "--method", "afunet")
    afunet("merge", scenes / "0000-static", "-o", merged / "w.exr", *PLAIN)
    words = ["evaluate", "--data", scenes, "--model", model, "--baselines", "weighted", "reference", "-q"]
    said = afunet(*words, "-o", report, "--error-maps", "--beside", "M2").out
    assert (report / "table.md").read_text() in said
    assert "| Table 4, M2 | PSNR-μ |" in said
    assert "| the paper | 44.48 |" in said
    header, *rows = (row.split(",") for row in (report / "scenes.csv").read_text().splitlines())
    assert len(rows) == 2 * 3
    assert len(list((report / "errors").rglob("*.png"))) == 6
    files = (merged / "0001-camera.exr", scenes / "0001-camera" / "HDRImg.hdr")
    ours, truth = (torch.from_numpy(pixels(path)).permute(2, 0, 1)[None] for path in files)
    scores = [row[header.index("PSNR-μ")] for row in rows if "0001-camera" in row and "tiny" in " ".join(row)]
    assert [float(score) for score in scores] == [pytest.approx(float(psnr_mu(ours, truth)), abs=1e-3)]
    words = ["figure", "--bracket", scenes / "0000-static", "-o", tmp_path / "figure.png", "--width", 500]
    words += ["--result", f"ours={merged / '0000-static.exr'}", "--result", merged / "w.exr"]
    afunet(*words, "--box", "4,4,16,16")
    assert pixels(tmp_path / "figure.png").shape[1] == 500


def test_evaluate_synthetic_brackets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, afunet: Command) -> None:
    words = ["evaluate", "--synthetic", 2, "--size", 48, "--no-model", "--metrics", "PSNR-μ"]
    said, progress = afunet(*words, "--baselines", "weighted", "reference")
    assert "| all (2) | weighted merge |" in said
    assert "SSIM" not in said
    lines = progress.splitlines()
    assert len(lines) == 2 * 2 + 1, "without a terminal there is a line for each scene and method"
    assert lines[2].startswith("afunet: 1 of 2 scenes, 001-")
    words += ["--baselines", "weighted", "--pictures", "-q", "-o"]
    (tmp_path / "file").touch()
    said = afunet(*words, tmp_path / "file", ends=2).err
    assert "scenes" not in said, "a folder that cannot be made is refused before the work"
    monkeypatch.setattr("afunet_core.evaluation.figures.write_pictures", raising(OSError("no room left")))
    afunet(*words, tmp_path / "report", ends=2)
    assert (tmp_path / "report" / "scenes.csv").is_file(), "written before the pictures"
    assert "weighted merge" in (tmp_path / "report" / "table.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("evaluate --data gone", "gone"), ("evaluate --data gone --synthetic 3", "either"),
        ("evaluate --synthetic 0", "synthetic"), ("evaluate --real . --pictures -o report", "no --real"),
        ("evaluate --other-brackets", "--real as well"), ("evaluate --error-maps", "-o FOLDER"),
        ("evaluate --model imaginary", "imaginary"), ("evaluate --no-model --baselines", "methods"),
        ("evaluate --no-model --synthetic 1 --size 32 --metrics beauty", "beauty"),
        ("synthesize -o x --count 0", "count"), ("synthesize -o x --size 8", "16"),
        ("synthesize -o x --size 64 64 64", "size"), ("synthesize -o x --scenes gone", "gone"),
        ("figure --result gone.exr -o f.png", "gone.exr"), ("figure --result gone.exr -o f.exe", "f.exe"),
        ("fetch kalantari --url ftp://nowhere", "http"), ("info spoilt.pth", "spoilt.pth"),
        ("info imaginary", "imaginary"), ("info --variants --size 0 5", "size"),
        ("export compact -o model.exe", ".onnx"), ("export compact -o gone/model.onnx", "gone"),
        ("export compact.onnx", "afunet export compact -o compact.onnx"),
        ("train --config gone.toml -o run", "gone.toml"),
        ("train --config gone.toml -o run --set steps", "NAME=VALUE"),
    ],
)  # fmt: skip
def test_errors_of_the_other_commands(
    words: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, afunet: Command
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AFUNET_CACHE", str(tmp_path / "cache"))
    Path("spoilt.pth").write_bytes(b"not a model")
    last = afunet(*words.split(), ends=2).err.strip().splitlines()[-1]
    assert last.startswith("afunet: error: ")
    assert said in last


def test_fetching_states_the_licence_first(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, afunet: Command) -> None:
    monkeypatch.setenv("AFUNET_CACHE", str(tmp_path))
    first, last = afunet("fetch", "hu", "--url", "http://127.0.0.1:9", ends=2).err.strip().splitlines()
    assert "no licence file" in first
    assert "Check the connection" in last


def test_export_options_reach_the_exporter(
    model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, afunet: Command, refused: Command
) -> None:
    def write(network: af.AFUNet, path: Path, verbose: bool) -> Path:
        path.write_bytes(b"x" * sum(parameter.numel() for parameter in network.parameters()))
        return path

    out = tmp_path / "model.pt2"
    monkeypatch.setattr("afunet_core.model.export.export_model", write)
    said = afunet("export", model, "-o", out)
    assert str(out) in said.out
    assert "Tracing" in said.err
    assert out.stat().st_size == sum(parameter.numel() for parameter in af.load_model(model).parameters())
    assert "--overwrite" in refused("export", model, "-o", out)
    afunet("export", model, "-o", out, "--overwrite")


def test_training_options_reach_the_trainer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, afunet: Command) -> None:
    (tmp_path / "run.toml").write_text('model = "compact"\nsteps = 100\nbatch = 4\n')
    seen: dict[str, Any] = {}

    def train(config: Any, out: str, **arguments: Any) -> Path:
        seen.update(arguments, config=config, out=out)
        return Path(out) / "model.safetensors"

    monkeypatch.setattr("afunet_core.training.loop.train", train)
    words = ["train", "--config", tmp_path / "run.toml", "-o", "runs/x", "--set", "steps=7", "--set", "model=M2"]
    said = afunet(*words, "--restart", "--minutes", 5, "-q").out
    assert (seen["config"].steps, seen["config"].batch, seen["config"].model) == (7, 4, "M2")
    assert (seen["out"], seen["resume"], seen["minutes"], seen["progress"]) == ("runs/x", False, 5.0, False)
    assert said.strip() == str(Path("runs/x/model.safetensors"))
