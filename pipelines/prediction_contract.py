"""What every loss against a teacher must satisfy, a user's own included; checked on made-up logits."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.func import vmap

from distiller.pipelines.prediction import SoftLoss
from distiller.spaces.errors import InputError

Setting = float | int | str | bool
Truth = Callable[[Tensor, Tensor, Mapping[str, Setting]], float]

ROWS, CLASSES = 6, 5
LARGE = 1e4
"""Logits that fp16 still holds, and that a softmax makes 0 and 1."""


def check_soft_loss(
    name: str,
    soft: SoftLoss,
    settings: Mapping[str, Setting],
    truth: Truth | None = None,
    others: Mapping[str, Sequence[Setting]] | None = None,
) -> None:
    """Check that a loss is fit for training.

    It is finite with finite gradients everywhere and in every precision; its gradient reaches the student and
    never the teacher; it is least where the student's logits are the teacher's; every number among its
    settings matters, and every setting that has other values; a temperature does not change the size of its
    gradient in the limit; it is a mean over rows in any order, blind to what is not seen; `torch.func.vmap`
    gives what a loop gives.

    Args:
        settings: the choice's parameters but for `hard_weight`, at legal values; a number that has no others
            at one that is not 0.
        truth: the loss again, slowly: of student and teacher logits [N, C] and the settings.
        others: by name, other legal values of a setting, one of which must change the loss. At those of a
            text or a switch, each a loss of its own, the rest must hold too.

    Raises:
        InputError: it does not, in one line.
    """
    modes: list[dict[str, Setting]] = [{}, {"binary": True}] if soft.multi_label == "binary" else [{}]
    for mode in modes:
        _Check(f"{name!r}", soft, {**settings, **mode}, others or {}).run(truth)
    for setting, values in (others or {}).items():
        for value in values:
            if isinstance(value, (str, bool)):
                at = f"{name!r} with {setting} {value}"
                rest = {n: v for n, v in (others or {}).items() if n != setting}
                _Check(at, soft, {**settings, setting: value}, rest, all_matter=False).run(None)


class _Check:
    def __init__(
        self,
        at: str,
        soft: SoftLoss,
        settings: Mapping[str, Setting],
        others: Mapping[str, Sequence[Setting]],
        all_matter: bool = True,
    ):
        self.at, self.soft, self.settings, self.all_matter = at, soft, dict(settings), all_matter
        self.numbers = {n: v for n, v in settings.items() if isinstance(v, float)}
        enlarged: dict[str, Sequence[Setting]] = {n: (1.5 * v,) for n, v in self.numbers.items() if v}
        self.others = {**enlarged, **others}
        self.student, self.teacher, self.labels = _logits(1), _logits(2), torch.tensor([0, 4, 2, 1, 3, 1])

    def run(self, truth: Truth | None) -> None:
        try:
            self._finite()
            self._gradients()
            self._least_at_the_teacher()
            self._settings()
            self._mean_over_rows()
            self._blind()
            self._stacked()
        except InputError:
            raise
        except Exception as error:  # whatever a loss of someone's own may raise
            reason = " ".join(f"{type(error).__name__}: {error}".split())
            raise InputError(f"prediction loss {self.at}: raises {reason}") from error
        if truth is not None:
            found, wanted = float(self._loss()), truth(self.student, self.teacher, self.settings)
            self._require(math.isclose(found, wanted, rel_tol=1e-9), f"is {found:.6g}, not {wanted:.6g}")

    def _require(self, holds: bool, complaint: str) -> None:
        if not holds:
            raise InputError(f"prediction loss {self.at}: {complaint}")

    def _loss(
        self,
        student: Tensor | None = None,
        teacher: Tensor | None = None,
        seen: Tensor | None = None,
        labels: Tensor | None = None,
        **changed: Any,
    ) -> Tensor:
        student = self.student if student is None else student
        given: dict[str, Any] = {**self.settings, **changed}
        for setting in self.numbers:
            given[setting] = torch.as_tensor(given[setting], dtype=torch.float64)
            if student.dtype is not torch.float64:
                given[setting] = given[setting].float()
        if self.soft.targeted:
            given["target"] = self.labels if labels is None else labels
        return self.soft.loss(student, self.teacher if teacher is None else teacher, seen, **given)

    def _gradient(
        self, student: Tensor | None = None, teacher: Tensor | None = None, **more: Any
    ) -> tuple[Tensor, Tensor]:
        leaf = (self.student if student is None else student).detach().clone().requires_grad_()
        loss = self._loss(leaf, teacher, **more)
        self._require(loss.shape == (), f"returns the shape {tuple(loss.shape)}, not a scalar")
        self._require(loss.requires_grad, "its gradient does not reach the student")
        return loss.detach(), torch.autograd.grad(loss, leaf)[0]

    def _finite(self) -> None:
        extremes = torch.where(_logits(3) > 0, LARGE, -LARGE)
        cases = {
            "ordinary logits": (self.student, self.teacher),
            "the student equal to the teacher": (self.teacher, self.teacher),
            "extreme logits of the student": (extremes, self.teacher),
            "extreme logits of the teacher": (self.student, extremes),
            "opposite extreme logits": (extremes, -extremes),
            "logits that are all equal": (torch.zeros_like(self.student), torch.zeros_like(self.teacher)),
        }
        for dtype in (torch.float64, torch.float32, torch.bfloat16, torch.float16):
            wide = torch.promote_types(dtype, torch.float32)
            for case, (student, teacher) in cases.items():
                for rows in (ROWS, 1):
                    loss, gradient = self._gradient(
                        student[:rows].to(dtype), teacher[:rows].to(dtype), labels=self.labels[:rows]
                    )
                    finite = bool(loss.isfinite()) and bool(gradient.isfinite().all())
                    self._require(finite, f"not finite in {dtype} at {case}, {rows} rows")
                    self._require(
                        loss.dtype is wide, f"returns {loss.dtype} for {dtype} logits; widen them to {wide}"
                    )

    def _gradients(self) -> None:
        _, gradient = self._gradient()
        self._require(bool((gradient != 0).any()), "its gradient does not reach the student")
        student = self.student.clone().requires_grad_()
        teacher = self.teacher.clone().requires_grad_()
        _, reached = torch.autograd.grad(self._loss(student, teacher), (student, teacher), allow_unused=True)
        self._require(reached is None, "its gradient reaches the teacher; detach the teacher's logits")

    def _least_at_the_teacher(self) -> None:
        least, gradient = self._gradient(self.teacher)
        if self.soft.zero_at_equal:
            self._require(
                abs(float(least)) < 1e-9, f"is {float(least):.3g} where student and teacher are equal, not 0"
            )
        self._require(
            float(gradient.abs().max()) < 1e-9, "its gradient is not 0 where student and teacher are equal"
        )
        for seed in range(4, 12):
            for share in (0.1, 1.0):
                other = self._loss(self.teacher + share * _logits(seed))
                self._require(
                    bool(other > least),
                    "is not least where student and teacher are equal; is its sign right?",
                )

    def _settings(self) -> None:
        value, gradient = self._gradient()

        def differs(setting: str, at: Setting) -> bool:
            changed, other = self._gradient(**{setting: at})  # type: ignore[arg-type]
            return not (
                torch.allclose(changed, value, rtol=1e-6) and torch.allclose(other, gradient, rtol=1e-6)
            )

        for setting, values in self.others.items() if self.all_matter else ():
            self._require(
                not values or any(differs(setting, at) for at in values),
                f"{setting} changes nothing; use it, or take it out of the choice",
            )
        if "temperature" in self.numbers:
            warm, hot = (
                float(self._gradient(0.1 * self.student, 0.1 * self.teacher, temperature=t)[1].norm())
                for t in (100.0, 1000.0)
            )
            self._require(
                0.8 < hot / max(warm, 1e-300) < 1.25,
                f"its gradient changes by a factor of {hot / max(warm, 1e-300):.2g} from temperature 100 to "
                "1000; multiply a divergence of softened probabilities by temperature squared",
            )

    def _mean_over_rows(self) -> None:
        loss = self._loss()
        twice = self._loss(self.student.repeat(2, 1), self.teacher.repeat(2, 1), labels=self.labels.repeat(2))
        self._require(_close(loss, twice), "changes when every row comes twice; take the mean over rows")
        _, alone = self._gradient(self.student[:1], self.teacher[:1], labels=self.labels[:1])
        self._require(bool((alone != 0).any()), "teaches nothing with one row; compare classes, not rows")
        order = torch.tensor([3, 0, 5, 1, 4, 2])
        mixed = self._loss(self.student[order], self.teacher[order], labels=self.labels[order])
        self._require(_close(loss, mixed), "changes with the order of rows")

    def _blind(self) -> None:
        loss, gradient = self._gradient()
        whole, same = self._gradient(seen=torch.ones(ROWS, CLASSES, dtype=torch.bool))
        self._require(
            _close(loss, whole) and _close(gradient, same), "changes when `seen` says that all is seen"
        )
        seen = torch.zeros(ROWS, CLASSES, dtype=torch.bool)
        seen[:4, 1:] = True
        labels = self.labels.clamp(min=1)
        part, inner = self._gradient(self.student[:4, 1:], self.teacher[:4, 1:], labels=labels[:4] - 1)
        for stored in (0.0, 7.0, math.inf, math.nan):
            student, teacher = (torch.where(seen, x, stored) for x in (self.student, self.teacher))
            found, outer = self._gradient(student, teacher, seen=seen, labels=labels)
            self._require(
                _close(found, part) and _close(outer[:4, 1:], inner),
                f"is another with {stored} in what is not seen than without it; heed `seen`",
            )
            self._require(
                bool((outer[~seen] == 0).all()), f"has a gradient for what is not seen ({stored} there)"
            )
        nothing, still = self._gradient(seen=torch.zeros_like(seen))
        self._require(
            bool(nothing == 0) and bool((still == 0).all()), "is not 0 where nothing is seen in any row"
        )

    def _stacked(self) -> None:
        students = torch.stack([_logits(seed) for seed in (20, 21, 22)])
        vectors = {}
        for name, number in self.numbers.items():
            legal = list(self.others.get(name, ())) or [number]
            stacked = [number, legal[0], legal[-1]]
            vectors[name] = torch.tensor(stacked, dtype=torch.float64)

        def one(student: Tensor, teacher: Tensor, seen: Tensor | None, numbers: dict[str, Tensor]) -> Tensor:
            return self._loss(student, teacher, seen, **numbers)

        some = torch.ones(ROWS, CLASSES, dtype=torch.bool)
        some[5], some[0, 1] = False, False
        for seen in (None, some):
            try:
                fused = vmap(one, (0, None, None, 0 if vectors else None))(
                    students, self.teacher, seen, vectors
                )
            except (RuntimeError, ValueError, TypeError) as error:
                reason = str(error).strip().splitlines()[0]
                raise InputError(
                    f"prediction loss {self.at}: does not go through torch.func.vmap ({reason})"
                ) from error
            loop = [
                one(s, self.teacher, seen, {n: v[k] for n, v in vectors.items()})
                for k, s in enumerate(students)
            ]
            self._require(_close(fused, torch.stack(loop)), "is another under torch.func.vmap")


def _logits(seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return 2 * torch.randn(ROWS, CLASSES, dtype=torch.float64, generator=generator)


def _close(found: Tensor, wanted: Tensor) -> bool:
    return bool(torch.allclose(found, wanted, rtol=1e-9, atol=1e-12))
