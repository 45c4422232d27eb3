"""The command line: what it writes, what it says, how it ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from fractions import Fraction
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
from afunet_core.tonemap import OPERATORS
from afunet_core.utils.device import PRECISIONS
from scenes import exif_of, write_bracket

EV = (-2.0, 0.0, 2.0)


@pytest.fixture(scope="module")
def frames() -> list[np.ndarray]:
    return demo_bracket(reduction=12).frames


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    torch.manual_seed(0)
    config = af.AFUNetConfig(
        embed_dim=12, depths=(1,), fusion_heads=2, downscale=2, head="anchored", dormant_norm=False
    )
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    af.save_model(af.AFUNet(config), path)
    return str(path)


PLAIN = ["--method", "weighted", "--align", "off", "-q"]


def pixels(path: str | Path) -> np.ndarray:
    return af.read_image(path).pixels


def complaint(capsys: pytest.CaptureFixture[str]) -> str:
    """The one line on stderr."""
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1, lines
    assert lines[0].startswith("afunet: error: ")
    return lines[0]


# --- starting ---


@pytest.mark.parametrize("words", [["--version"], *([command, "--help"] for command in COMMANDS)], ids=" ".join)
def test_every_command_explains_itself(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(words)
    assert end.value.code == 0
    said = f"afunet {af.__version__}" if words == ["--version"] else f"afunet {words[0]}"
    assert said in capsys.readouterr().out


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
        ([], "See afunet --help"),
        (["paint"], "See afunet --help"),
        (["merge"], "See afunet merge --help"),
        (["merge", "a.tif", "-o", "b.exr", "--ev", "x"], "See afunet merge --help"),
        (["merge", "a", "-o", "b", "--noise", "1,2,3"], "See afunet merge --help"),
        (["merge", "a", "-o", "b", "--ev", "1/100s", "1/25s"], "'1/100s' is a time; state it by --times"),
        (["merge", "a", "-o", "b", "--times", "-2EV", "0EV"], "is in stops; state it by --ev"),
        (["merge", "a", "-o", "b", "--gamma", "x"], "'x' is not a number"),
        (["info", "--nonsense"], "unrecognized arguments: --nonsense"),
    ],
)
def test_misuse_ends_with_two(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(words)
    assert end.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["a.png", "--half"], "half: expected an .exr or a .dng as output, got .png"),
        (["a.exr", "--gain-map", "--tonemapped", "a.png"], "gain_map: expected a .jpg among the results"),
        (["a.exr", "--stages", "folder"], "stages: expected a method with the network, got weighted"),
    ],
)
def test_options_that_change_nothing(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    """They are refused before any file is looked at."""
    assert main(["merge", "1.tif", "2.tif", "--method", "weighted", "-o", *words]) == 2
    assert said in complaint(capsys)


# --- merge: one bracket ---


def test_merge_writes_what_merge_returns(frames: list[np.ndarray], model: str, tmp_path: Path) -> None:
    paths = write_bracket(tmp_path, frames, EV)
    arguments = ["-o", str(tmp_path / "out.exr"), "--model", model, "--tonemapped", str(tmp_path / "out.png")]
    assert main(["merge", *paths, *arguments, "--stages", str(tmp_path / "stages"), "-q"]) == 0
    expected = af.merge(af.Bracket.from_files(paths), model=model)
    np.testing.assert_array_equal(pixels(tmp_path / "out.exr"), expected.radiance)
    picture = display_picture(expected)
    np.testing.assert_allclose(pixels(tmp_path / "out.png") / 255, picture, atol=0.5 / 255 + 1e-6)
    assert {path.name for path in (tmp_path / "stages").iterdir()} == {
        "ghost.png",
        *(f"stage1_{side}.png" for side in ("under", "reference", "over")),
    }
    stored = af.read_image(tmp_path / "out.exr").metadata
    assert stored["ev"] == [0, 2, 4]
    assert stored["model"]["sha256"] == expected.info["model"]["sha256"]


@pytest.mark.parametrize(
    "exposures",
    [
        *("--ev -2 0 2", "--ev -2,0,2", "--ev=-2,0,2", "--ev -2EV 0 +2EV", "--ev [-2,0,2]"),
        *("--times 1/100 1/25 4/25", "--times 0.01 0.04 0.16"),
    ],
)
def test_ways_to_state_exposures(exposures: str, frames: list[np.ndarray], tmp_path: Path) -> None:
    paths, out = write_bracket(tmp_path / "in", frames), str(tmp_path / "out.tif")
    assert main(["merge", *paths, "-o", out, *PLAIN, *exposures.split()]) == 0
    expected = af.merge(af.Bracket(frames, ev=EV), method="weighted", align="off")
    np.testing.assert_allclose(pixels(out), expected.radiance, rtol=1e-5, atol=1e-7)


def test_dark_frames_noise_and_counts(tmp_path: Path) -> None:
    """A sensor's data in, light above black in its counts out, however black and noise are stated."""
    light = np.linspace(50.0, 900.0, 24 * 30).reshape(24, 30)
    counts = [np.round(np.clip(light * time + 64, 0, 4095)).astype(np.uint16) for time in (1, 2, 4)]
    paths = write_bracket(tmp_path / "in", counts)
    tifffile.imwrite(tmp_path / "dark.tif", np.full((24, 30), 64, np.uint16))
    base = ["merge", *paths, "--encoding", "linear", "--bit-depth", "12", "--times", "1", "2", "4", "--align", "off"]
    base += ["--method", "weighted", "--units", "counts", "--overwrite", "-o", str(tmp_path / "out.exr")]
    for black in ("64", str(tmp_path / "dark.tif"), "auto"):
        for noise in ("estimate", "photons", "0.5,2.0"):
            assert main([*base, "--black-level", black, "--noise", noise]) == 0
            np.testing.assert_allclose(pixels(tmp_path / "out.exr"), light, atol=2.5)
    flags = ["--black-level", "64", "--noise", "photons", "--tonemapped"]
    assert main([*base, *flags, str(tmp_path / "counts.png")]) == 0
    assert main([*base, *flags, str(tmp_path / "relative.png"), "--units", "relative"]) == 0
    np.testing.assert_allclose(pixels(tmp_path / "counts.png"), pixels(tmp_path / "relative.png"), atol=1)


def test_half_floats_and_exposure_fusion(frames: list[np.ndarray], tmp_path: Path) -> None:
    paths = write_bracket(tmp_path, frames, EV)
    assert main(["merge", *paths, "-o", str(tmp_path / "full.exr"), *PLAIN]) == 0
    assert main(["merge", *paths, "-o", str(tmp_path / "half.exr"), *PLAIN, "--half"]) == 0
    np.testing.assert_allclose(pixels(tmp_path / "half.exr"), pixels(tmp_path / "full.exr"), rtol=1e-3, atol=1e-6)
    assert main(["merge", *paths, "-o", str(tmp_path / "fused.png"), *PLAIN, "--method", "mertens"]) == 0


@pytest.mark.parametrize("given", ["trip [2026]/scene", "trip [2026]", "trip [2026]/scene/*.tif"])
def test_one_bracket_into_one_file(given: str, frames: list[np.ndarray], tmp_path: Path) -> None:
    """A folder, the folder around it, and a pattern that the shell did not expand."""
    write_bracket(tmp_path / "trip [2026]" / "scene", frames, EV)
    assert main(["merge", str(tmp_path / given), "-o", str(tmp_path / "out.exr"), *PLAIN]) == 0
    assert (tmp_path / "out.exr").is_file()


def test_what_is_there_is_kept(frames: list[np.ndarray], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out.exr"
    out.write_bytes(b"precious")
    words = ["merge", *write_bracket(tmp_path, frames, EV), "-o", str(out), *PLAIN]
    assert main(words) == 2
    assert "--overwrite" in complaint(capsys)
    assert out.read_bytes() == b"precious"
    assert main([*words, "--overwrite"]) == 0
    assert pixels(out).shape == frames[0].shape


def test_warnings_are_one_line(
    frames: list[np.ndarray], model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = write_bracket(tmp_path, frames[:2])
    words = ["merge", *paths, "-o", str(tmp_path / "o.exr"), "--model", model, "--ev", "-2", "0", "--align", "off"]
    assert main(words) == 0
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert line.startswith("afunet: warning: There is no frame")


# --- merge: what users get wrong ---


def damaged(paths: list[str]) -> list[str]:
    Path(paths[1]).write_bytes(Path(paths[1]).read_bytes()[:500])
    return paths


NO_PLACES = ("missing/out.exr", "out.gif", "out", "folder.exr")


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda at, frames: [*write_bracket(at, frames), "--ev", "2", "0", "-2"], "--override"),
        (lambda at, frames: write_bracket(at, frames), "exposure.txt"),
        (lambda at, frames: [*write_bracket(at, frames, EV)[:2], str(at / "gone.tif")], "gone.tif"),
        (lambda at, frames: damaged(write_bracket(at, frames, EV)), "1.tif"),
        (lambda at, frames: write_bracket(at, [frames[0], frames[1][:-3], frames[2]], EV), "size"),
        (
            lambda at, frames: [*write_bracket(at, frames, EV), "--model", "imaginary", "--method", "afunet"],
            "imaginary",
        ),
        (lambda at, frames: [*write_bracket(at, frames, EV), "--device", "abacus"], "abacus"),
        (lambda at, frames: [*write_bracket(at, frames, EV), str(at)], "either frames or folders"),
        (lambda at, frames: [*write_bracket(at, frames, EV), "--method", "mertens"], ".png"),
        *(
            (lambda at, frames, to=to: [*write_bracket(at, frames, EV), "-o", to], to.split("/")[-1])
            for to in NO_PLACES
        ),
    ],
)
def test_a_users_error_is_one_line(
    make: Any, said: str, frames: list[np.ndarray], tmp_path: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = make(tmp_path / "in", frames)
    (tmp_path / "out" / "folder.exr").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "out")
    if "-o" in words:  # told before the work
        monkeypatch.setattr("afunet_core.cli.merge.run_job", lambda *_, **__: pytest.fail("the work was begun"))
    method = [] if "--method" in words else ["--method", "weighted"]
    assert main(["merge", "-o", "out.exr", *words, *method]) == 2
    assert said in complaint(capsys)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["folder.exr"]


def test_debug_shows_the_traceback(tmp_path: Path) -> None:
    with pytest.raises(af.AFUNetError):
        main(["--debug", "merge", "gone.tif", "gone too.tif", "-o", str(tmp_path / "out.exr")])


@pytest.mark.skipif(os.name != "posix", reason="signals as POSIX knows them")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_leaves_nothing(
    number: int,
    request: pytest.FixtureRequest,
    frames: list[np.ndarray],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The signal arrives while the picture is being written."""
    # A test run in the background of a shell inherits SIGINT ignored, and so would the command, rightly.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    request.addfinalizer(lambda: signal.signal(signal.SIGINT, before))
    paths = write_bracket(tmp_path / "in", frames, EV)
    out = tmp_path / "out"
    out.mkdir()
    replace = os.replace

    def interrupted(source: str, target: str) -> None:
        signal.raise_signal(number)
        replace(source, target)

    monkeypatch.setattr(os, "replace", interrupted)
    handler = signal.getsignal(signal.SIGTERM)
    words = ["merge", *paths, "-o", str(out / "out.exr"), *PLAIN]
    assert main(words) == 130
    assert "interrupted" in capsys.readouterr().err
    assert list(out.iterdir()) == []
    assert signal.getsignal(signal.SIGTERM) is handler


@pytest.mark.parametrize(
    ("place", "error"),
    [
        ("cli.merge.run_job", torch.OutOfMemoryError("out of memory")),
        ("io.read.part_pixels", MemoryError("Unable to allocate 9 GiB")),  # which is no damage of the file
    ],
)
def test_lack_of_memory_is_one_line(
    place: str, error: Exception, frames: list[np.ndarray], tmp_path: Path, capsys: Any, monkeypatch: Any
) -> None:
    def short(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(f"afunet_core.{place}", short)
    assert main(["merge", *write_bracket(tmp_path, frames, EV), "-o", str(tmp_path / "out.exr")]) == 2
    assert complaint(capsys).endswith("memory ran out. Give a smaller --memory, or use --device cpu.")


# --- merge: many brackets ---


@pytest.mark.parametrize("how", [[], ["--workers", "1"]], ids=["here", "on a worker"])
def test_a_batch_goes_on_past_a_bad_bracket_and_resumes(
    how: list[str], frames: list[np.ndarray], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root, out = tmp_path / "brackets", tmp_path / "merged"
    for name in ("a", "deeper/b", "deeper/c"):
        write_bracket(root / name, frames, EV)
    (root / "a" / "1.tif").write_bytes(b"spoilt")
    words = ["merge", str(root), "-o", str(out), *PLAIN, "--tonemapped", str(tmp_path / "pictures"), *how]
    assert main(words) == 1
    said = capsys.readouterr()
    assert "2 merged, 0 skipped, 1 failed" in said.out
    assert said.err.startswith("afunet: error: a: ")
    assert sorted(path.relative_to(out).as_posix() for path in out.rglob("*.exr")) == ["deeper/b.exr", "deeper/c.exr"]
    assert (tmp_path / "pictures" / "deeper" / "b.png").is_file()

    before = (out / "deeper" / "b.exr").stat().st_mtime_ns
    write_bracket(root / "a", frames, EV)
    assert main(words) == 0
    assert "1 merged, 2 skipped, 0 failed" in capsys.readouterr().out
    assert (out / "deeper" / "b.exr").stat().st_mtime_ns == before
    assert main([*words, "--overwrite"]) == 0
    assert "3 merged, 0 skipped, 0 failed" in capsys.readouterr().out
    assert (out / "deeper" / "b.exr").stat().st_mtime_ns > before


def test_batches_that_cannot_be(frames: list[np.ndarray], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("one/scene", "two/scene"):
        write_bracket(tmp_path / name, frames, EV)
    both = [str(tmp_path / "one"), str(tmp_path / "two")]
    assert main(["merge", *both, "-o", str(tmp_path / "out.exr")]) == 2
    assert "a folder for the results" in complaint(capsys)
    (tmp_path / "empty").mkdir()
    assert main(["merge", str(tmp_path / "empty"), "-o", str(tmp_path / "out")]) == 2
    assert "folders with brackets" in complaint(capsys)
    assert main(["merge", *both[:1], "-o", str(tmp_path / "out"), "--format", "gif"]) == 2
    assert ".gif" in complaint(capsys)
    assert main(["merge", *both, "-o", str(tmp_path / "out"), "--tonemapped", "a.png"]) == 2
    assert "a folder for the pictures" in complaint(capsys)
    assert main(["merge", str(tmp_path / "empty"), "-o", str(tmp_path / "out.exr")]) == 2
    assert "folders with brackets" in complaint(capsys)
    assert main(["merge", *map(str, (tmp_path / "one/scene").glob("*.tif")), "-o", str(tmp_path / "out"), *PLAIN]) == 2
    assert "a suffix must choose the format" in complaint(capsys)


def test_a_file_for_the_brackets_of_a_camera_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One can go there."""
    for minute in (1, 2):
        for number in range(3):
            code = np.full((4, 4), 50 * 2**number, np.uint8)
            moment = {0x9003: f"2026:06:21 12:0{minute}:0{number}"}
            Image.fromarray(code).save(
                tmp_path / f"{minute}{number}.jpg", exif=exif_of(Fraction(5**number, 1000), moment)
            )
    words = ["merge", str(tmp_path), "-o", str(tmp_path / "out.exr"), "--group", *PLAIN]
    assert main(words) == 2
    assert "a file for 2 brackets" in complaint(capsys)
    for path in tmp_path.glob("2*.jpg"):
        path.unlink()
    assert main(words) == 0
    assert (tmp_path / "out.exr").is_file()


def test_streams_that_are_closed(frames: list[np.ndarray], tmp_path: Path) -> None:
    """As in services, and in programs with windows."""
    paths = write_bracket(tmp_path, frames, EV)
    script = (
        "import sys; sys.stdout = sys.stderr = None; from afunet_core.cli import main; sys.exit(main(sys.argv[1:]))"
    )
    words = ["merge", *paths, "-o", str(tmp_path / "out.exr"), *PLAIN[:-1]]
    assert subprocess.run([sys.executable, "-c", script, *words], check=False).returncode == 0


# --- the other commands ---


def test_info_on_models_images_and_variants(
    frames: list[np.ndarray], model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["info", model, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["config"]["head"] == "anchored"
    assert main(["info", model]) == 0
    assert f"parameters: {found['parameters']}" in capsys.readouterr().out
    out = str(tmp_path / "out.exr")
    assert main(["merge", *write_bracket(tmp_path, frames, EV), "-o", out, *PLAIN]) == 0
    capsys.readouterr()
    assert main(["info", out]) == 0
    assert 'method: "weighted"' in capsys.readouterr().out
    assert main(["info", "--variants", "--json"]) == 0
    variants = json.loads(capsys.readouterr().out)
    assert variants["published"] == {"parameters": 1162035, "flops": variants["stages-4"]["flops"]}
    assert main(["info", "--variants", "--size", "64", "96"]) == 0
    assert "GFLOP at 64×96" in capsys.readouterr().out
    assert main(["info"]) == 0
    assert "default: " in capsys.readouterr().out
    assert main(["info", "compact"]) == 0
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("card: ")]
    assert Path(line.removeprefix("card: ").partition(" (")[0]).name == "compact.md"


def test_from_synthesis_to_figure(model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """synthesize, merge, evaluate and figure hand over through files; what is scored is what merge writes."""
    from afunet_core.metrics import psnr_mu

    scenes, merged, report = tmp_path / "scenes", tmp_path / "merged", tmp_path / "report"
    assert main(["synthesize", "-o", str(scenes), "--count", "2", "--size", "48", "64", "--sheet", "--seed", "3"]) == 0
    assert sorted(path.name for path in scenes.iterdir()) == ["0000-static", "0001-camera", "sheet.png"]
    assert (
        main(["merge", str(scenes), "-o", str(merged), "--model", model, "--align", "off", "--method", "afunet"]) == 0
    )
    assert main(["merge", str(scenes / "0000-static"), "-o", str(merged / "w.exr"), *PLAIN]) == 0
    capsys.readouterr()
    words = ["evaluate", "--data", str(scenes), "--model", model, "--baselines", "weighted", "reference", "-q"]
    assert main([*words, "-o", str(report), "--error-maps", "--beside", "M2"]) == 0
    said = capsys.readouterr().out
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
    words = ["figure", "--bracket", str(scenes / "0000-static"), "-o", str(tmp_path / "figure.png"), "--width", "500"]
    words += ["--result", f"ours={merged / '0000-static.exr'}", "--result", str(merged / "w.exr")]
    assert main([*words, "--box", "4,4,16,16"]) == 0
    assert pixels(tmp_path / "figure.png").shape[1] == 500


def test_evaluate_synthetic_brackets(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["evaluate", "--synthetic", "2", "--size", "48", "--no-model", "--metrics", "PSNR-l"]
    assert main([*words, "--baselines", "weighted", "reference"]) == 0
    said, progress = capsys.readouterr()
    assert "| all (2) | weighted merge |" in said
    assert "SSIM" not in said
    lines = progress.splitlines()
    assert len(lines) == 2 * 2 + 1, "without a terminal there is a line for each scene and method"
    assert lines[2].startswith("afunet: 1 of 2 scenes, 001-")
    assert main([*words, "-q"]) == 0
    assert capsys.readouterr().err == ""


def test_an_evaluation_keeps_its_scores(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["evaluate", "--synthetic", "1", "--size", "32", "--no-model", "--baselines", "weighted", "--pictures"]
    (tmp_path / "file").touch()
    assert main([*words, "-o", str(tmp_path / "file")]) == 2
    assert "scenes" not in capsys.readouterr().err, "a folder that cannot be made is refused before the work"

    def fail(*_: object, **__: object) -> None:
        raise OSError("no room left")

    monkeypatch.setattr("afunet_core.evaluation.figures.write_pictures", fail)
    assert main([*words, "-o", str(tmp_path / "report")]) == 2
    assert (tmp_path / "report" / "scenes.csv").is_file(), "written before the pictures"
    assert "weighted merge" in (tmp_path / "report" / "table.md").read_text(encoding="utf-8")


def test_pictures_are_refused_before_the_work_without_matplotlib(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert main(["evaluate", "--no-model", "--pictures", "-o", str(tmp_path / "r")]) == 2
    assert "napari-afunet[evaluation]" in complaint(capsys)
    assert not (tmp_path / "r").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["evaluate", "--data", "gone"], "gone"),
        (["evaluate", "--data", "gone", "--synthetic", "3"], "either"),
        (["evaluate", "--synthetic", "0"], "synthetic"),
        (["evaluate", "--real", ".", "--pictures", "-o", "report"], "no --real"),
        (["evaluate", "--other-brackets"], "--real as well"),
        (["evaluate", "--error-maps"], "-o FOLDER"),
        (["evaluate", "--model", "imaginary"], "imaginary"),
        (["evaluate", "--no-model", "--baselines"], "methods"),
        (["evaluate", "--no-model", "--synthetic", "1", "--size", "32", "--metrics", "beauty"], "beauty"),
        (["synthesize", "-o", "x", "--count", "0"], "count"),
        (["synthesize", "-o", "x", "--size", "8"], "16"),
        (["synthesize", "-o", "x", "--size", "64", "64", "64"], "size"),
        (["synthesize", "-o", "x", "--scenes", "gone"], "gone"),
        (["figure", "--result", "gone.exr", "-o", "f.png"], "gone.exr"),
        (["figure", "--result", "gone.exr", "-o", "f.exe"], "f.exe"),
        (["fetch", "kalantari", "--url", "ftp://nowhere"], "http"),
        (["info", "spoilt.pth"], "spoilt.pth"),
        (["info", "imaginary"], "imaginary"),
        (["info", "--variants", "--size", "0", "5"], "size"),
        (["export", "compact", "-o", "model.exe"], ".onnx"),
        (["export", "compact.onnx"], "afunet export compact -o compact.onnx"),
        (["export", "compact", "-o", "gone/model.onnx"], "gone"),
        (["train", "--config", "gone.toml", "-o", "run"], "gone.toml"),
        (["train", "--config", "gone.toml", "-o", "run", "--set", "steps"], "NAME=VALUE"),
    ],
    ids=" ".join,
)
def test_errors_of_the_other_commands(
    words: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AFUNET_CACHE", str(tmp_path / "cache"))
    Path("spoilt.pth").write_bytes(b"not a model")
    assert main(words) == 2
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert last.startswith("afunet: error: ")
    assert said in last


def test_fetching_states_the_licence_first(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("AFUNET_CACHE", str(tmp_path))
    assert main(["fetch", "hu", "--url", "http://127.0.0.1:9"]) == 2
    first, last = capsys.readouterr().err.strip().splitlines()
    assert "no licence file" in first
    assert "Check the connection" in last


def test_export_options_reach_the_exporter(
    model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from afunet_core.model import export

    out = tmp_path / "model.pt2"

    def write(network: af.AFUNet, path: Path, verbose: bool) -> Path:
        path.write_bytes(b"x" * sum(parameter.numel() for parameter in network.parameters()))
        return path

    monkeypatch.setattr(export, "export_model", write)
    assert main(["export", model, "-o", str(out)]) == 0
    captured = capsys.readouterr()
    assert str(out) in captured.out
    assert "Tracing" in captured.err
    assert out.stat().st_size == sum(parameter.numel() for parameter in af.load_model(model).parameters())
    assert main(["export", model, "-o", str(out)]) == 2
    assert "--overwrite" in complaint(capsys)
    assert main(["export", model, "-o", str(out), "--overwrite"]) == 0


def test_training_options_reach_the_trainer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from afunet_core.training import loop as training

    (tmp_path / "run.toml").write_text('model = "compact"\nsteps = 100\nbatch = 4\n')
    seen: dict[str, Any] = {}

    def train(config: Any, out: str, **arguments: Any) -> Path:
        seen.update(arguments, config=config, out=out)
        return Path(out) / "model.safetensors"

    monkeypatch.setattr(training, "train", train)
    words = ["train", "--config", str(tmp_path / "run.toml"), "-o", "runs/x", "--set", "steps=7", "--set", "model=M2"]
    assert main([*words, "--restart", "--minutes", "5", "-q"]) == 0
    assert (seen["config"].steps, seen["config"].batch, seen["config"].model) == (7, 4, "M2")
    assert (seen["out"], seen["resume"], seen["minutes"], seen["progress"]) == ("runs/x", False, 5.0, False)
    assert capsys.readouterr().out.strip() == str(Path("runs/x/model.safetensors"))


def test_an_interrupt_while_modules_load(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupted() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("afunet_core.cli.build_parser", interrupted)
    assert main(["info"]) == 130
    assert "interrupted" in capsys.readouterr().err


def test_names_that_would_write_to_the_terminal(
    tmp_path: Path, frames: list[np.ndarray], capsys: pytest.CaptureFixture[str]
) -> None:
    write_bracket(tmp_path / "in" / "odd\x1b[2J\nname", frames, EV)
    words = ["merge", str(tmp_path / "in"), "-o", str(tmp_path / "out"), *PLAIN]
    assert main(words) == 0
    said = capsys.readouterr().out
    assert "\x1b" not in said
    assert len(said.splitlines()) == 2
    (tmp_path / "file").write_text("x")
    assert main([*words[:2], "-o", str(tmp_path / "file"), "-q"]) == 2
    assert "a folder for the results" in capsys.readouterr().err
