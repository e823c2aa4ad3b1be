"""Accounting of freeze policies: against the pipeline's counts, against what JAX's backward pass really keeps, and
by hand.
"""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitrow import synthetic, zoo
from bitrow.config import AddConfig, BatchNormConfig, ConvConfig, LinearConfig, ReluConfig
from bitrow.errors import BitrowError
from bitrow.graph import INPUT, ConvSize, LinearSize, Network, Node
from bitrow.pipeline.cost import cost_of
from bitrow.pipeline.cost import count as pipeline_count
from bitrow.pipeline.machine import DEFAULT_MACHINE, Machine, Packing, WeightMemory
from bitrow.pipeline.memory_size import memory_size
from bitrow.pipeline.reach import trainable
from bitrow.pipeline.schedule import schedule
from bitrow.transfer import network_module, policies
from bitrow.transfer.accounting import account
from bitrow.transfer.accounting_count import count
from bitrow.transfer.accounting_reach import all_branches, parameter_shapes, reach
from bitrow.transfer.numerics import Numerics, TrainingNumerics
from draws import examples
from network_samples import every_layer
from pipeline_samples import machines, networks

HEAD = ["layers/head/weight", "layers/head/bias"]


def _small() -> Network:
    """A stem, a block with a shortcut, a head on the last map."""
    nodes = (
        Node("stem", ConvConfig(padding=1), (INPUT,), ConvSize(3, 3, 4)),
        Node("stem_bn", BatchNormConfig(), ("stem",)),
        Node("stem_relu", ReluConfig(), ("stem_bn",)),
        Node("c1", ConvConfig(padding=1), ("stem_relu",), ConvSize(3, 3, 4, bias=True)),
        Node("n1", BatchNormConfig(), ("c1",)),
        Node("sum", AddConfig(), ("n1", "stem_relu")),
        Node("relu", ReluConfig(), ("sum",)),
        Node("head", LinearConfig(), ("relu",), LinearSize(3)),
    )
    return Network("small", (5, 6, 2), nodes, "head")


def _trained(network: Network, policy: str) -> list[str]:
    names = list(parameter_shapes(network))
    match policy:
        case "head":
            return HEAD
        case "bias":
            return sorted({*HEAD, *(name for name in names if name.endswith(("/shift", "/bias", "/beta")))})
        case "branches":
            return [*HEAD, *(name for name in names if name.startswith("branches/"))]
        case "prompt":
            return [*HEAD, "prompt/delta"]
        case "full":
            return [name for name in names if name.startswith("layers/")]
    raise AssertionError(policy)


@examples(25, shrink=False)
@given(network=networks(), machine=machines())
def test_a_prompt_takes_the_whole_pipeline(network: Network, machine: Machine) -> None:
    """Where the gradient crosses everything, operations and traffic are the pipeline's, one for one."""
    machine = replace(machine, weights=WeightMemory.CHIP)
    try:
        run = schedule(network, machine)
    except BitrowError:
        return  # a machine too small for the network
    passes = count(reach(network, ["prompt/delta"]), machine)
    for name, value in vars(pipeline_count(run)).items():
        both = getattr(passes.forward, name) + getattr(passes.backward, name)
        assert both - (math.prod(network.input_shape) if name == "fp_add" else 0) == value, name


@examples(25, shrink=False)
@given(network=networks(), machine=machines(), data=st.data())
def test_a_backward_pass_down_to_what_trains_takes_what_is_accounted(network: Network, machine: Machine, data) -> None:
    """Where layers train, no gradient goes further down than they need: operations and traffic of rows, one for one."""
    with_parameters = sorted(trainable(network))
    if not with_parameters:
        return
    chosen = data.draw(st.frozensets(st.sampled_from(with_parameters), min_size=1))
    machine = replace(machine, weights=WeightMemory.CHIP)
    try:
        run = schedule(network, machine, training=chosen)
    except BitrowError:
        return  # a machine too small for the network
    names = [name for name in parameter_shapes(network) if name.split("/")[1] in chosen and name[0] == "l"]
    passes = count(reach(network, names), machine)
    for name, value in vars(pipeline_count(run)).items():
        assert getattr(passes.forward, name) + getattr(passes.backward, name) == value, name


def test_energy_of_a_prompt_is_the_pipelines() -> None:
    network = zoo.resnet8((8, 8, 1), 5, width=0.5)
    found = account(network, ["prompt/delta"]).energy_per_image_uj
    run = schedule(network, replace(DEFAULT_MACHINE, packing=Packing.RINGS))  # the same banks under every policy
    memory = memory_size(run)
    cost = cost_of(run, memory.total, memory.built / 8 / run.layout.total)
    low, high = (sum(getattr(item.cost, side) for item in cost.energy) * 1e-6 for side in ("low", "high"))
    prompt = 64 * 0.20e-6, 64 * 0.26e-6  # an FP16 add for each pixel
    assert found.low == pytest.approx(low + prompt[0], rel=1e-12)
    assert found.high == pytest.approx(high + prompt[1], rel=1e-12)


def _module(network: Network, trained: list[str]) -> network_module.NetworkModule:
    """With the branches and the prompt of which something is trained."""
    model = synthetic.synthetic(network, seed=3)
    module = network_module.from_params(model.network, model.params, TrainingNumerics(Numerics.BIT_ACCURATE))
    if any(name.startswith("branches/") for name in trained):
        module.add_branches(0)
    if "prompt/delta" in trained:
        module.add_prompt()
    return module


@pytest.mark.parametrize("network", [_small(), every_layer(bias=True)], ids=lambda network: network.name)
def test_parameters_are_the_modules(network: Network) -> None:
    """Names and shapes of everything that may be trained, as the module has them."""
    expected = parameter_shapes(network)
    parts = network_module.take_apart(_module(network, list(expected)))
    assert {name: value.shape for name, value in parts.params.items()} == expected


def _kept_bytes(network: Network, trained: list[str]) -> int:
    """Bytes for an image of all arrays that jax.vjp keeps, traced without running, of a module that trains these."""
    parts = network_module.take_apart(_module(network, trained))

    def pullback(values: dict[str, jax.Array], x: jax.Array) -> object:
        def logits(values: dict[str, jax.Array]) -> jax.Array:
            return parts._replace(params={**parts.params, **values}).join()(x)

        return jax.vjp(logits, values)[1]

    values = {name: parts.params[name] for name in trained}
    images = 13  # no size of the networks here, so that it tells what has an entry for each image
    kept = jax.eval_shape(pullback, values, jnp.zeros((images, *network.input_shape), jnp.float16))
    leaves = [leaf for leaf in jax.tree.leaves(kept) if images in leaf.shape]
    return sum(math.prod(leaf.shape) * leaf.dtype.itemsize for leaf in leaves) // images


MEASURED = [
    (network, policy)
    for network, policies in ((_small(), ("head", "bias", "branches")), (every_layer(), ("bias", "prompt", "full")))
    for policy in policies
]


@pytest.mark.parametrize(("network", "policy"), MEASURED, ids=[f"{n.name}-{p}" for n, p in MEASURED])
def test_saved_bytes_are_what_jax_keeps(network: Network, policy: str) -> None:
    """SPEC.md C2, C4: of each image the backward pass keeps exactly the bytes accounted for."""
    trained = _trained(network, policy)
    assert _kept_bytes(network, trained) == account(network, trained).program_kib * 1024


@pytest.mark.parametrize("policy", ["head", "bias", "branches", "prompt"])
def test_frozen_layers_keep_masks_only(policy: str) -> None:
    """SPEC.md C4: of the frozen network a bit for each value of a quantizer or ReLU, and the head's input."""
    network = zoo.resnet8((8, 8, 3), 5)
    for item in account(network, _trained(network, policy)).saved:
        if item.layer == "head":
            assert (item.what, item.bits) == ("input", 64 * 16)
        elif not item.layer.startswith("branches/"):
            assert item.what == "mask" and item.bits <= item.bytes + 7 * 8


def test_small_network_by_hand() -> None:
    """Elements: input 60, maps 120, head 120 x 3. Rows of a 3x3 window on five rows: 2 + 3 + 3 + 3 + 2 = 13."""
    network, stem, block = _small(), 13 * 6 * 4 * 3 * 2, 13 * 6 * 4 * 3 * 4
    head = account(network, HEAD)
    assert head.trainable == 363 and head.macs_forward == stem + block and head.macs_backward == 0
    # no layer but the head: its input, and logits' gradients to the host
    assert head.saved_kib * 8192 == 120 * 16 and head.fp_backward == 0
    assert head.host_macs == 360 and head.host_kib * 8192 == 16 * (120 + 3)

    # dequantize 240; quantize 60 + 120; batch norms 240 products; head 360 products and sums;
    # additions: batch norms 240, ReLUs 240, the bias 120, the residual 120
    assert head.fp_forward == 240 + 180 + 240 + 720 + 240 + 240 + 120 + 120

    bias = account(network, _trained(network, "bias"))
    assert bias.trainable == 363 + 4 + 4 + 4
    assert bias.macs_backward == 13 * 6 * 4 * 3 * 4  # through c1 alone: the stem's own input is an image
    # masks of c1's input (24 bits to a row of 3 bytes, 5 rows) and of two ReLUs; and the head's input
    assert bias.saved_kib * 8192 == 3 * 5 * 24 + 120 * 16
    # the head 720; n1's products 120; dy of c1 quantized 120, dequantized 120; the sum at stem_relu 120
    assert bias.fp_backward == 720 + 120 + 120 + 120 + 120
    assert bias.host_kib * 8192 == 16 * (120 + 3) + 3 * 16 * 120

    full = account(network, _trained(network, "full"))
    assert full.macs_backward == bias.macs_backward and full.fp_backward - bias.fp_backward == 120  # stem_bn's products
    # codes of both inputs (4 bits), inputs of both batch norms (16 bits), the mask of c1 and both ReLUs'
    assert full.saved_kib * 8192 == 5 * (12 * 4 + 24 * 4) + 2 * 120 * 16 + 3 * 5 * 24 + 120 * 16
    products = 9 * 30 * (2 * 4 + 4 * 4)  # of the weights' gradients, padding not skipped
    assert full.host_macs == 360 + products + 2 * 120


def test_the_gradient_goes_only_as_far_as_it_must() -> None:
    network = zoo.resnet20((16, 16, 3), 4, width=0.5)
    last = account(network, [*HEAD, "layers/s3b3_2_bn/shift"])
    names = [f"layers/{node.name}/shift" for node in network.nodes if node.name.endswith("_bn")]
    previous = last
    for start in range(len(names) - 1, -1, -1):
        found = account(network, HEAD + names[start:])
        assert found.macs_backward >= previous.macs_backward and found.saved_kib >= previous.saved_kib
        assert found.energy_per_image_uj.low > previous.energy_forward_uj.low
        assert found.energy_forward_uj.low >= last.energy_forward_uj.low  # masks are written going forward
        previous = found
    assert last.macs_backward == 0 < previous.macs_backward < account(network, ["prompt/delta"]).macs_backward
    assert previous.trainable == last.trainable + sum(math.prod(parameter_shapes(network)[n]) for n in names[:-1])


def test_a_branch_by_hand() -> None:
    """A branch beside the block of 5x6x4: pooled to 2x3, 4 channels between its layers."""
    network = _small()
    (branch,) = all_branches(network)
    assert (branch.start, branch.pooled, branch.rank) == ("stem_relu", (2, 3, 4), 4)
    head, found = account(network, HEAD), account(network, _trained(network, "branches"))
    assert found.trainable - head.trainable == 4 * 4 * 2
    pooled, hidden = 2 * 3 * 4, 2 * 3 * 4
    # pool: 4 sums and a product each; two layers of 6 positions x 4 x 4; ReLU; added to the block's 120 values
    assert found.fp_forward - head.fp_forward == pooled * 5 + 2 * 2 * 6 * 16 + hidden + 120
    assert found.macs_forward == head.macs_forward and found.macs_backward == 0
    branch_saved = [item for item in found.saved if item.layer.startswith("branches/")]
    assert {item.what: item.bits for item in branch_saved} == {
        "input": pooled * 16, "hidden": hidden * 16, "relu mask": 2 * 16
    }  # fmt: skip


def test_names_that_are_not_there() -> None:
    network = _small()
    for names in (["layers/nothing/weight"], ["layers/stem/bias"], [], ["branches/stem/down"], ["head"]):
        with pytest.raises(BitrowError, match="small trained: found") as caught:
            account(network, names)
        assert "\n" not in str(caught.value)


def test_as_dict_is_flat_and_finite() -> None:
    found = account(_small(), _trained(_small(), "prompt"), policy="prompt").as_dict()
    assert found["policy"] == "prompt"
    assert all(np.isfinite(value) and value >= 0 for key, value in found.items() if key != "policy")
    assert 0 < found["energy_per_image_uj_low"] < found["energy_per_image_uj_high"]


@pytest.mark.parametrize(("policy", "masks"), [("head", 0), ("bias", 120 * 3), ("prompt", 60 + 120 * 3)])
def test_the_compiled_program_keeps_masks_only(policy: str, masks: int) -> None:
    """SPEC.md C4: measured, not derived: what the compiled forward pass hands to the backward pass for an image.

    A byte for each element of the masks: of c1's input, of two ReLUs, and with a prompt of the stem's input.
    """
    network = _small()
    trained = _trained(network, policy)
    parts = network_module.take_apart(_module(network, trained))
    values = {name: parts.params[name] for name in trained}

    def forward(values: dict[str, jax.Array], x: jax.Array) -> object:
        def logits(values: dict[str, jax.Array]) -> jax.Array:
            return parts._replace(params={**parts.params, **values}).join()(x)

        return jax.vjp(logits, values)

    def compiled(images: int) -> tuple[int, list[jax.ShapeDtypeStruct]]:
        """Bytes of all that the program returns, and what of it has an entry for each image."""
        lowered = jax.jit(forward).lower(values, jnp.zeros((images, *network.input_shape), jnp.float16))
        leaves = [leaf for leaf in jax.tree.leaves(lowered.out_info) if images in leaf.shape]
        return lowered.compile().memory_analysis().output_size_in_bytes, leaves

    (more, leaves), (less, _) = compiled(13), compiled(11)
    logits, head = 3 * 2, 120 * 2  # in FP16, and the head's input
    assert more - less == 2 * (masks + head + logits)
    kept = sorted((leaf.dtype.name, math.prod(leaf.shape) // 13) for leaf in leaves)
    assert [size for kind, size in kept if kind == "float16"] == [3, 120]
    assert {kind for kind, _ in kept} <= {"bool", "float16"}
    assert sum(size for kind, size in kept if kind == "bool") == masks
    assert account(network, trained).program_kib * 1024 == masks + head


def test_the_guides_table_is_what_the_code_says() -> None:
    network = zoo.resnet8((32, 32, 3), 4)
    names = list(parameter_shapes(network))
    text = (Path(__file__).parents[1] / "docs" / "transfer.md").read_text(encoding="utf-8")
    for policy in policies.NAMES:
        own = {"lite_residual": "branches/", "prompt": "prompt/"}.get(policy, "layers/")
        there = [name for name in names if name.startswith(("layers/", own))]
        found = account(network, policies.trained(network, policies.parse(policy), there))
        low, high = found.energy_per_image_uj
        back = f"{found.macs_backward / 1e6:.2f}" if found.macs_backward else "0"
        row = (
            f"| `{policy}` | {found.trainable:,} | {found.saved_kib:.2f} | {found.program_kib:.1f} "
            f"| {found.macs_forward / 1e6:.2f} + {back} | {found.fp_forward / 1e6:.2f} + {found.fp_backward / 1e6:.2f} "
            f"| {low:.1f} to {high:.1f} | {found.host_kib:.0f} |"
        )
        assert row in text, row
