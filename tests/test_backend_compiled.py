"""The compiled code is read: nothing in it may give other bits on another processor (SPEC.md F2, F9, B2)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest
from jax import lax
from jax.experimental.compilation_cache.compilation_cache import reset_cache

from bitrow.backend import certify, compiled, programs
from bitrow.backend.origins import Origins
from bitrow.ops import fp16
from bitrow.vectors.judge import identity
from other_isa.guest import narrowed

X = jnp.ones(2048, jnp.float16)
WIDE = X.astype(jnp.float32)


def summed_in_a_loop(x):
    return lax.fori_loop(0, 3, lambda i, total: total + x * total, jnp.ones_like(x))


BROKEN: dict[str, tuple[Callable, tuple, str]] = {
    "old mul_add": (narrowed, (X, X, X), "half arithmetic"),
    "half sum": (lambda x: x + x[::-1], (X,), "half arithmetic"),
    "half maximum": (lambda x, y: jnp.maximum(x, y), (X, X), "half arithmetic"),
    "float32 product and sum": (lambda a, b, c: a * b + c, (WIDE, WIDE, WIDE), "a sum reads a product"),
    "float32 product and difference": (lambda a, b, c: c - a * b, (WIDE, WIDE, WIDE), "a sum reads a product"),
    "in a loop": (summed_in_a_loop, (WIDE,), "a sum reads a product"),
    "sum": (lambda x: x.sum(), (WIDE,), "a flag that allows other bits"),
    "product of matrices": (lambda a: a @ a, (jnp.ones((8, 8)),), "a float reduction in the compiler's order"),
    "exponential": (lambda x: jnp.exp(x), (WIDE,), "a sum reads a product"),
    "cast pair": (lambda x: x.astype(jnp.float16)[::2].astype(jnp.float32), (WIDE,), "a cast pair that is deleted"),
    "cast pair in a loop": (
        lambda x: lax.fori_loop(0, 2, lambda i, h: h.astype(jnp.float32).astype(jnp.float16), x.astype(jnp.float16)),
        (WIDE,), "a cast pair that is deleted",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(BROKEN))
def test_what_may_differ_is_found(name: str) -> None:
    """SPEC.md F2, B2: each rule sees a kernel that breaks it, on any processor, and names the line."""
    function, arguments, rule = BROKEN[name]
    found = compiled.audit(name, function, arguments)
    mine = [violation for violation in found if violation.rule == rule]
    assert mine, [str(violation) for violation in found]
    assert mine[0].program == name and str(mine[0]).startswith(f"{name}: {rule} in ")
    if name not in ("sum",):  # XLA splits a sum into windows and forgets where it came from
        lines = ("test_backend_compiled.py:", "other_isa/guest.py:")
        assert any(line in source for source in mine[0].sources for line in lines), mine[0]


def test_the_hosts_own_work_is_told_apart() -> None:
    """SPEC.md A4: what runs under the host's scope is left out, the same beside it is not."""

    def both(a, b, c):
        with jax.named_scope("host"):
            hosts = a * b + c
        return hosts, jnp.flip(a) * c - b

    found = compiled.audit("both", both, (WIDE, WIDE, WIDE))
    assert found and all("sub" in violation.instruction for violation in found)


def test_a_kernel_is_found_by_either_name() -> None:
    """SPEC.md A4: XLA has named kernels after their instruction, and with a suffix."""
    dot = 'dot(%a, %a), metadata={op_name="jit(step)/jit(host_gradient)/dot_general"}'
    found = Origins(f"ENTRY %main (a: f32[4,4]) -> f32[4,4] {{\n  ROOT %dot.4 = f32[4,4]{{1,0}} {dot}\n}}\n")
    assert all(found.of_kernel(name, "fadd float %1, %2")[1] for name in ("dot.4", "dot.4_kernel"))
    assert not found.of_kernel("dot.5_kernel", "fadd float %1, %2")[1]


def test_a_cache_of_compiled_programs_hides_nothing(tmp_path: Path) -> None:
    """SPEC.md F2: what JAX_COMPILATION_CACHE_DIR holds comes without its IR, so the program is compiled anew."""
    settings = {"jax_compilation_cache_dir": str(tmp_path), "jax_persistent_cache_min_compile_time_secs": 0.0}
    before = {name: getattr(jax.config, name) for name in settings}
    product = jax.jit(lambda a, b, c: c - a * b)
    try:
        for name, value in settings.items():
            jax.config.update(name, value)
        reset_cache()
        product.lower(WIDE, WIDE, WIDE).compile()
        assert list(tmp_path.iterdir())
        found = compiled.audit("cached", product, (WIDE, WIDE, WIDE))
        assert {one.rule for one in found} == {"a sum reads a product"}
        held = len(list(tmp_path.iterdir()))
        jax.jit(lambda a: a + 1).lower(WIDE).compile()
        assert len(list(tmp_path.iterdir())) > held  # and it serves again
    finally:
        for name, value in before.items():
            jax.config.update(name, value)
        reset_cache()


def test_safe_forms_pass() -> None:
    """SPEC.md F2: what the kernels are made of."""
    assert not compiled.audit("mul_add", fp16.mul_add, (X, X, X))
    assert not compiled.audit("product and sum", lambda a, b, c: fp16.product(a, b) + c, (WIDE, WIDE, WIDE))
    assert not compiled.audit("maximum", lambda a: jnp.max(a), (WIDE,))
    assert not compiled.audit("integers", lambda a: (a * a + a).sum(), (jnp.arange(64),))


@pytest.mark.parametrize("name", sorted(identity.problems()))
def test_kernels(name: str) -> None:
    """SPEC.md F2, B1, C3: every kernel as users run it, jitted and without taps."""
    problem = identity.problems()[name]
    found = compiled.audit(name, identity.kernel(problem), (identity.given_arrays(problem)[1],))
    assert not found, str(found[0])


@pytest.mark.parametrize("policy", [
    pytest.param(policy, marks=[pytest.mark.slow] if policy == "full" else []) for policy in programs.EPOCHS
])  # fmt: skip
def test_epochs(policy: str) -> None:
    """SPEC.md A4, A5, C2: whole epochs as they are trained, but for the host's loss and update."""
    found = compiled.audit(f"epoch {policy}", *programs.epoch(policy))
    assert not found, str(found[0])


def test_certify_reads_all_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """SPEC.md F2: the row of the certificate names a program that breaks a rule, and nothing is left unread."""
    names = [name for name, _, _ in certify.read_alone()]
    assert names == [*identity.problems(), *(f"epoch {policy}" for policy in programs.EPOCHS)]
    monkeypatch.setattr(programs, "programs", lambda: {})
    monkeypatch.setattr(certify, "read_alone", lambda: iter([("broken", jax.jit(narrowed), (X, X, X))]))
    _, row = certify.check_programs()
    assert row["differ"] == ["broken"] and "half arithmetic" in row["first"]
