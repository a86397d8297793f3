"""Muon against singular values of NumPy, and its Adam against that of Keras."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from recon_backend.training.muon import Muon, is_orthogonalised, orthogonalised


@pytest.mark.parametrize("shape", [(27, 8), (8, 27), (64, 64), (540, 32)])
def test_singular_vectors_stay_and_singular_values_become_one(shape: tuple[int, int]) -> None:
    """Of a matrix whose singular values span a factor of 30, nearly; a factor on it changes nothing."""
    rng = np.random.default_rng(0)
    left, _, right = np.linalg.svd(rng.standard_normal(shape), full_matrices=False)
    values = np.geomspace(1, 1 / 30, min(shape))
    matrix = ((left * values) @ right).astype(np.float32)
    found = keras.ops.convert_to_numpy(orthogonalised(keras.ops.convert_to_tensor(matrix)))
    inside = left.T @ found @ right.T
    assert 0.6 < np.diag(inside).min() and np.diag(inside).max() < 1.3
    np.testing.assert_allclose(inside - np.diag(np.diag(inside)), 0, atol=1e-3)
    scaled = keras.ops.convert_to_numpy(orthogonalised(keras.ops.convert_to_tensor(matrix * 1e3)))
    np.testing.assert_allclose(scaled, found, atol=1e-3)


def test_kernels_move_by_the_length_of_an_adam_step() -> None:
    """Against the gradient's orthogonal factor; root mean square 0.2 × the learning rate."""
    rng = np.random.default_rng(1)
    gradient = rng.standard_normal((3, 3, 3, 16, 32)).astype(np.float32)
    kernel = keras.Variable(np.zeros_like(gradient))
    optimizer = Muon(learning_rate=0.01)
    optimizer.build([kernel])
    optimizer.apply([keras.ops.convert_to_tensor(gradient)])
    left, _, right = np.linalg.svd(gradient.reshape(-1, 32), full_matrices=False)
    step = -keras.ops.convert_to_numpy(kernel.value).reshape(-1, 32)
    ideal = left @ right
    assert float((step * ideal).sum()) / np.linalg.norm(step) / np.linalg.norm(ideal) > 0.98
    assert np.sqrt(np.mean(step**2)) == pytest.approx(0.002, rel=0.2)


def test_momentum_is_carried_on() -> None:
    """A second step, against gradients that cancel but for the momentum, still goes the first way."""
    rng = np.random.default_rng(2)
    gradient = rng.standard_normal((3, 3, 8, 8)).astype(np.float32)
    kernel = keras.Variable(np.zeros_like(gradient))
    optimizer = Muon(learning_rate=0.01)
    optimizer.build([kernel])
    optimizer.apply([keras.ops.convert_to_tensor(gradient)])
    before = keras.ops.convert_to_numpy(kernel.value).copy()
    optimizer.apply([keras.ops.convert_to_tensor(-0.1 * gradient)])
    # Nesterov: −0.1 g + 0.95 (0.95 g − 0.1 g) = 0.7075 g, and its length does not matter.
    np.testing.assert_allclose(keras.ops.convert_to_numpy(kernel.value), 2 * before, atol=2e-5)


def test_what_is_no_kernel_takes_the_step_of_adam() -> None:
    """Biases, step lengths and the last layer, over three steps, as Keras's own Adam moves them."""
    rng = np.random.default_rng(3)
    shapes = [(8,), (), (3, 3, 3, 16, 1), (3, 3, 16, 2)]
    assert not any(is_orthogonalised(shape) for shape in shapes) and is_orthogonalised((3, 3, 5, 32))
    ours = [keras.Variable(np.ones(shape, np.float32)) for shape in shapes]
    theirs = [keras.Variable(np.ones(shape, np.float32)) for shape in shapes]
    muon, adam = Muon(learning_rate=0.1), keras.optimizers.Adam(0.1)
    muon.build(ours)
    adam.build(theirs)
    for _ in range(3):
        gradients = [
            keras.ops.convert_to_tensor(np.asarray(rng.standard_normal(shape), np.float32))
            for shape in shapes
        ]
        muon.apply(gradients)
        adam.apply(gradients)
    for one, other in zip(ours, theirs, strict=True):
        found, expected = (keras.ops.convert_to_numpy(value.value) for value in (one, other))
        np.testing.assert_allclose(found, expected, atol=1e-5)
        assert np.abs(found - 1).max() > 0.05
