"""A bracket: frames of one scene with known exposures, validated, sorted, ready for the network."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from afunet_core.bracket.exposure_checks import check_brightness
from afunet_core.bracket.exposures import relative_exposure
from afunet_core.bracket.pixels import PixelFormat, to_encoded_frames
from afunet_core.bracket.stack import ExposureStack
from afunet_core.bracket.transparency import fill_hidden, hidden_part
from afunet_core.camera.calibration import calibrate, curve_from
from afunet_core.camera.levels import check_white_level, find_white_level, resolve_black_level
from afunet_core.camera.tone_curve import linearized
from afunet_core.errors import ArgumentError, BracketError, ShapeError
from afunet_core.radiometry import GAMMA, Scalar, check_encoding, encode, network_input
from afunet_core.utils.device import cpu_by_default

__all__ = ["Bracket"]

UNTOLD = 0.3  # stops by which frames may disagree with their encoding and nothing is noted of it


class Bracket(ExposureStack):
    """Frames of one scene at different exposures.

    Frames are converted to encoded B×3×H×W tensors in [0, 1] and sorted, shortest exposure first. A bracket is not
    changed once made: :meth:`to`, :meth:`crop` and the like return new ones that share what they can.

    Args:
        frames: two or more frames of one size: arrays H×W, H×W×1, H×W×3, or with alpha H×W×2 or H×W×4, of unsigned
            integers or floats, or tensors H×W, C×H×W or B×C×H×W with one or three channels. Where alpha is 0 a frame
            shows nothing, and others fill it. Greyscale frames are expanded to three channels. Values beyond saturation
            are clipped; NaN, infinite and negative ones replaced, with a warning.
        ev: exposure of every frame in stops; only differences count. Excludes ``times``.
        times: exposure time of every frame in seconds. A tensor that requires gradients keeps its graph.
        encoding: ``"gamma"``, ``"srgb"`` or ``"linear"`` (sensors, microscopes).
        gamma: exponent of the gamma encoding.
        bit_depth: significant bits of integer data, where fewer than the type has (12-bit data in uint16). Floats with
            a stated bit depth hold counts, others are scaled so that 1.0 is saturation.
        black_level: stored value of no light, in the units of the data: a number; a dark frame (an array or tensor laid
            out like the frames, or the path of an image file), subtracted pixel by pixel; or ``"auto"``, for linear
            frames, the intercept of intensity over exposure time. Linear frames then keep what noise pushed below
            black, so that the mean of dark regions stays true.
        white_level: stored value of saturation, in the units of the data. By default it is found where the frames pile
            up below the largest number though a shorter one saw more light, and a warning tells; ``"auto"`` does the
            same without one.
        response: how stored values relate to light. ``"auto"`` takes ``encoding`` as it is unless the frames contradict
            it; then the camera's tone curve, its white level and wrong exposures are found from the frames (see
            :mod:`~afunet_core.camera.calibration`; ``metadata["calibration"]`` tells) and undone. ``None`` believes
            ``encoding``. Else, instead of ``encoding``: a :class:`~afunet_core.camera.response.ResponseCurve`, the file
            of one, or ``"estimate"`` from these frames, which must not have moved. With a curve the bracket holds the
            frames encoded anew with ``gamma``.
        reference: which of the frames, as given, the result is aligned to; default the middle one by exposure.
        names: of the frames, for messages; default ``frame 1``, ``frame 2``…
        metadata: kept for the result's provenance.
        override: accept frames whose brightness contradicts their exposures.

    Attributes:
        frames: tuple of B×3×H×W tensors, encoded, in [0, 1], shortest first. (Linear frames with a black level may be
            slightly negative where there was no light.)
        times: tensor (N,), float64, relative to the shortest.
        seconds: exposure times in seconds where known, else ``None``.
        encoding, gamma, is_grey, names, metadata: as above, in the order of ``frames``.
        reference: index into ``frames``.
        reference_given: whether the caller chose it.
        light_of_shortest: what the shortest frame admitted, as stated: 2^EV, seconds, or t · (ISO / 100) / N² of files.
        black_level: as one number, in the units of the data.
        scale: stored counts between black and saturation: linear light × ``scale`` is counts above black.

    Raises:
        ExposureError: exposures are missing, impossible, all equal, or contradict the brightness of the frames.
        BracketError: too few frames, or frames that do not go together.
        ShapeError: frames of unusable layout or different sizes.

    Example:
        >>> short, middle, long = (torch.full((4, 4, 3), v).numpy() for v in (0.2, 0.2 * 4 ** (1 / 2.2), 0.9))
        >>> bracket = Bracket([long, short, middle], ev=(4, 0, 2), names=["long", "short", "middle"])
        >>> bracket.names, bracket.times.tolist(), bracket.to_tensor().shape
        (('short', 'middle', 'long'), [1.0, 4.0, 16.0], torch.Size([1, 18, 4, 4]))
    """

    def __init__(
        self,
        frames: Sequence[Any],
        *,
        ev: Sequence[float] | Tensor | None = None,
        times: Sequence[float] | Tensor | None = None,
        encoding: str = "gamma",
        gamma: Scalar = GAMMA,
        bit_depth: int | None = None,
        black_level: Any = 0.0,
        white_level: float | str | None = None,
        response: Any = "auto",
        reference: int | None = None,
        names: Sequence[str] | None = None,
        metadata: Mapping[str, Any] | None = None,
        override: bool = False,
    ) -> None:
        frames = list(frames)
        count = len(frames)
        names = [f"frame {i + 1}" for i in range(count)] if names is None else [str(name) for name in names]
        check_encoding(encoding, gamma)
        _check(bit_depth, reference, names, count)
        light = relative_exposure(ev, times, names)
        black = resolve_black_level(black_level, frames, light.detach().tolist(), names, encoding, bit_depth)
        stated_white = check_white_level(white_level)
        fixed = None if isinstance(stated_white, str) else stated_white
        pixel_format = PixelFormat(encoding, bit_depth, black, fixed)
        tensors, self.is_grey, white = to_encoded_frames(frames, names, pixel_format)
        self.black_level, self.scale = pixel_format.black, white - pixel_format.black

        amounts = light.detach().tolist()
        order = sorted(range(count), key=amounts.__getitem__)
        relative = light[order] / light[order[0]]
        sorted_frames = tuple(tensors[i] for i in order)
        learned = any(tensor.requires_grad for tensor in (light, *tensors))  # gradients must pass: nothing is found
        if fixed is None and not learned:
            share = find_white_level(sorted_frames, relative.tolist(), encoding, gamma)
            sorted_frames = self._up_to_white(sorted_frames, share, None if stated_white else white)
        self.seconds = None if times is None else tuple(amounts[i] for i in order)
        self.names = tuple(names[i] for i in order)
        self.reference_given = reference is not None
        chosen = count // 2 if reference is None else order.index(reference % count)
        self.metadata = dict(metadata or {})
        self.light_of_shortest = amounts[order[0]]
        hidden = [hidden_part(frames[i], names[i]) for i in order]
        sorted_frames = fill_hidden(sorted_frames, hidden, relative.tolist(), encoding, gamma, chosen, self.names)
        if response is not None and not (learned and response == "auto"):
            sorted_frames, relative, encoding = self._decoded(response, sorted_frames, relative, encoding, gamma)
        super().__init__(sorted_frames, relative, encoding, gamma, chosen)
        # A curve that was found explains the frames, nearly black ones too, whose brightness tells nothing by itself.
        if not override and self.metadata.get("response", {}).get("source") != "found in the frames":
            told = bool(self.metadata.get("calibration", {}).get("contradictions"))
            check_brightness(self.frames, relative.tolist(), self.names, encoding, gamma, warn=not told)

    def _decoded(
        self, response: Any, frames: tuple[Tensor, ...], times: Tensor, encoding: str, gamma: Scalar
    ) -> tuple[tuple[Tensor, ...], Tensor, str]:
        """Take the response curve off that was stated or is found; frames, times and encoding that go with it."""
        if response != "auto":
            with cpu_by_default():
                curve = curve_from(response, frames, times.tolist())
            self.metadata["response"] = {"source": curve.source, "light": curve.light.tolist()}
            return tuple(encode(curve(frame), "gamma", gamma) for frame in frames), times, "gamma"
        with cpu_by_default():
            found = calibrate(frames, times.tolist(), encoding, float(gamma), self.names)
        if found.curve is not None or found.sentences or found.before > UNTOLD:
            self.metadata["calibration"] = found.as_dict()
        if found.curve is None:
            return frames, times, encoding
        table = found.curve.table()[..., ::34]  # 31 of 1021 evenly spaced values, 0 and 1 among them, tell the curve
        self.metadata["response"] = {"source": "found in the frames", "light": table.tolist()}
        linear, relative = linearized(frames, found.curve, found.times, gamma)
        return tuple(linear), torch.tensor(relative, dtype=torch.float64), "gamma"

    def _up_to_white(self, frames: tuple[Tensor, ...], share: float, tell: float | None) -> tuple[Tensor, ...]:
        """Scale frames that saturate below the end of the scale, and tell of it beside the value of its end."""
        if share == 1:
            return frames
        self.scale *= share
        if tell is not None:
            level = self.scale + self.black_level
            warnings.warn(
                f"The camera saturates at {level:.6g}, below the largest value of its files ({tell:.6g}): it is "
                "taken for white. State white_level= to take another.",
                UserWarning,
                stacklevel=3,
            )
        return tuple((frame / share).clamp(max=1.0) for frame in frames)

    @classmethod
    def from_files(
        cls,
        paths: Sequence[str | Path],
        *,
        ev: Sequence[float] | Tensor | None = None,
        times: Sequence[float] | Tensor | None = None,
        encoding: str = "auto",
        gamma: Scalar = GAMMA,
        bit_depth: int | None = None,
        black_level: Any = 0.0,
        white_level: float | str | None = None,
        response: Any = "auto",
        channel: str | None = None,
        reference: int | None = None,
        override: bool = False,
        plane: int | None = None,
    ) -> Bracket:
        """A bracket from image files in any order.

        Exposures come from ``ev`` or ``times`` if given, else from the ``exposure.txt`` beside the files, else from
        their EXIF (exposure time, and aperture and sensitivity where every file has them).

        Args:
            paths: two or more image files.
            encoding: ``"auto"`` takes 8- and 16-bit files as gamma-encoded and floating-point ones (EXR, Radiance) as
                linear; state ``"linear"`` for the TIFF files of sensors and microscopes.
            channel: ``"red"``, ``"green"`` or ``"blue"``: that channel of colour files alone, as greyscale, for a dye
                that shines in one and only leaks into the others.
            plane: of files with several pages each, such as the z-series of a microscope; the first by default.
            white_level: as for the constructor; of raw files in counts of the sensor, found where they clip.
            ev, times, gamma, bit_depth, black_level, response, reference, override: as for the constructor, in the
                order of ``paths``.

        Raises:
            ImageFileError: a file is missing, damaged or no image.
            ArgumentError: for an unknown channel.
            ExposureError, BracketError, ShapeError: as for the constructor.
        """
        from afunet_core.bracket.files import channel_of_dark_frame, load_bracket_files

        given = ev is not None or times is not None
        files = load_bracket_files(
            paths, encoding=encoding, exposures_given=given, channel=channel, white_level=white_level, plane=plane
        )
        bracket = cls(
            files.pixels,
            ev=ev if given else files.ev,
            times=times,
            encoding=files.encoding,
            gamma=gamma,
            bit_depth=bit_depth,
            black_level=channel_of_dark_frame(black_level, channel),
            white_level=None if files.is_raw else white_level,
            response=response,
            reference=reference,
            names=files.names,
            metadata=files.metadata,
            override=override,
        )
        if files.seconds is not None:
            bracket.seconds = tuple(files.seconds[files.names.index(name)] for name in bracket.names)
        return bracket

    @classmethod
    def from_folder(cls, folder: str | Path, **options: Any) -> Bracket:
        """A bracket from all frames in a folder, in natural order of their names; options as for :meth:`from_files`.

        Raises:
            ImageFileError: the folder is missing, or a file in it damaged.
            BracketError: there are fewer than two frames in it, or those of several brackets.
        """
        from afunet_core.bracket.folders import list_bracket_folder
        from afunet_core.bracket.grouping import refuse_several_brackets

        paths = list_bracket_folder(folder)
        if len(paths) < 2:
            advice = "Give the folder that holds the frames of one bracket."
            raise BracketError("folder", "at least 2 images", f"{len(paths)} in {folder}", advice)
        if not options.get("override") and options.get("ev") is None and options.get("times") is None:
            refuse_several_brackets(folder, paths)
        return cls.from_files(paths, **options)

    @property
    def ev(self) -> Tensor:
        """Exposure in stops above the shortest frame, (N,)."""
        return self.times.log2()

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width."""
        height, width = self.frames[0].shape[-2:]
        return height, width

    @property
    def batch_size(self) -> int:
        """Number of brackets that are merged side by side."""
        return self.frames[0].shape[0]

    def __len__(self) -> int:
        return len(self.frames)

    def __repr__(self) -> str:
        height, width = self.shape
        exposures = ", ".join(f"{stops:+.3g}" for stops in self.ev.tolist())
        colour = "greyscale" if self.is_grey else "RGB"
        frames = f"{len(self)} {colour} frames {height}×{width}"
        return f"Bracket({frames}, EV {exposures}, {self.encoding}, reference {self.reference})"

    def triplet(self) -> Bracket:
        """The reference with its next shorter and next longer neighbour, exposures relative to the shorter.

        Raises:
            BracketError: the reference has no shorter or no longer neighbour.
        """
        first = self.reference - 1
        if len(self) < 3:
            advice = "Add a frame, or use method='weighted' or 'mertens', which take two."
            raise BracketError("frames", "3 exposures for the network", len(self), advice)
        if not 0 <= first <= len(self) - 3:
            name = self.names[self.reference]
            advice = "Choose as reference a frame that is neither the shortest nor the longest."
            raise BracketError("reference", "a frame between a shorter and a longer one", repr(name), advice)
        if len(self) == 3:
            return self
        return self.select(range(first, first + 3), reference=1)

    def select(self, indices: Sequence[int], reference: int) -> Bracket:
        """A bracket of some of the frames, shortest first; a frame may be named twice. Times are relative to the first.

        Args:
            indices: into ``frames``.
            reference: which of the chosen frames is the reference.
        """
        times = self.times[list(indices)]
        return self._replace(
            frames=tuple(self.frames[i] for i in indices),
            times=times / times[0],
            seconds=None if self.seconds is None else tuple(self.seconds[i] for i in indices),
            names=tuple(self.names[i] for i in indices),
            reference=reference,
        )

    def to_tensor(self, device: torch.device | str | None = None, dtype: torch.dtype = torch.float32) -> Tensor:
        """The network's input, B×18×H×W: radiance and gamma-encoded colours of the three frames around the reference.

        Differentiable in the frames, the times and gamma.

        Raises:
            BracketError: there are not three frames around the reference.
        """
        three = self.triplet()
        frames = [frame.to(device=device, dtype=dtype).clamp(min=0.0) for frame in three.frames]
        times = three.times.to(device=frames[0].device)
        return network_input(frames, times, self.encoding, self.gamma)

    def to(self, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> Bracket:
        """The bracket with its frames on another device or in another floating-point type; times stay float64."""
        return self._replace(frames=tuple(frame.to(device=device, dtype=dtype) for frame in self.frames))

    def crop(self, top: int, left: int, height: int, width: int) -> Bracket:
        """A rectangle of every frame, as views.

        Raises:
            ShapeError: the rectangle is empty or reaches beyond the frames.
        """
        rows, columns = self.shape
        if not (0 <= top < top + height <= rows and 0 <= left < left + width <= columns):
            found = f"{height}×{width} at row {top}, column {left}"
            raise ShapeError("crop", f"a rectangle within {rows}×{columns}", found, "Rows and columns count from 0.")
        window = (..., slice(top, top + height), slice(left, left + width))
        return self._replace(frames=tuple(frame[window] for frame in self.frames))

    def with_frames(self, frames: Sequence[Tensor]) -> Bracket:
        """The same exposures with other pixels, such as registered ones: encoded B×3×H×W tensors in the order of
        ``frames``.

        Raises:
            ShapeError: not as many frames, or not of one B×3×H×W shape.
        """
        shapes = [tuple(frame.shape) for frame in frames]
        if len(frames) != len(self) or len(set(shapes)) != 1 or len(shapes[0]) != 4 or shapes[0][1] != 3:
            raise ShapeError("frames", f"{len(self)} tensors of one B×3×H×W shape", shapes)
        return self._replace(frames=tuple(frames))

    def with_reference(self, reference: int) -> Bracket:
        """The same frames with another reference, an index into ``frames``."""
        return self._replace(reference=reference)

    def _replace(self, **changes: Any) -> Bracket:
        other = copy.copy(self)
        other.metadata = dict(self.metadata)
        for name, value in changes.items():
            object.__setattr__(other, name, value)  # a stack is frozen for everybody else
        return other


def _check(bit_depth: int | None, reference: int | None, names: Sequence[str], count: int) -> None:
    if count < 2:
        raise BracketError("frames", "at least 2 frames of one scene", count, "A bracket needs different exposures.")
    if bit_depth is not None and not 1 <= bit_depth <= 32:
        raise ArgumentError("bit_depth", "a number of bits from 1 to 32", bit_depth)
    if len(names) != count:
        raise BracketError("names", f"{count}, one a frame", len(names))
    if reference is not None and not -count <= reference < count:
        raise BracketError("reference", f"an index from 0 to {count - 1}", reference, "It counts the frames as given.")
