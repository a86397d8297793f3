"""A head in the midsagittal plane that counts from one to ten, over and over.

Every word is a row of sounds; each sound has targets for the articulators (jaw, lips, tongue body, tongue
tip, soft palate), which follow them with a critically damped response of about 50 ms, so neighbouring sounds
blend as they do in speech. Signals are those of a spoiled gradient echo: bright fat and marrow, dark fluid,
bone, teeth and air.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.signal import lfilter

from recon_backend.simulation.raster import (
    Canvas,
    Curve,
    Layer,
    Texture,
    ellipse,
    inset,
    smooth_curve,
    stroke,
)

# Jaw and lip opening, lip rounding, tongue body forward (-) or back (+) and low (-) or high (+), tongue tip
# raised, soft palate raised: all about -1 to 1.
ARTICULATORS = ("jaw", "lips", "round", "body_x", "body_y", "tip", "velum")

# Targets in the order of ARTICULATORS; the sounds are written in SAMPA.
_SOUNDS: dict[str, tuple[float, ...]] = {
    "_": (0.10, 0.03, 0.0, 0.0, 0.50, 0.20, 0.0),
    "w": (0.20, 0.12, 1.0, 0.70, 0.75, -0.2, 1.0),
    "V": (0.75, 0.75, 0.0, 0.25, -0.55, -0.2, 0.8),
    "n": (0.25, 0.35, 0.0, -0.10, 0.15, 1.0, 0.0),
    "t": (0.12, 0.35, 0.1, -0.15, 0.25, 1.0, 1.0),
    "u": (0.20, 0.18, 1.0, 0.65, 0.85, -0.2, 1.0),
    "T": (0.20, 0.40, 0.0, -0.40, 0.05, 0.75, 1.0),
    "r": (0.25, 0.30, 0.5, 0.35, 0.10, 0.60, 1.0),
    "i": (0.15, 0.50, -0.2, -0.75, 1.00, 0.1, 1.0),
    "f": (0.20, 0.02, 0.0, 0.05, 0.0, -0.1, 1.0),
    "O": (0.65, 0.45, 0.9, 0.80, -0.45, -0.3, 1.0),
    "a": (1.00, 0.90, 0.0, 0.35, -0.90, -0.3, 0.9),
    "I": (0.30, 0.50, 0.0, -0.55, 0.65, 0.1, 1.0),
    "v": (0.20, 0.02, 0.0, 0.0, 0.05, 0.0, 1.0),
    "s": (0.05, 0.40, 0.0, -0.25, 0.35, 0.85, 1.0),
    "k": (0.25, 0.40, 0.0, 0.35, 1.25, -0.2, 1.0),
    "E": (0.60, 0.70, 0.0, -0.50, 0.10, 0.0, 0.9),
    "@": (0.35, 0.45, 0.0, 0.0, 0.05, 0.0, 0.7),
    "e": (0.45, 0.60, 0.0, -0.65, 0.45, 0.0, 1.0),
}
# Words as (sound, duration in s).
COUNTING: tuple[tuple[tuple[str, float], ...], ...] = (
    (("w", 0.10), ("V", 0.16), ("n", 0.16)),
    (("t", 0.11), ("u", 0.27)),
    (("T", 0.12), ("r", 0.09), ("i", 0.25)),
    (("f", 0.13), ("O", 0.30)),
    (("f", 0.12), ("a", 0.16), ("I", 0.12), ("v", 0.11)),
    (("s", 0.14), ("I", 0.11), ("k", 0.10), ("s", 0.14)),
    (("s", 0.13), ("E", 0.12), ("v", 0.08), ("@", 0.08), ("n", 0.14)),
    (("e", 0.16), ("I", 0.10), ("t", 0.14)),
    (("n", 0.11), ("a", 0.17), ("I", 0.11), ("n", 0.15)),
    (("t", 0.11), ("E", 0.17), ("n", 0.17)),
)
_STEP_S = 0.002
_RESPONSE_S = 0.022
_BREATH_S = 0.55


@dataclass(frozen=True)
class Utterance:
    """Positions of the articulators over time.

    Attributes:
        positions: (time, articulator) in the order of ARTICULATORS.
        words: number (1 to 10) of the word being said at each time, 0 in pauses.
    """

    positions: NDArray[np.float64]
    words: NDArray[np.int64]


def utter(times_s: NDArray[np.floating], seed: int) -> Utterance:
    """Return the articulators at given times (s, from 0) while counting from one to ten repeatedly."""
    times = np.asarray(times_s, dtype=np.float64)
    steps = int(np.ceil((times.max() + 1.0) / _STEP_S))
    targets = np.empty((steps, len(ARTICULATORS)))
    words = np.zeros(steps, dtype=np.int64)
    position = 0
    rng = np.random.default_rng([seed, 3])

    def hold(sound: str, seconds: float, word: int) -> None:
        nonlocal position
        end = min(steps, position + max(1, round(seconds / _STEP_S)))
        # No two utterances of a sound are the same.
        targets[position:end] = np.asarray(_SOUNDS[sound]) + 0.05 * rng.standard_normal(len(ARTICULATORS))
        words[position:end] = word
        position = end

    hold("_", 0.25 + 0.2 * float(rng.random()), 0)
    while position < steps:
        pace = rng.uniform(0.92, 1.10)
        for number, word in enumerate(COUNTING, start=1):
            for sound, seconds in word:
                hold(sound, seconds * pace, number)
            hold("_", (0.10 if number < len(COUNTING) else _BREATH_S) * rng.uniform(0.8, 1.3), 0)
    # Two equal first-order lags are a critically damped second-order response.
    keep = float(np.exp(-_STEP_S / _RESPONSE_S))
    moved = targets
    for _ in range(2):
        moved, _ = lfilter([1 - keep], [1, -keep], moved, axis=0, zi=keep * moved[:1])
    grid = np.arange(steps) * _STEP_S
    positions = np.stack([np.interp(times, grid, moved[:, k]) for k in range(len(ARTICULATORS))], axis=-1)
    nearest = np.clip(np.rint(times / _STEP_S).astype(np.int64), 0, steps - 1)
    return Utterance(positions, words[nearest])


_AIR, _BONE, _TEETH, _FLUID = 0.025, 0.06, 0.035, 0.13
_FAT, _MARROW, _MUSCLE, _TONGUE, _MUCOSA = 0.86, 0.62, 0.40, 0.50, 0.56
_WHITE_MATTER, _GREY_MATTER = 0.60, 0.47


def _line(*points: tuple[float, float], per_segment: int = 8) -> Curve:
    """Return a smooth open line through points (y, x)."""
    return smooth_curve(np.asarray(points, dtype=float), per_segment, closed=False)


def _shape(*points: tuple[float, float], per_segment: int = 8) -> Curve:
    """Return a smooth closed curve through points (y, x)."""
    return smooth_curve(np.asarray(points, dtype=float), per_segment)


class HeadScene:
    """The head of one subject in the midsagittal plane, looking to the left, drawn in any articulation."""

    def __init__(self, subject: int) -> None:
        """Draw the subject's anatomy; the same number gives the same subject."""
        rng = np.random.default_rng([20_231, subject])
        vary = 0.0 if subject == 0 else 1.0
        self._scale = 1.0 + vary * float(rng.uniform(-0.06, 0.05))
        self._stretch = 1.0 + vary * float(rng.uniform(-0.04, 0.04))
        self._nose = vary * float(rng.uniform(-4, 4))
        self._chin = vary * float(rng.uniform(-4, 4))
        self._tilt = vary * float(rng.uniform(-0.06, 0.06))
        self._fine = Texture(rng, 1.3)
        self._coarse = Texture(rng, 3.0)
        self._gyri = self._sulci(rng)
        self._still: dict[tuple[int, int, float, float], Layer] = {}

    @staticmethod
    def _sulci(rng: np.random.Generator) -> list[tuple[float, float, float, float]]:
        """Return the furrows of the brain: angle, depth, slant, width."""
        angles = np.linspace(np.deg2rad(-200), np.deg2rad(8), 25)
        return [
            (
                float(a + rng.uniform(-0.035, 0.035)),
                float(rng.uniform(11, 25)),
                float(rng.uniform(-0.5, 0.5)),
                float(rng.uniform(1.2, 2.0)),
            )
            for a in angles
        ]

    def _place(self, curve: Curve) -> Curve:
        """Take a curve from the drawing's coordinates to the subject's."""
        y, x = curve[:, 0] * self._scale, curve[:, 1] * self._scale * self._stretch
        cosine, sine = np.cos(self._tilt), np.sin(self._tilt)
        return np.stack([cosine * y + sine * x, cosine * x - sine * y], axis=-1)

    def draw(self, canvas: Canvas, position: NDArray[np.floating]) -> None:
        """Paint the head with the articulators at a position (articulator,)."""
        jaw, lips, rounding, body_x, body_y, tip, velum = (float(value) for value in position)
        drop = 10.0 * max(jaw, 0.0)
        self._outline(canvas, drop, lips, rounding)
        still = self._still.get(canvas.grid)
        if still is None:
            still = self._still[canvas.grid] = canvas.record(self._at_rest)
        canvas.lay(still)
        self._airways(canvas, body_x, drop)
        self._mouth_floor(canvas, drop)
        self._tongue(canvas, drop, body_x, body_y, tip)
        self._jaw(canvas, drop)
        self._palate(canvas, velum)
        self._lips(canvas, drop, lips, rounding)

    def _at_rest(self, canvas: Canvas) -> None:
        """Paint what does not move."""
        self._neck(canvas)
        self._skull_and_brain(canvas)

    def _outline(self, canvas: Canvas, drop: float, lips: float, rounding: float) -> None:
        """Paint skin and the tissue beneath it."""
        nose, chin = self._nose, self._chin
        head = [
            (-128, 4),
            (-126, -30),
            (-114, -62),
            (-94, -84),
            (-70, -94),
            (-50, -96),
            (-40, -95),
            (-30, -100),
            (-14, -110),
            (-4, -117 - nose),
            (3, -118 - nose),
            (8, -113 - nose),
            (10, -104),
            (14, -101),
            (18, -101.5),
        ]
        mouth = [
            (22, -103),
            (33, -99),
            (44 + drop, -98 - 0.3 * drop),
            (50 + drop, -96),
            (58 + drop, -99 - chin),
            (66 + drop, -98 - chin),
            (74 + drop, -91 - chin),
            (79 + 0.9 * drop, -78),
            (82 + 0.8 * drop, -60),
            (87 + 0.4 * drop, -42),
        ]
        rest = [
            (100, -34),
            (118, -32),
            (140, -34),
            (170, -42),
            (235, -58),
            (240, 100),
            (190, 86),
            (150, 76),
            (110, 74),
            (80, 78),
            (56, 86),
            (30, 95),
            (0, 101),
            (-30, 103),
            (-60, 98),
            (-92, 80),
            (-114, 48),
            (-125, 26),
        ]
        skin = self._place(_shape(*head, *mouth, *rest, per_segment=6))
        canvas.paint(inset(skin, -0.4), 0.40, softness_mm=0.3)
        canvas.paint(inset(skin, 1.7), _FAT, texture=self._coarse, contrast=0.05, softness_mm=0.3)
        inner = inset(skin, 5.0)
        canvas.paint(inner, _MUSCLE, texture=self._fine, contrast=0.08, softness_mm=0.8)
        # Fat of cheek and chin shows through in the midline behind the lips, and under the chin.
        under = _shape(
            (76 + 0.8 * drop, -84),
            (83 + 0.7 * drop, -62),
            (90, -40),
            (84, -38),
            (77 + 0.7 * drop, -62),
            (71 + drop, -84),
        )
        canvas.paint(self._place(under), _FAT * 0.85, softness_mm=1.2, texture=self._coarse, contrast=0.08)

    def _skull_and_brain(self, canvas: Canvas) -> None:
        """Paint skull, brain, cerebellum, brain stem and the sinuses."""
        vault = _shape(
            (-120, 4),
            (-117, -28),
            (-106, -57),
            (-88, -76),
            (-68, -85),
            (-52, -86),
            (-44, -80),
            (-38, -62),
            (-33, -42),
            (-26, -24),
            (-10, -14),
            (12, -2),
            (24, 4),
            (28, 16),
            (26, 34),
            (24, 56),
            (10, 80),
            (-14, 94),
            (-40, 94),
            (-66, 87),
            (-92, 68),
            (-110, 40),
            (-118, 20),
        )
        canvas.paint(self._place(vault), _BONE, softness_mm=0.3)
        marrow = inset(vault, 2.3)
        canvas.paint(self._place(marrow), _MARROW, texture=self._coarse, contrast=0.15, softness_mm=0.4)
        canvas.paint(self._place(inset(vault, 5.3)), _BONE, softness_mm=0.4)
        # Sinuses of forehead and sphenoid, sella and clivus.
        canvas.paint(self._place(_shape((-64, -86), (-55, -90), (-45, -88), (-46, -80), (-56, -79))), _AIR)
        clivus = _shape(
            (-22, -20), (-14, -14), (4, -4), (20, 3), (23, 9), (16, 10), (0, 4), (-16, -4), (-26, -10)
        )
        canvas.paint(self._place(inset(clivus, -1.6)), _BONE)
        canvas.paint(self._place(clivus), _MARROW * 1.1, texture=self._coarse, contrast=0.10)
        canvas.paint(
            self._place(_shape((-32, -44), (-28, -26), (-17, -19), (-8, -22), (-10, -38), (-20, -47))), _AIR
        )
        inside = self._place(inset(vault, 7.4))
        canvas.paint(inside, _FLUID, softness_mm=0.4)

        centre_y, centre_x = -52.0, 4.0
        cerebrum = _shape(
            (-110, 5),
            (-107, -26),
            (-97, -52),
            (-81, -69),
            (-64, -76),
            (-52, -75),
            (-47, -64),
            (-45, -46),
            (-40, -32),
            (-34, -20),
            (-30, -4),
            (-28, 14),
            (-24, 32),
            (-18, 52),
            (-14, 72),
            (-26, 84),
            (-44, 85),
            (-66, 78),
            (-88, 60),
            (-103, 36),
            (-109, 20),
        )
        canvas.paint(self._place(cerebrum), _GREY_MATTER, texture=self._fine, contrast=0.05, softness_mm=0.5)
        white = inset(cerebrum, 6.0 + 2.2 * np.sin(np.arange(len(cerebrum)) * 2.3))
        canvas.paint(self._place(white), _WHITE_MATTER, texture=self._coarse, contrast=0.04, softness_mm=1.6)
        edge = canvas.fill(self._place(inset(cerebrum, -0.5)))
        for angle, depth, slant, width in self._gyri:
            ray = np.array([np.sin(angle), np.cos(angle)])
            side = np.array([np.cos(angle), -np.sin(angle)])
            reach = 84.0
            for radius in np.arange(96.0, 30.0, -1.0):
                spot = np.array([centre_y, centre_x]) + radius * ray
                if _inside(spot, cerebrum):
                    reach = float(radius)
                    break
            start = np.array([centre_y, centre_x]) + (reach + 2) * ray
            points = [
                start + d * (-ray) + slant * d * 0.45 * side + 1.8 * np.sin(d / 3.4) * side
                for d in np.linspace(0, depth, 6)
            ]
            furrow = _line(*[(float(p[0]), float(p[1])) for p in points], per_segment=4)
            taper = np.linspace(1.5, 0.6, len(furrow))
            canvas.paint(
                self._place(stroke(furrow, (width + 3.6) * taper)), _GREY_MATTER, softness_mm=0.8, inside=edge
            )
            canvas.paint(
                self._place(stroke(furrow, width * taper)), _FLUID * 1.2, inside=edge, softness_mm=0.4
            )
        cingulate = _line((-46, -46), (-62, -52), (-78, -38), (-84, -12), (-81, 18), (-70, 38), (-58, 46))
        canvas.paint(self._place(stroke(cingulate, 4.6)), _GREY_MATTER, softness_mm=0.8)
        canvas.paint(self._place(stroke(cingulate, 1.6)), _FLUID * 1.3, softness_mm=0.4)

        # Lateral ventricle and septum under the corpus callosum, then the callosum itself.
        ventricle = _shape(
            (-60, -30), (-65, -12), (-64, 10), (-55, 26), (-49, 22), (-48, 4), (-50, -16), (-55, -30)
        )
        canvas.paint(self._place(ventricle), _FLUID, softness_mm=0.6)
        callosum = _line(
            (-47, -28),
            (-52, -37),
            (-60, -38),
            (-67, -28),
            (-71, -10),
            (-70, 10),
            (-63, 26),
            (-54, 33),
            (-49, 30),
        )
        thickness = np.interp(
            np.linspace(0, 1, len(callosum)), [0, 0.15, 0.3, 0.6, 0.85, 0.95, 1], [3, 7, 8, 6, 8.5, 10, 8]
        )
        canvas.paint(self._place(stroke(callosum, thickness)), 0.72, softness_mm=0.5)
        fornix = _line((-62, 18), (-57, 2), (-50, -10), (-42, -13))
        canvas.paint(self._place(stroke(fornix, 3.0)), 0.66, softness_mm=0.5)
        thalamus = ellipse((-46.0, 4.0), (7.5, 12.5), 0.1)
        canvas.paint(self._place(inset(thalamus, -1.5)), _FLUID, softness_mm=0.5)
        canvas.paint(self._place(thalamus), 0.53, texture=self._fine, contrast=0.04, softness_mm=0.5)
        cistern = _shape(
            (-40, -22),
            (-36, 0),
            (-32, 16),
            (-34, 30),
            (-26, 24),
            (-18, 2),
            (0, 6),
            (18, 12),
            (24, 12),
            (14, 4),
            (-4, -6),
            (-22, -12),
            (-32, -24),
        )
        canvas.paint(self._place(cistern), _FLUID, softness_mm=0.6)
        canvas.paint(self._place(ellipse((-27.0, -16.5), (2.8, 4.6), 0.2)), 0.60, softness_mm=0.4)
        canvas.paint(self._place(stroke(_line((-30, -16), (-37, -13)), 1.6)), 0.5, softness_mm=0.3)

        stem = _shape(
            (-41, 6),
            (-36, 1),
            (-26, 2),
            (-21, 0),
            (-13, 0),
            (-5, 3),
            (2, 9),
            (8, 12),
            (20, 13),
            (32, 14),
            (32, 23),
            (18, 23),
            (6, 22),
            (-6, 21),
            (-18, 20),
            (-30, 20),
            (-40, 17),
        )
        canvas.paint(self._place(inset(stem, -4.0)), _FLUID, softness_mm=0.6)
        cerebellum = _shape(
            (-24, 28),
            (-19, 46),
            (-12, 66),
            (0, 73),
            (12, 66),
            (18, 50),
            (18, 34),
            (11, 26),
            (3, 28),
            (-4, 25),
            (-14, 24),
        )
        canvas.paint(self._place(inset(cerebellum, -1.8)), _FLUID, softness_mm=0.5)
        canvas.paint(self._place(cerebellum), 0.45, texture=self._fine, contrast=0.05, softness_mm=0.4)
        hub = np.array([-3.0, 33.0])
        for angle in np.deg2rad([-62, -42, -22, -4, 14, 34, 56, 78]):
            ray = np.array([np.sin(angle), np.cos(angle)])
            reach = next((r for r in np.arange(46.0, 8.0, -1.0) if _inside(hub + r * ray, cerebellum)), 10.0)
            trunk = np.linspace(0, reach - 4, 6)[:, None] * ray + hub
            canvas.paint(self._place(stroke(trunk, np.linspace(3.2, 1.2, 6))), 0.64, softness_mm=0.4)
            between = angle + np.deg2rad(9)
            split = np.array([np.sin(between), np.cos(between)])
            outer = next(
                (r for r in np.arange(46.0, 8.0, -1.0) if _inside(hub + r * split, cerebellum)), 10.0
            )
            gap = np.linspace(outer * 0.52, outer + 2, 5)[:, None] * split + hub
            canvas.paint(self._place(stroke(gap, np.linspace(0.7, 1.7, 5))), _FLUID * 1.4, softness_mm=0.3)
        canvas.paint(self._place(ellipse((-2.0, 33.5), (5.0, 5.5))), 0.64, softness_mm=0.8)
        canvas.paint(
            self._place(_shape((-20, 21), (-8, 23), (-3, 28), (3, 24), (10, 22), (-4, 20.5))),
            _FLUID,
            softness_mm=0.4,
        )
        canvas.paint(self._place(stem), 0.60, texture=self._fine, contrast=0.04, softness_mm=0.5)
        canvas.paint(
            self._place(_shape((-23, 1), (-14, -1.5), (-5, 2), (-3, 11), (-12, 14), (-21, 12))),
            0.55,
            softness_mm=1.2,
        )
        canvas.paint(
            self._place(stroke(_line((-37, 21), (-28, 21), (-20, 20)), 1.7)), _FLUID, softness_mm=0.4
        )
        for spot in ((-38.0, 22.5), (-32.0, 23.0)):
            canvas.paint(self._place(ellipse(spot, (3.2, 3.0))), 0.56, softness_mm=0.5)

    def _neck(self, canvas: Canvas) -> None:
        """Paint vertebrae, discs, spinal cord and the muscles and fat of the neck."""
        behind = _shape(
            (36, 52),
            (60, 56),
            (100, 55),
            (150, 60),
            (235, 82),
            (235, 54),
            (160, 38),
            (110, 34),
            (70, 34),
            (42, 34),
        )
        canvas.paint(self._place(behind), 0.36, texture=self._coarse, contrast=0.12, softness_mm=1.0)
        for offset in (0.0, 7.5, 15.0):
            streak = _line((48, 50 + 0.8 * offset), (90, 49 + offset), (140, 54 + offset), (225, 76 + offset))
            canvas.paint(self._place(stroke(streak, 2.0)), _FAT * 0.75, opacity=0.75, softness_mm=0.6)
        canal = _line((24, 18), (46, 22), (74, 24), (104, 23), (140, 25), (180, 34), (240, 52))
        canvas.paint(self._place(stroke(canal, 20)), _BONE * 2, softness_mm=0.5)
        canvas.paint(self._place(stroke(canal, 16)), _FLUID, softness_mm=0.5)
        canvas.paint(self._place(stroke(canal, 8.6)), 0.58, softness_mm=0.6)
        front = _line((30, 3), (52, 6), (78, 8), (106, 7), (140, 9), (180, 19), (240, 38), per_segment=20)
        canvas.paint(self._place(stroke(front, 22)), _BONE * 1.5, softness_mm=0.4)
        canvas.paint(self._place(stroke(front, 17)), 0.26, softness_mm=0.6)
        length = np.concatenate([[0], np.cumsum(np.hypot(*np.diff(front, axis=0).T))])
        level = 22.0
        while level < length[-1] - 8:
            ends = [level - 7.0, level + 7.0] if level > 23 else [level - 17.0, level + 8.0]
            part = np.stack(
                [np.interp(np.linspace(ends[0], ends[1], 7), length, front[:, axis]) for axis in range(2)],
                axis=-1,
            )
            width = np.full(7, 15.0) if level > 23 else np.array([7.0, 8.5, 9.0, 9.0, 11.0, 15.0, 15.0])
            canvas.paint(self._place(inset(stroke(part, width), -0.9)), _BONE)
            canvas.paint(
                self._place(stroke(part, width)),
                _MARROW,
                texture=self._coarse,
                contrast=0.10,
                softness_mm=0.3,
            )
            middle = part[3]
            tangent = part[4] - part[2]
            tangent /= np.hypot(*tangent)
            away = np.array([-tangent[1], tangent[0]])
            root = middle + away * 37 + tangent * 7
            angle = float(np.arctan2(away[0] + 0.45 * tangent[0], away[1] + 0.45 * tangent[1]))
            process = ellipse((float(root[0]), float(root[1])), (4.6, 11.0), angle)
            canvas.paint(self._place(process), _BONE * 1.5, softness_mm=0.5)
            canvas.paint(self._place(inset(process, 1.3)), _MARROW * 0.95, softness_mm=0.4)
            level += 17.6
        canvas.paint(self._place(inset(ellipse((27.0, -6.5), (5.0, 3.2)), -1.0)), _BONE)
        canvas.paint(self._place(ellipse((27.0, -6.5), (5.0, 3.2))), _MARROW * 1.05)

    def _airways(self, canvas: Canvas, body_x: float, drop: float) -> None:
        """Paint nasal cavity, mouth, throat, larynx and windpipe."""
        nose = self._nose
        nasal = _shape(
            (-6, -108 - nose),
            (-30, -91),
            (-42, -78),
            (-38, -62),
            (-24, -48),
            (-9, -42),
            (4, -34),
            (12, -36),
            (11, -60),
            (8, -88),
            (5, -104 - nose),
        )
        canvas.paint(self._place(inset(nasal, -1.6)), _MUCOSA * 0.9, softness_mm=0.4)
        canvas.paint(self._place(nasal), 0.09, softness_mm=0.5)
        for line, width in (
            (_line((4, -88), (0, -70), (0, -50), (3, -38)), 7.0),
            (_line((-12, -82), (-15, -66), (-12, -48)), 5.5),
            (_line((-27, -76), (-27, -66), (-23, -56)), 4.0),
        ):
            canvas.paint(
                self._place(stroke(line, width)), 0.48, texture=self._fine, contrast=0.10, softness_mm=0.7
            )
        mouth = _shape(
            (24, -100),
            (16, -84),
            (14, -60),
            (17, -36),
            (12, -26),
            (22, -20),
            (44, -22),
            (66 + 0.3 * drop, -38),
            (62 + drop, -66),
            (52 + drop, -84),
            (36 + 0.6 * drop, -98),
        )
        wall = -6.0
        throat = _shape(
            (-2, -34),
            (-6, -20),
            (4, wall - 3),
            (22, wall - 2),
            (44, wall - 1),
            (70, wall + 0),
            (92, wall - 1),
            (108, wall - 6),
            (118, wall - 12),
            (112, wall - 22),
            (96, wall - 20),
            (80, -30),
            (56, -34),
            (34, -34),
            (14, -34),
        )
        canvas.paint(self._place(inset(throat, -1.4)), _MUCOSA, softness_mm=0.5)
        canvas.paint(self._place(mouth), _AIR, softness_mm=0.3)
        canvas.paint(self._place(throat), _AIR, softness_mm=0.3)
        trachea = _line((112, -17), (124, -18), (134, -18.5), (160, -16), (200, -10), (240, -2))
        bore = np.interp(np.linspace(0, 1, len(trachea)), [0, 0.12, 0.2, 0.26, 1], [13, 7, 4.5, 15, 17])
        canvas.paint(self._place(stroke(trachea, bore + 6)), 0.30, softness_mm=0.5)
        canvas.paint(self._place(stroke(trachea, bore + 2.4)), _MUCOSA * 0.9, softness_mm=0.3)
        canvas.paint(self._place(stroke(trachea, bore)), _AIR, softness_mm=0.3)
        thyroid = _line((108, -33), (120, -32), (130, -30))
        canvas.paint(self._place(stroke(thyroid, np.linspace(4, 6, len(thyroid)))), 0.30, softness_mm=0.4)
        cricoid = ellipse((130.0, -4.0), (9.0, 4.5), -0.1)
        canvas.paint(self._place(cricoid), 0.15, softness_mm=0.4)
        canvas.paint(self._place(inset(cricoid, 1.6)), 0.55, softness_mm=0.4)
        oesophagus = _line((122, 0), (150, 2), (190, 10), (240, 24))
        canvas.paint(self._place(stroke(oesophagus, 6)), 0.34, softness_mm=0.5)
        back = 1.8 * body_x
        epiglottis = _line((96, -27 + 0.5 * back), (84, -24 + back), (74, -19 + back), (68, -18.5 + back))
        canvas.paint(
            self._place(stroke(epiglottis, np.linspace(4.4, 2.6, len(epiglottis)))), _MUCOSA, softness_mm=0.4
        )
        canvas.paint(self._place(stroke(epiglottis, 1.0)), 0.2, softness_mm=0.4)

    def _mouth_floor(self, canvas: Canvas, drop: float) -> None:
        """Paint the muscles between jaw and hyoid, and the hyoid."""
        floor = _shape(
            (58 + drop, -84),
            (68 + drop, -82),
            (78 + 0.6 * drop, -58),
            (88 + 0.2 * drop, -38),
            (104, -33),
            (100, -22),
            (86, -24),
            (72 + 0.3 * drop, -38),
            (60 + 0.8 * drop, -60),
        )
        canvas.paint(self._place(floor), _MUSCLE, texture=self._fine, contrast=0.10, softness_mm=0.6)
        seam = _line((66 + drop, -78), (76 + 0.6 * drop, -58), (87 + 0.2 * drop, -38))
        canvas.paint(self._place(stroke(seam, 1.8)), _FAT * 0.8, opacity=0.8, softness_mm=0.5)
        hyoid = ellipse((92.0 + 0.2 * drop, -32.0), (4.4, 5.2), 0.5)
        canvas.paint(self._place(hyoid), _BONE, softness_mm=0.3)
        canvas.paint(self._place(inset(hyoid, 1.7)), _MARROW, softness_mm=0.4)

    def tongue(self, drop: float, body_x: float, body_y: float, tip: float) -> Curve:
        """Return the tongue's outline in mm, not yet placed; the jaw's drop is in mm."""
        back, high = 8.5 * body_x, 12.0 * body_y
        lift, forward = 14.0 * tip, -2.5 * max(tip, 0.0)
        front = max(-body_x, 0.0)
        rear = max(body_x, 0.0)
        return _shape(
            (44 + 0.9 * drop - lift, -87 + forward),
            (37 + 0.8 * drop - 0.75 * lift - 0.15 * high, -83 + 0.6 * forward),
            (34 + 0.65 * drop - 0.25 * lift - 0.55 * high - 3 * front * body_y, -72 + 0.5 * back),
            (29 + 0.50 * drop - 0.95 * high, -57 + 0.8 * back),
            (29 + 0.40 * drop - 1.00 * high, -43 + back),
            (38 + 0.30 * drop - 0.55 * high, -30 + back),
            (54 + 0.25 * drop - 0.10 * high, -22.5 + 0.9 * back),
            (70 + 0.20 * drop + 0.10 * high, -22 + 0.7 * back + 1.0 * rear),
            (84 + 0.15 * drop, -27 + 0.3 * back),
            (84 + 0.3 * drop, -40),
            (73 + 0.7 * drop, -60),
            (63 + drop, -77),
            (54 + drop - 0.2 * lift, -84),
            (49 + drop - 0.7 * lift, -86 + 0.6 * forward),
        )

    def _tongue(self, canvas: Canvas, drop: float, body_x: float, body_y: float, tip: float) -> None:
        """Paint the tongue with the fan of its muscle fibres."""
        outline = self.tongue(drop, body_x, body_y, tip)
        placed = self._place(outline)
        canvas.paint(inset(placed, -0.5), _MUCOSA * 1.05, softness_mm=0.3)
        origin = (0.5 * drop - 5 * body_y, 5 * body_x)
        canvas.paint(
            inset(placed, 1.5), _TONGUE, texture=self._fine, contrast=0.07, origin_yx=origin, softness_mm=0.7
        )
        root = np.array([64 + drop, -79.0])
        segment = len(outline) // 14
        for index in np.linspace(1.6 * segment, 7.2 * segment, 12).astype(int):
            tipward = outline[index]
            end = root + 0.84 * (tipward - root)
            bend = 0.5 * (root + end) + np.array([-2.0, 2.0])
            fibre = smooth_curve(np.array([root, bend, end]), 6, closed=False)
            canvas.paint(
                self._place(stroke(fibre, np.linspace(1.0, 1.5, len(fibre)))),
                0.66,
                opacity=0.40,
                softness_mm=0.6,
            )
        septum = np.array([root, root + 0.55 * (outline[4 * segment] - root)])
        canvas.paint(
            self._place(stroke(septum, np.array([3.0, 1.0]))), _FAT * 0.8, opacity=0.5, softness_mm=0.9
        )

    def _jaw(self, canvas: Canvas, drop: float) -> None:
        """Paint the lower jaw and its front tooth."""
        chin = self._chin
        bone = _shape(
            (50 + drop, -88),
            (54 + drop, -92),
            (64 + drop, -93 - 0.7 * chin),
            (73 + drop, -89 - 0.7 * chin),
            (74 + drop, -82),
            (66 + drop, -80.5),
            (56 + drop, -83),
        )
        canvas.paint(self._place(inset(bone, -1.6)), _BONE, softness_mm=0.3)
        canvas.paint(self._place(bone), _MARROW * 1.15, texture=self._coarse, contrast=0.12, softness_mm=0.4)
        tooth = _shape(
            (34.5 + drop, -90.5), (40 + drop, -88.5), (54 + drop, -87), (54 + drop, -90), (42 + drop, -93)
        )
        canvas.paint(self._place(tooth), _TEETH, softness_mm=0.3)

    def _palate(self, canvas: Canvas, velum: float) -> None:
        """Paint upper jaw with its tooth, the hard palate, and the soft palate at its height."""
        maxilla = _shape(
            (6, -92),
            (10, -97),
            (22, -95),
            (25, -89),
            (19, -82),
            (15, -66),
            (15.5, -44),
            (10.5, -42),
            (9.5, -66),
            (7, -82),
        )
        canvas.paint(self._place(inset(maxilla, -2.0)), _MUCOSA, softness_mm=0.3)
        canvas.paint(self._place(inset(maxilla, -0.2)), _BONE, softness_mm=0.3)
        canvas.paint(
            self._place(
                _shape((10, -92), (19, -92), (17, -84), (12.5, -66), (12.5, -46), (11.5, -66), (9, -84))
            ),
            _MARROW * 1.1,
            softness_mm=0.6,
        )
        tooth = _shape((18, -95), (26, -97), (37, -96.5), (36, -94), (26, -90.5), (18, -90))
        canvas.paint(self._place(tooth), _TEETH, softness_mm=0.3)

        up = float(np.clip(velum, -0.1, 1.05))
        middle = _line(
            (12.5, -45),
            (15 - 5.0 * up, -36 + 1.0 * up),
            (22 - 14.0 * up, -26.5 + 4.5 * up),
            (32 - 20.0 * up, -21.5 + 8.0 * up),
            (42 - 19.0 * up, -20.5 + 8.5 * up),
        )
        width = np.interp(np.linspace(0, 1, len(middle)), [0, 0.35, 0.7, 0.9, 1], [5.5, 8.5, 8.0, 5.0, 2.2])
        placed = self._place(stroke(middle, width))
        canvas.paint(placed, _MUCOSA, softness_mm=0.4)
        canvas.paint(self._place(stroke(middle, 0.45 * width)), _MUSCLE * 1.1, softness_mm=0.8)

    def _lips(self, canvas: Canvas, drop: float, lips: float, rounding: float) -> None:
        """Paint both lips at their opening and rounding."""
        gap = 6.5 * max(lips, 0.0) + 0.5 * drop * min(1.0, max(lips, 0.0) * 2.5)
        out = 5.0 * max(rounding, 0.0) - 1.5 * max(-rounding, 0.0)
        thick = 1.0 + 0.15 * max(rounding, 0.0)
        seam = 33.0 + 0.45 * drop
        upper_edge, lower_edge = seam - 0.40 * gap, seam + 0.60 * gap
        opening = _shape(
            (upper_edge - 0.5, -110 - out),
            (upper_edge, -100),
            (upper_edge - 1.5, -94),
            (lower_edge + 2, -93),
            (lower_edge, -100),
            (lower_edge + 0.5, -110 - out),
        )
        if gap > 0.4:
            canvas.paint(self._place(opening), 0.0, softness_mm=0.3)
        upper = _shape(
            (12, -99),
            (15, -102),
            (upper_edge - 10, -104 - 0.8 * out),
            (upper_edge - 4, -107.5 * thick - out + 107.5 * (thick - 1)),
            (upper_edge, -105 - out),
            (upper_edge + 0.2, -100 - 0.4 * out),
            (upper_edge - 3, -97),
            (20, -97.5),
        )
        lower = _shape(
            (lower_edge, -99.5 - 0.4 * out),
            (lower_edge, -104 - out),
            (lower_edge + 4.5, -107 - out),
            (lower_edge + 11, -102.5 - 0.7 * out),
            (52 + drop, -98),
            (58 + drop, -97),
            (54 + drop, -93.5),
            (lower_edge + 6, -95.5),
            (lower_edge + 2, -96.5),
        )
        for lip in (upper, lower):
            placed = self._place(lip)
            canvas.paint(placed, 0.52, softness_mm=0.4)
            canvas.paint(inset(placed, 1.5), _FAT * 0.80, softness_mm=0.9)
            canvas.paint(inset(placed, 3.0), 0.50, softness_mm=0.9)


def _inside(point: NDArray[np.floating], curve: Curve) -> bool:
    """Say whether a point (y, x) lies inside a closed curve (even-odd rule)."""
    y, x = curve[:, 0], curve[:, 1]
    y2, x2 = np.roll(y, -1), np.roll(x, -1)
    crosses = (y > point[0]) != (y2 > point[0])
    with np.errstate(divide="ignore", invalid="ignore"):
        where = x + (point[0] - y) * (x2 - x) / (y2 - y)
    return bool(np.count_nonzero(crosses & (point[1] < where)) % 2)
