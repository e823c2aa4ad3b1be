"""What the scalar oracle, and numpy for the host's ordered sums, say of `backend.programs`: no kernel takes part.

Run as `python tests/program_judge.py` it prints the table of `bitrow.backend.program_digests`.
"""

from __future__ import annotations

import functools

import numpy as np

from bitrow.backend import programs
from bitrow.config import AddConfig, AvgPoolConfig, ReluConfig
from bitrow.graph import shapes
from bitrow.model_file import Model
from bitrow.vectors import operations
from bitrow.vectors.judge import identity
from bitrow.vectors.network_pass import Pass
from bitrow.vectors.operations import Words, to_words
from bitrow.vectors.problem import Problem


def by_oracle(problem: Problem) -> Words:
    """Every tap and output of one problem."""
    return problem.operation.oracle(problem.config, problem.given)


def one(operation: str, config: object, output: str, **given: np.ndarray) -> np.ndarray:
    """An operation's output by the oracle."""
    return by_oracle(Problem("judge", operations.find(operation, config), config, given))[output]


def halves(words: np.ndarray) -> np.ndarray:
    """FP16 words as float32 values."""
    return words.view(np.float16).astype(np.float32)


def rounded(values: np.ndarray) -> np.ndarray:
    """float32 values as FP16 words; numpy rounds to nearest even."""
    return values.astype(np.float16).view(np.uint16)


def tree(x: np.ndarray, axis: int) -> np.ndarray:
    """Pairwise float32 sums over an axis padded with +0 to a power of two."""
    x = np.moveaxis(x, axis, 0)
    padded = 1 << (len(x) - 1).bit_length()
    x = np.concatenate([x, np.zeros((padded - len(x), *x.shape[1:]), np.float32)])
    while len(x) > 1:
        x = x[0::2] + x[1::2]
    return x[0]


def over_map(x: np.ndarray) -> np.ndarray:
    """Trees over w, then h, then n."""
    return tree(tree(tree(x, 2), 1), 0)


def outer(x: np.ndarray, dy: np.ndarray) -> np.ndarray:
    """Sum of x[c] * dy[r]: an image's positions one after another, then a tree over the images."""
    n, c, r = len(x), x.shape[-1], dy.shape[-1]
    total = np.zeros((n, c, r), np.float32)
    for a, b in zip(
        np.moveaxis(x.reshape(n, -1, c), 1, 0), np.moveaxis(dy.reshape(n, -1, r), 1, 0), strict=True
    ):
        total = total + a[:, :, None] * b[:, None, :]
    return tree(total, 0)


def mix(x: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """FP16 words of x times weight over channels, float32 sums in the order of the channels."""
    total = x[..., :1] * weight[0]
    for c in range(1, len(weight)):
        total = total + x[..., c : c + 1] * weight[c]
    return rounded(total)


class Branch:
    """The lite residual branch of the network, beside `m1` to `sum`, by numpy and the oracle's pool, ReLU and add."""

    START, END = "m1", "sum"

    def __init__(self, params: dict[str, np.ndarray]) -> None:
        self.down, self.up = (
            halves(rounded(params[f"branches/{self.END}/{which}"])) for which in ("down", "up")
        )
        self.grads: dict[str, np.ndarray] = {}

    def forward(self, x: np.ndarray) -> np.ndarray:
        self.x = x
        self.pooled = one("avg_pool.forward", AvgPoolConfig(2), "y", x=x)
        self.hidden = mix(halves(self.pooled), self.down)
        self.active = one("relu.forward", ReluConfig(), "y", x=self.hidden)
        small = mix(halves(self.active), self.up)
        rows, columns = x.shape[1:3]
        self.block = rows // small.shape[1], columns // small.shape[2]
        large = small.repeat(self.block[0], axis=1).repeat(self.block[1], axis=2)
        return np.pad(large, ((0, 0), (0, rows - large.shape[1]), (0, columns - large.shape[2]), (0, 0)))

    def backward(self, dy: np.ndarray) -> np.ndarray:
        n, h, w, _ = self.active.shape
        rows, columns = self.block
        blocks = halves(dy[:, : h * rows, : w * columns]).reshape(n, h, rows, w, columns, -1)
        small = rounded(tree(tree(blocks, 4), 2))
        self.grads[f"branches/{self.END}/up"] = outer(halves(self.active), halves(small))
        hidden = one("relu.backward", ReluConfig(), "dx", x=self.hidden, dy=mix(halves(small), self.up.T.copy()))
        self.grads[f"branches/{self.END}/down"] = outer(halves(self.pooled), halves(hidden))
        pooled = mix(halves(hidden), self.down.T.copy())
        size = np.array(self.x.shape[1:3], np.int32)
        return one("avg_pool.backward", AvgPoolConfig(2), "dx", dy=pooled, input_hw=size)


class Walk(Pass):
    """The oracle's pass that keeps every problem, with a branch if there is one."""

    def __init__(self, model: Model, branch: Branch | None = None) -> None:
        super().__init__(model, "walk", self._run_one)
        self.branch, self.seen = branch, {}

    def _run_one(self, problem: Problem) -> Words:
        name = problem.name.removeprefix("walk_")
        words = by_oracle(problem)
        self.seen[name] = dict(problem.given) | words
        if self.branch is not None and name == f"{self.branch.END}_forward":
            extra = self.branch.forward(self.seen[f"{self.branch.START}_forward"]["y"])
            words["y"] = one("add.forward", AddConfig(), "y", x=words["y"], shortcut=extra)
        return words

    def _gather(self, name: str):  # the branch is the last reader of its block's input: its gradient comes first
        yield from super()._gather(name)
        if self.branch is not None and name == self.branch.END:
            self._sums.setdefault(self.branch.START, []).insert(0, self.branch.backward(self._sums[name][0]))

    def run(self, x: np.ndarray, dlogits: np.ndarray) -> Words:
        for steps in (self.forward(x), self.backward(dlogits)):
            for _ in steps:
                pass
        return {"logits": self.logits, "dx": self.dx}


@functools.cache
def training_words(name: str) -> Words:
    """Logits, dx and batch norms' gradients of a network's pass."""
    found = programs.model(name)
    walk = Walk(found)
    _, x, dlogits = programs.arrays(found)
    words = walk.run(to_words(x), to_words(dlogits))
    for key, seen in walk.seen.items():
        if "dgamma" in seen:
            layer = key.removesuffix("_backward")
            words |= {f"{layer}/{which}": seen[which] for which in ("dgamma", "dbeta")}
    return words


def step_words(policy: str, arithmetic: str) -> Words:
    """Logits and the gradients of what a policy trains, but for weights."""
    found = programs.step_model(arithmetic)
    _, x, dlogits = programs.arrays(found)
    image, given = to_words(x), to_words(dlogits)
    sizes, branch = shapes(found.network), None
    words: Words = {}
    if policy == "lite_residual":
        c_in, c_out = sizes[Branch.START][2], sizes[Branch.END][2]
        rank = max(4, c_in // 4)
        added = {f"branches/{Branch.END}/down": (c_in, rank), f"branches/{Branch.END}/up": (rank, c_out)}
        branch = Branch(programs.trained(policy, added))
    if policy == "prompt":
        delta = programs.trained(policy, {"prompt/delta": found.network.input_shape})["prompt/delta"]
        image = one("add.forward", AddConfig(), "y", x=image, shortcut=np.broadcast_to(rounded(delta), image.shape))
    walk = Walk(found, branch)
    whole = walk.run(image, given)
    words["logits"] = whole["logits"]
    head = halves(walk.seen["head_forward"]["x"])
    words["layers/head/weight"] = outer(head, halves(given))
    words["layers/head/bias"] = tree(halves(given), 0)
    for layer in ("n1", "n2"):
        y, dz = (halves(walk.seen[f"{layer}_{which}"][name]) for which, name in (("forward", "y"), ("backward", "dz")))
        if policy in ("bias", "full"):
            words[f"layers/{layer}/shift"] = over_map(dz)
        if policy == "full":
            words[f"layers/{layer}/scale"] = over_map(dz * y)
    if policy == "prompt":
        words["prompt/delta"] = tree(halves(whole["dx"]), 0)
    if branch is not None:
        words |= branch.grads
    return {name: value if value.dtype == np.uint16 else value.view(np.uint32) for name, value in words.items()}


def expected(name: str) -> Words:
    """The words of the program called `name`."""
    kind, *rest = name.split(" ")
    if kind == "step":
        return step_words(*rest)
    network = "frozen" if rest[0] == "forward" else rest[0]
    words = training_words(network)
    return {"logits": words["logits"]} if "forward" in (kind, rest[0]) else words


def digests() -> dict[str, str]:
    """All of them."""
    return {name: identity.digest(expected(name)) for name in programs.programs()}


if __name__ == "__main__":
    print("DIGESTS = {")
    for program, text in digests().items():
        print(f'    "{program}": "{text}",')
    print("}")
