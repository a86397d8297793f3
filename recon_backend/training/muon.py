"""Muon, the optimiser of the improved training: kernels move along orthogonalised momentum.

 The momentum of a convolution's kernel, seen as a matrix (inputs and taps, outputs), is replaced by the
nearest semi-orthogonal matrix, so that all its directions are learnt at the same speed (Jordan et al. 2024,
"Muon: an optimizer for hidden layers in neural networks"). The length of the step is that of Adam at the same
learning rate (Liu et al. 2025, arXiv:2502.16982). What is no matrix (biases, step lengths) and the last layer
take Adam's step. Keras has a Muon too, which leaves kernels of convolutions to Adam.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

_MOMENTUM = 0.95
_ADAM_MEAN, _ADAM_SQUARE, _ADAM_EPSILON = 0.9, 0.999, 1e-7
# Newton–Schulz: five steps of x ← a·x + (b·xxᵀ + c·(xxᵀ)²)·x bring singular values to 0.7 … 1.2.
_STEPS = 5
_A, _B, _C = 3.4445, -4.7750, 2.0315
# Root mean square of Adam's step over its learning rate, as observed by Liu et al.
_ADAM_STEP = 0.2
# A layer with fewer outputs is a head: real and imaginary part, or one magnitude.
_LEAST_OUTPUTS = 4


def orthogonalised(matrix: Any) -> Any:  # noqa: ANN401 - tensors of any backend
    """The semi-orthogonal matrix U·Vᵀ of `matrix` = U·S·Vᵀ, nearly: singular values of 0.7 to 1.2."""
    tall = matrix.shape[0] > matrix.shape[1]
    x = ops.transpose(matrix) if tall else matrix
    x = x / (ops.sqrt(ops.sum(ops.square(x))) + 1e-7)
    for _ in range(_STEPS):
        gram = ops.matmul(x, ops.transpose(x))
        x = _A * x + ops.matmul(_B * gram + _C * ops.matmul(gram, gram), x)
    return ops.transpose(x) if tall else x


def is_orthogonalised(shape: Sequence[int]) -> bool:
    """Whether a variable of this shape takes Muon's step: a convolution's kernel that is not the last."""
    return len(shape) >= 4 and shape[-1] >= _LEAST_OUTPUTS


@keras.saving.register_keras_serializable(package="blindcine")
class Muon(keras.optimizers.Optimizer):
    """Muon for convolutions' kernels, Adam for all else, at one learning rate."""

    def build(self, variables: Sequence[Any]) -> None:
        """Create the momenta, and for Adam's share the mean squares."""
        if self.built:
            return
        super().build(variables)
        self._momenta = [self.add_variable_from_reference(value, name="momentum") for value in variables]
        self._squares = [
            None
            if is_orthogonalised(value.shape)
            else self.add_variable_from_reference(value, name="mean_square")
            for value in variables
        ]

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:  # noqa: ANN401
        """Move one variable along its gradient."""
        index = self._get_variable_index(variable)
        momentum, square = self._momenta[index], self._squares[index]
        gradient, rate = ops.cast(gradient, variable.dtype), ops.cast(learning_rate, variable.dtype)
        if square is None:
            moved = _MOMENTUM * momentum + gradient
            self.assign(momentum, moved)
            ahead = gradient + _MOMENTUM * moved  # Nesterov
            matrix = ops.reshape(ahead, (-1, variable.shape[-1]))
            length = _ADAM_STEP * max(matrix.shape) ** 0.5
            step = length * ops.reshape(orthogonalised(matrix), variable.shape)
        else:
            count = ops.cast(self.iterations + 1, variable.dtype)
            mean = _ADAM_MEAN * momentum + (1 - _ADAM_MEAN) * gradient
            mean_square = _ADAM_SQUARE * square + (1 - _ADAM_SQUARE) * ops.square(gradient)
            self.assign(momentum, mean)
            self.assign(square, mean_square)
            correction = ops.sqrt(1 - ops.power(_ADAM_SQUARE, count)) / (1 - ops.power(_ADAM_MEAN, count))
            step = correction * mean / (ops.sqrt(mean_square) + _ADAM_EPSILON)
        self.assign_sub(variable, rate * step)
