"""A beating heart in a mid-ventricular short-axis slice of the chest, breathing freely.

The left ventricle follows a volume curve with its known intervals: isovolumic contraction, ejection (about
0.3 s, shorter at high rates), isovolumic relaxation, rapid filling, diastasis (rest) and the atrial kick; its
muscle keeps its area but for a slight gain as the base descends through the slice, so it thickens. Breathing
lowers heart and liver and lifts the chest wall, with a pause at the end of expiration. Signals are those of
balanced SSFP: bright blood and fat, dark muscle and lungs.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import PchipInterpolator

from recon_backend.simulation.raster import Canvas, Curve, Texture, ellipse, inset, smooth_curve, stroke

_ISOVOLUMIC_CONTRACTION_S = 0.05
_ISOVOLUMIC_RELAXATION_S = 0.07
_MUSCLE, _BLOOD, _FAT, _LUNG, _LIVER = 0.25, 0.86, 0.64, 0.045, 0.36


@dataclass(frozen=True)
class HeartMotion:
    """What moves, at given times.

    Attributes:
        contraction: 0 at the end of diastole, 1 at the end of systole.
        breathing: 0 at the end of expiration, 1 at the end of inspiration.
        beats_s: times at which the beats begin (end of diastole).
    """

    contraction: NDArray[np.float64]
    breathing: NDArray[np.float64]
    beats_s: NDArray[np.float64]


def systole_s(beat_s: float) -> float:
    """Return the time from the end of diastole to the end of ejection for a beat of a length in s."""
    # Weissler: the ejection shortens by 1.7 ms for every beat a minute.
    return _ISOVOLUMIC_CONTRACTION_S + 0.413 - 0.0017 * 60.0 / beat_s


def _beat_curve(beat_s: float) -> PchipInterpolator:
    """Return the contraction over one beat."""
    end = systole_s(beat_s)
    relaxed = end + _ISOVOLUMIC_RELAXATION_S
    # At high rates the diastole shortens first: squeeze its intervals into what is left.
    squeeze = min(1.0, (beat_s - relaxed) / 0.36)
    kick = beat_s - 0.12 * squeeze
    times = [
        0.0,
        _ISOVOLUMIC_CONTRACTION_S,
        _ISOVOLUMIC_CONTRACTION_S + 0.35 * (end - _ISOVOLUMIC_CONTRACTION_S),
        end - 0.05,
        end,
        relaxed,
        relaxed + 0.06 * squeeze,
        relaxed + 0.12 * squeeze,
        relaxed + 0.19 * squeeze,
        kick,
        beat_s - 0.015 * squeeze,
        beat_s,
    ]
    values = [0.0, 0.02, 0.60, 0.97, 1.0, 0.985, 0.66, 0.34, 0.22, 0.17, 0.005, 0.0]
    return PchipInterpolator(times, values)


def heart_motion(times_s: NDArray[np.floating], heart_rate_per_min: float, seed: int) -> HeartMotion:
    """Return contraction and breathing at times (s, from 0); beats and breaths vary slightly in length.

    Raises:
        ValueError: if the heart rate is outside 30 to 150 beats a minute.
    """
    if not 30 <= heart_rate_per_min <= 150:
        raise ValueError(f"heart_rate_per_min is {heart_rate_per_min}, but the phantom beats at 30 to 150.")
    times = np.asarray(times_s, dtype=np.float64)
    mean_beat = 60.0 / heart_rate_per_min
    # Two streams, drawn in order of time: later times do not change earlier ones.
    rng, breath_rng = np.random.default_rng([seed, 1]), np.random.default_rng([seed, 2])
    beats = [-rng.uniform(0, mean_beat)]
    contraction = np.zeros(times.shape)
    while beats[-1] <= times.max():
        length = mean_beat * (1 + 0.025 * rng.standard_normal())
        within = (times >= beats[-1]) & (times < beats[-1] + length)
        contraction[within] = _beat_curve(length)(times[within] - beats[-1])
        beats.append(beats[-1] + length)
    breathing = np.zeros(times.shape)
    start = -breath_rng.uniform(0, 4.0)
    while start <= times.max():
        length = breath_rng.uniform(3.7, 4.5)
        depth = breath_rng.uniform(0.85, 1.0)
        within = (times >= start) & (times < start + length)
        # The steeper rise and the pause at the end of expiration of quiet breathing.
        part = (times[within] - start) / length
        breathing[within] = depth * np.sin(np.pi * part**0.85) ** 3
        start += length
    return HeartMotion(contraction, breathing, np.asarray(beats))


class HeartScene:
    """The chest of one subject, drawn at any contraction and breathing state."""

    def __init__(self, subject: int) -> None:
        """Draw the subject's anatomy; the same number gives the same subject."""
        rng = np.random.default_rng([20_230, subject])
        # Subject 0 is the textbook one; the others vary about it.
        vary = 0.0 if subject == 0 else 1.0

        def around(value: float, spread: float) -> float:
            return value + vary * spread * float(rng.uniform(-1, 1))

        self._body_scale = around(1.0, 0.05)
        self._fat_mm = around(11.0, 4.0)
        self._centre = (around(-18.0, 4.0), around(22.0, 5.0))
        self._radius_mm = around(25.5, 2.0)
        self._wall_mm = around(9.0, 1.0)
        self._right_bulge_mm = around(36.0, 4.0)
        self._tilt = around(0.0, 0.15)
        self._squeeze = around(0.36, 0.03)
        self._muscle_texture = Texture(rng, 1.6)
        self._organ_texture = Texture(rng, 2.4)
        self._blood_texture = Texture(rng, 4.0)
        self._wall_phase = rng.uniform(0, 2 * np.pi, 8)
        self._right_phase = rng.uniform(0, 2 * np.pi, 8)
        self._lung_vessels = [self._branch(rng) for _ in range(64)]
        self._liver_vessels = self._vessel_tree(rng)

    @staticmethod
    def _branch(rng: np.random.Generator) -> tuple[float, float, float, float]:
        """Return a lung vessel: side, distance from the hilum, direction, radius."""
        return (
            float(rng.choice([-1.0, 1.0])),
            float(rng.uniform(0.12, 1.0)),
            float(rng.uniform(-1.25, 1.0)),
            float(rng.uniform(0.5, 1.5)),
        )

    @staticmethod
    def _vessel_tree(rng: np.random.Generator) -> list[tuple[Curve, float]]:
        """Return the liver's vessels as lines with a width, in mm from the liver's own origin."""
        vessels: list[tuple[Curve, float]] = []
        for number in range(9):
            y, x = rng.uniform(-18, 30), rng.uniform(-62, 30)
            angle = rng.uniform(-0.6, 0.9)
            length = rng.uniform(12, 36)
            bend = rng.uniform(-7, 7)
            line = np.array(
                [
                    [y, x],
                    [y + 0.5 * length * np.sin(angle) + bend, x + 0.5 * length * np.cos(angle)],
                    [y + length * np.sin(angle), x + length * np.cos(angle)],
                ]
            )
            vessels.append((smooth_curve(line, 8, closed=False), 1.6 + 0.35 * (number % 5)))
        return vessels

    def draw(self, canvas: Canvas, contraction: float, breathing: float) -> None:
        """Paint the chest at one moment."""
        body = self._body(breathing)
        self._chest_wall(canvas, body)
        cavity = inset(body, self._cavity_depth(body))
        self._lungs(canvas, cavity, breathing)
        self._mediastinum(canvas, cavity, breathing)
        self._abdomen(canvas, cavity, breathing)
        self._spine(canvas)
        self._aorta(canvas, contraction)
        self._heart(canvas, contraction, breathing)

    def _body(self, breathing: float) -> Curve:
        """Return the outline of the trunk; its front rises with breathing."""
        turn = np.linspace(0, 2 * np.pi, 160, endpoint=False)
        cosine, sine = np.cos(turn), np.sin(turn)
        x = 168 * np.sign(cosine) * np.abs(cosine) ** 0.86
        y = 113 * np.sign(sine) * np.abs(sine) ** 0.92
        y = np.where(y < 0, y * (1 + 0.030 * breathing), y)
        # Flat of the back with its midline furrow, and a slightly sunken breastbone.
        y = y - np.where(sine > 0, 5.0 * np.exp(-((x / 14) ** 2)), -2.5 * np.exp(-((x / 22) ** 2)))
        return np.stack([y + 4, x], axis=-1) * self._body_scale

    def _fat_depth(self, body: Curve) -> NDArray[np.float64]:
        """Return the thickness of the fat under the skin along the outline."""
        side = np.abs(body[:, 1]) / 168
        back = np.clip(body[:, 0] / 113, 0, 1)
        return self._fat_mm * (0.75 + 0.5 * side**2 + 0.45 * back)

    def _cavity_depth(self, body: Curve) -> NDArray[np.float64]:
        """Return the thickness of the whole chest wall along the outline."""
        back = np.clip(body[:, 0] / 113, 0, 1)
        midline = np.exp(-((body[:, 1] / 55) ** 2))
        return self._fat_depth(body) + 13 + 16 * back * midline + 6 * back

    def _chest_wall(self, canvas: Canvas, body: Curve) -> None:
        """Paint skin, fat, muscles, ribs and breastbone."""
        canvas.paint(body, 0.42, softness_mm=0.4)
        canvas.paint(inset(body, 1.8), _FAT, texture=self._organ_texture, contrast=0.05)
        muscle = inset(body, self._fat_depth(body))
        canvas.paint(inset(muscle, -0.9), 0.12, opacity=0.6)
        canvas.paint(muscle, _MUSCLE, texture=self._muscle_texture, contrast=0.10)
        # A layer of fat between the outer muscles and the ribs.
        depth = self._fat_depth(body)
        between = inset(body, depth + 5.5)
        canvas.paint(between, 0.52, opacity=0.75, softness_mm=0.6)
        canvas.paint(inset(body, depth + 7.5), _MUSCLE, texture=self._muscle_texture, contrast=0.10)
        middle = inset(body, depth + 9.5)
        for position in np.linspace(0, 1, 17, endpoint=False) + 0.012:
            index = int(position * len(middle))
            y, x = middle[index]
            if abs(x) < 38 and y > 0:
                continue
            following = middle[(index + 3) % len(middle)] - middle[index - 3]
            angle = float(np.arctan2(following[0], following[1]))
            long = 11.0 if y > 0 or abs(x) > 40 else 8.0
            canvas.paint(ellipse((y, x), (4.4, long), angle), 0.07)
            canvas.paint(ellipse((y, x), (2.9, long - 1.6), angle), 0.44, softness_mm=0.4)
        front = float(middle[np.argmin(middle[:, 0]), 0])
        sternum = ellipse((front + 1.0, 0.0), (6.0, 17.0))
        canvas.paint(sternum, 0.08)
        canvas.paint(
            ellipse((front + 1.0, 0.0), (4.2, 15.0)), 0.50, texture=self._organ_texture, contrast=0.1
        )

    def _lungs(self, canvas: Canvas, cavity: Curve, breathing: float) -> None:
        """Paint the lungs and their vessels."""
        canvas.paint(inset(cavity, -1.2), 0.14, opacity=0.7)
        canvas.paint(cavity, _LUNG * (1.25 - 0.35 * breathing), texture=self._organ_texture, contrast=0.25)
        within = canvas.fill(inset(cavity, 1.5))
        # Wide and bright near the root of the lung.
        vessels: list[list[Curve]] = [[], [], []]
        for side, distance, direction, radius in self._lung_vessels:
            hilum_x = -40.0 if side < 0 else 58.0
            reach = distance * (88.0 if side < 0 else 72.0)
            y = -6 + reach * np.sin(direction) * 0.9 + 7 * breathing * distance
            x = hilum_x + side * reach * np.cos(direction)
            width = radius * (1.25 - 0.6 * distance)
            length = 2.0 + 8.0 * (1 - distance) + 4.0 * radius
            end = (y + length * np.sin(direction + 0.35), x + side * length * np.cos(direction + 0.35))
            line = np.array([[y, x], [0.5 * (y + end[0]) + 0.7, 0.5 * (x + end[1])], end])
            vessel = stroke(smooth_curve(line, 4, closed=False), 2 * width * np.linspace(1, 0.45, 9))
            vessels[min(2, int(3 * distance))].append(vessel)
        for group, signal in zip(vessels, (0.54, 0.42, 0.30), strict=True):
            if group:
                canvas.paint(group, signal, inside=within, softness_mm=0.5)

    def _spine(self, canvas: Canvas) -> None:
        """Paint a vertebra with the spinal canal and the muscles of the back."""
        y, x = 66.0, 2.0
        for side in (-1, 1):
            canvas.paint(
                ellipse((y + 24, x + side * 30), (14, 25), side * 0.18),
                _MUSCLE * 1.08,
                texture=self._muscle_texture,
                contrast=0.14,
                softness_mm=0.7,
            )
            streak = np.array([[y + 14, x + side * 14], [y + 26, x + side * 22], [y + 34, x + side * 42]])
            canvas.paint(
                stroke(smooth_curve(streak, 6, closed=False), 2.0), 0.55, opacity=0.7, softness_mm=0.5
            )
            process = np.array([[y + 10, x + side * 10], [y + 14, x + side * 22], [y + 12, x + side * 34]])
            canvas.paint(stroke(smooth_curve(process, 6, closed=False), np.linspace(9, 5, 13)), 0.09)
            canvas.paint(stroke(smooth_curve(process, 6, closed=False), np.linspace(6, 2.5, 13)), 0.42)
        spinous = np.array([[y + 22, x], [y + 34, x + 0.5]])
        canvas.paint(stroke(spinous, np.array([8.0, 5.0])), 0.09)
        canvas.paint(stroke(spinous, np.array([5.0, 2.6])), 0.42)
        outline = np.array(
            [[-17, -6], [-16, 8], [-9, 18], [2, 19], [11, 13], [13, 0], [11, -13], [2, -19], [-9, -17]],
            dtype=float,
        )
        vertebra = smooth_curve(outline + (y - 6, x), 6)
        canvas.paint(inset(vertebra, -1.4), 0.08)
        canvas.paint(vertebra, 0.38, texture=self._organ_texture, contrast=0.10)
        canvas.paint(ellipse((y + 16, x), (8.5, 11)), 0.09)
        canvas.paint(ellipse((y + 16, x), (7.4, 9.6)), 0.92, softness_mm=0.4)
        canvas.paint(ellipse((y + 16, x), (3.7, 5.0)), 0.42, softness_mm=0.4)

    def _abdomen(self, canvas: Canvas, cavity: Curve, breathing: float) -> None:
        """Paint liver, stomach and spleen under the moving diaphragm."""
        down = 13.0 * breathing
        tight = canvas.fill(inset(cavity, 0.8))
        spleen = smooth_curve(
            np.array(
                [[34, 92], [24, 108], [30, 124], [50, 130], [74, 116], [84, 92], [72, 82], [52, 88]],
                dtype=float,
            )
            + (down, 0),
            6,
        )
        canvas.paint(spleen, 0.44, texture=self._organ_texture, contrast=0.06, inside=tight, softness_mm=0.5)
        stomach = smooth_curve(
            np.array(
                [[34, 38], [24, 56], [25, 78], [36, 92], [52, 94], [66, 82], [70, 60], [60, 42], [46, 34]],
                dtype=float,
            )
            + (down, 0),
            6,
        )
        canvas.paint(inset(stomach, -3.0), 0.30, inside=tight, softness_mm=0.5)
        canvas.paint(stomach, 0.62, texture=self._blood_texture, contrast=0.12, inside=tight)
        gas = smooth_curve(
            np.array([[35, 44], [27, 57], [28, 76], [38, 87], [43, 78], [42, 60], [43, 46]], dtype=float)
            + (down, 0),
            6,
        )
        canvas.paint(gas, 0.03, inside=tight, softness_mm=0.5)
        dome = 22.0 + down
        liver = smooth_curve(
            np.array(
                [
                    [dome + 30, -146],
                    [dome + 4, -128],
                    [dome - 9, -100],
                    [dome - 7, -66],
                    [dome + 4, -34],
                    [dome + 9, -6],
                    [dome + 10, 22],
                    [dome + 17, 40],
                    [dome + 28, 36],
                    [dome + 38, 14],
                    [dome + 46, -12],
                    [dome + 62, -34],
                    [dome + 76, -64],
                    [dome + 86, -104],
                    [dome + 66, -150],
                ],
                dtype=float,
            ),
            6,
        )
        canvas.paint(inset(liver, -1.6), 0.16, inside=tight, opacity=0.8)
        canvas.paint(
            liver,
            _LIVER,
            texture=self._organ_texture,
            contrast=0.06,
            origin_yx=(down, 0),
            inside=tight,
            softness_mm=0.4,
        )
        deep = canvas.fill(inset(liver, 5.0)).within(tight)
        vessels = [
            stroke(line + (dome + 22, -62), width * np.linspace(1, 0.5, len(line)))
            for line, width in self._liver_vessels
        ]
        canvas.paint(vessels, 0.58, inside=deep, opacity=0.85, softness_mm=0.5)
        vena_cava = ellipse((dome + 36, -22), (8.5, 11.0), 0.3)
        canvas.paint(inset(vena_cava, -1.0), 0.20)
        canvas.paint(vena_cava, 0.72, softness_mm=0.5)

    def _mediastinum(self, canvas: Canvas, cavity: Curve, breathing: float) -> None:
        """Paint the fat between breastbone and heart and the tissue between heart and spine."""
        front = float(cavity[:, 0].min())
        within = canvas.fill(cavity)
        down = 8.0 * breathing
        fat = np.array(
            [
                [front - 2, -26],
                [front - 2, 34],
                [front + 12, 44],
                [front + 26 + down, 52],
                [front + 40 + down, 30],
                [front + 42 + down, -20],
                [front + 30 + down, -46],
                [front + 10, -40],
            ]
        )
        canvas.paint(
            smooth_curve(fat, 6),
            _FAT * 0.80,
            texture=self._blood_texture,
            contrast=0.07,
            softness_mm=2.0,
            inside=within,
        )
        behind = np.array([[8, -14], [8, 46], [34, 52], [62, 44], [62, -20], [34, -26]], dtype=float)
        canvas.paint(
            smooth_curve(behind, 6),
            _FAT * 0.70,
            texture=self._blood_texture,
            contrast=0.10,
            softness_mm=1.5,
            inside=within,
        )
        canvas.paint(ellipse((36.0, 8.0), (5.0, 8.0), 0.2), 0.26, softness_mm=0.6)
        canvas.paint(ellipse((36.0, 8.0), (1.2, 4.0), 0.2), 0.50, softness_mm=0.5)

    def _aorta(self, canvas: Canvas, contraction: float) -> None:
        """Paint the descending aorta, which widens during ejection."""
        radius = 10.5 + 1.0 * contraction
        place = (45.0, 29.0)
        canvas.paint(ellipse(place, (radius + 5, radius + 5)), _FAT * 0.72, opacity=0.8, softness_mm=1.2)
        canvas.paint(ellipse(place, (radius + 1.6, radius + 1.6)), 0.16)
        canvas.paint(ellipse(place, (radius, radius)), 0.80 - 0.10 * contraction, softness_mm=0.4)

    def radii_mm(self, contraction: float) -> tuple[float, float]:
        """Return the left ventricle's mean inner and outer radius."""
        inner = self._radius_mm * (1 - self._squeeze * contraction)
        outer_diastole = self._radius_mm + self._wall_mm
        muscle = (outer_diastole**2 - self._radius_mm**2) * (1 + 0.10 * contraction)
        return inner, float(np.sqrt(inner**2 + muscle))

    def left_ventricle(self, contraction: float, breathing: float) -> tuple[Curve, Curve]:
        """Return the inner and outer outline of the left ventricle in mm."""
        centre = self.centre(contraction, breathing)
        inner, outer = self.radii_mm(contraction)
        turn = np.linspace(0, 2 * np.pi, 120, endpoint=False)
        twist = self._tilt + 0.10 * contraction
        ripple = sum(
            (0.011 + 0.008 * contraction) * np.cos((k + 3) * (turn - twist) + self._wall_phase[k])
            for k in range(6)
        )
        flat = -0.035 * np.cos(turn - np.pi) - 0.02 * np.cos(2 * turn + 0.6)
        inner_radius = inner * (1 + ripple + flat)
        outer_radius = outer * (1 + 0.5 * flat + 0.008 * np.cos(3 * turn + 1.0))
        direction = np.stack([np.sin(turn), np.cos(turn)], axis=-1)
        return centre + inner_radius[:, None] * direction, centre + outer_radius[:, None] * direction

    def centre(self, contraction: float, breathing: float) -> NDArray[np.float64]:
        """Return the centre (y, x) of the left ventricle in mm."""
        y = self._centre[0] + 9.0 * breathing - 1.0 * contraction
        x = self._centre[1] + 1.8 * breathing - 3.0 * contraction
        return np.array([y, x])

    def _heart(self, canvas: Canvas, contraction: float, breathing: float) -> None:
        """Paint both ventricles with their muscles, the fat around them and the pericardium."""
        centre = self.centre(contraction, breathing)
        origin = (float(centre[0]), float(centre[1]))
        endocardium, epicardium = self.left_ventricle(contraction, breathing)
        _, outer = self.radii_mm(contraction)

        # The right ventricle is a crescent on the septum, round the left from the front to the lower
        # insertion.
        share = np.linspace(0, 1, 40)
        angles = np.deg2rad(258.0 - 118.0 * share) - self._tilt
        bulge = self._right_bulge_mm * (1 - 0.42 * contraction)
        profile = np.sin(np.pi * share**0.9) ** 0.74 * (1 + 0.10 * np.cos(np.pi * share))
        free = outer * 0.96 + bulge * profile
        direction = np.stack([np.sin(angles), np.cos(angles)], axis=-1)
        septum = centre + (outer * 0.93) * direction
        right_outer = np.concatenate([centre + free[:, None] * direction, septum[::-1]])
        wall = 3.2 + 1.6 * contraction
        roughness = 0.7 * sum(np.cos((9 + 4 * k) * share + self._right_phase[k]) for k in range(5))
        rough = wall + np.abs(roughness) * np.sin(np.pi * share) * (1 + 0.6 * contraction)
        inner_free = np.maximum(free - rough, outer * 0.93)
        right_inner = np.concatenate([centre + inner_free[:, None] * direction, septum[::-1]])

        # Envelope of the whole heart for fat and pericardium.
        turn = np.linspace(0, 2 * np.pi, 120, endpoint=False)
        reach = np.full(turn.shape, outer + 2.0)
        behind = np.angle(np.exp(1j * (turn - np.deg2rad(199.0) + self._tilt))) / np.deg2rad(59.0)
        lobe = np.interp(behind, np.linspace(-1, 1, 40), (free + 2.0)[::-1], left=0.0, right=0.0)
        reach = np.maximum(reach, lobe)
        kernel = np.hanning(15) / np.hanning(15).sum()
        reach = np.convolve(np.concatenate([reach[-7:], reach, reach[:7]]), kernel, mode="valid")
        grooves = 5.0 * np.exp(
            -((np.angle(np.exp(1j * (turn - np.deg2rad(262)))) / 0.30) ** 2)
        ) + 6.0 * np.exp(-((np.angle(np.exp(1j * (turn - np.deg2rad(137)))) / 0.28) ** 2))
        apron = 2.6 + 1.2 * np.cos(turn - 3.6) + grooves + 1.5 * contraction
        rays = np.stack([np.sin(turn), np.cos(turn)], axis=-1)
        fat = centre + (reach + apron)[:, None] * rays
        canvas.paint(inset(fat, -3.4), 0.46, opacity=0.85, softness_mm=0.8)
        canvas.paint(inset(fat, -1.4), 0.10, softness_mm=0.3)
        canvas.paint(
            fat, _FAT * 0.94, texture=self._organ_texture, contrast=0.08, origin_yx=origin, softness_mm=0.3
        )

        canvas.paint(inset(right_outer, -0.8), 0.12, opacity=0.6)
        canvas.paint(right_outer, _MUSCLE * 1.05, softness_mm=0.3)
        canvas.paint(
            right_inner,
            _BLOOD * (0.95 - 0.05 * contraction),
            texture=self._blood_texture,
            contrast=0.05,
            origin_yx=origin,
            softness_mm=0.4,
        )
        self._right_trabeculae(canvas, centre, free, direction, outer, right_inner, contraction)

        canvas.paint(inset(epicardium, -0.9), 0.12, opacity=0.55)
        canvas.paint(
            epicardium,
            _MUSCLE,
            texture=self._muscle_texture,
            contrast=0.07,
            origin_yx=origin,
            softness_mm=0.3,
        )
        canvas.paint(
            endocardium,
            _BLOOD,
            texture=self._blood_texture,
            contrast=0.035,
            origin_yx=(origin[0] + 4 * contraction, origin[1]),
            softness_mm=0.4,
        )
        self._papillary_muscles(canvas, centre, contraction, endocardium)
        self._coronaries(canvas, centre, outer)

    def _right_trabeculae(
        self,
        canvas: Canvas,
        centre: NDArray[np.float64],
        free: NDArray[np.float64],
        direction: NDArray[np.float64],
        outer: float,
        cavity: Curve,
        contraction: float,
    ) -> None:
        """Paint the muscle strands of the right ventricle and its moderator band."""
        room_inside = canvas.fill(cavity)
        for index, depth, width in (
            (10, 0.30, 2.2),
            (15, 0.24, 1.8),
            (21, 0.36, 2.4),
            (26, 0.26, 2.0),
            (31, 0.30, 2.0),
        ):
            room = free[index] - outer
            top = centre + (free[index] - 2.0) * direction[index]
            tip = centre + (free[index] - depth * room - 2.5) * direction[index + 1]
            strand = np.linspace(0, 1, 6)[:, None] * (tip - top) + top
            canvas.paint(
                stroke(strand, width * np.linspace(1.5, 0.7, 6) * (1 + 0.5 * contraction)),
                _MUSCLE * 1.25,
                inside=room_inside,
                opacity=0.9,
                softness_mm=0.5,
            )
        start = centre + (outer * 0.95) * direction[27]
        end = centre + (free[30] - 2.0) * direction[30]
        middle = 0.5 * (start + end) + np.array([2.5, 0.0])
        band = smooth_curve(np.array([start, middle, end]), 6, closed=False)
        canvas.paint(stroke(band, 2.6), _MUSCLE * 1.2, inside=room_inside, opacity=0.85, softness_mm=0.5)

    def _papillary_muscles(
        self, canvas: Canvas, centre: NDArray[np.float64], contraction: float, endocardium: Curve
    ) -> None:
        """Paint the two papillary muscles; they close in on the centre and thicken in systole."""
        inner, _ = self.radii_mm(contraction)
        reach, near = canvas.fill(inset(endocardium, -2.0)), canvas.fill(inset(endocardium, -1.0))
        twist = self._tilt + 0.10 * contraction
        for angle, long, short in ((-0.42, 5.4, 4.0), (1.72, 5.8, 4.2)):
            place = centre + inner * (0.70 - 0.04 * contraction) * np.array(
                [np.sin(angle + twist), np.cos(angle + twist)]
            )
            swell = 1 + 0.12 * contraction
            shape = ellipse(
                (float(place[0]), float(place[1])), (short * swell, long * swell), angle + twist, 32
            )
            canvas.paint(
                shape,
                _MUSCLE * 1.08,
                inside=reach,
                softness_mm=0.6,
                texture=self._muscle_texture,
                contrast=0.05,
            )
            root = centre + inner * np.array([[np.sin(angle + twist + 0.2), np.cos(angle + twist + 0.2)]])
            strand = np.concatenate([place[None], root])
            canvas.paint(
                stroke(strand, 2.4 + 2.0 * contraction),
                _MUSCLE * 1.15,
                inside=near,
                opacity=0.8,
                softness_mm=0.6,
            )
        for number, angle in enumerate((0.55, 2.7, 3.6, 4.4, 5.1)):
            place = centre + inner * 0.95 * np.array([np.sin(angle + twist), np.cos(angle + twist)])
            size = 1.5 + 0.35 * (number % 3) + 0.9 * contraction
            canvas.paint(
                ellipse((float(place[0]), float(place[1])), (size, size * 1.5), angle, 20),
                _MUSCLE * 1.3,
                inside=near,
                opacity=0.85,
                softness_mm=0.5,
            )

    def _coronaries(self, canvas: Canvas, centre: NDArray[np.float64], outer: float) -> None:
        """Paint the two vessels in the grooves between the ventricles."""
        for angle, gap, radius in ((np.deg2rad(264), 4.2, 1.7), (np.deg2rad(136), 4.6, 1.5)):
            place = centre + (outer + gap) * np.array([np.sin(angle), np.cos(angle)])
            canvas.paint(
                ellipse((float(place[0]), float(place[1])), (radius + 0.8, radius + 0.8), 0, 20), 0.25
            )
            canvas.paint(ellipse((float(place[0]), float(place[1])), (radius, radius), 0, 20), 0.9)
