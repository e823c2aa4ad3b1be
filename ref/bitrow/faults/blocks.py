"""Faults of products, sigmoids, upsampling and depth to space (SPEC.md A8 to A13)."""

from __future__ import annotations

from bitrow.faults.mutant import Edit, FaultFamily, Mutant

_PRODUCT, _GATE = "contract.multiply:BACKWARD", "contract.multiply:GATE_BACKWARD"
_HARD = "contract.hard_sigmoid:FORWARD"
_SIGMOID, _SILU = "contract.sigmoid:SIGMOID_FORWARD", "contract.sigmoid:SILU_BACKWARD"
_PLACES, _TABLE = "contract.placement:", "oracle.sigmoid:"
_UPPER = "upper : 16, n h w c = fma rise part base"


def _one(name: str, does: str, clause: str, target: str, old: str, *new: str) -> Mutant:
    return Mutant(name, does, FaultFamily.LAYERS, clause, (Edit(target, old, "\n".join(new)),))


BLOCKS = (
    _one("factors_gradients_swapped", "the gradient of a factor is dy times that factor", "A8",
         _PRODUCT, "out dx : 16, n h w c = mul dy other", "out dx : 16, n h w c = mul dy x"),
    _one("gate_products_in_fp16", "a gate's gradient rounds its products to FP16", "A8",
         _GATE, "let products : 32, n h w c = product dy x",
         "let products_16 : 16, n h w c = mul dy x", "let products : 32, n h w c = widen products_16"),
    _one("hard_sigmoid_fused", "hard sigmoid fuses its product and sum", "A9",
         _HARD, "shifted : 16, n h w c = add scaled beta", "shifted : 16, n h w c = fma x alpha beta"),
    _one("hard_sigmoid_unclipped", "hard sigmoid has no upper end", "A9",
         _HARD, "out y : 16, n h w c = clip1 shifted", "out y : 16, n h w c = relu shifted"),
    _one("hard_sigmoid_passes_at_one", "hard sigmoid passes the gradient where the result is 1", "A9",
         "contract.arithmetic:clip_passes", "y < _ONE", "y <= _ONE"),
    _one("table_truncated", "the sigmoid's table is truncated", "A10",
         f"{_TABLE}table", "bound + (1 << _PLACES)))",
         "bound + (1 << _PLACES)), softfloat.FloatMode(softfloat.Rounding.TOWARD_ZERO))"),
    _one("table_without_lines", "the sigmoid is the table's lower word", "A10",
         _SIGMOID, _UPPER, "upper : 16, n h w c = copy base"),
    _one("table_line_rounded_twice", "a line of the sigmoid rounds its product, too", "A10",
         _SIGMOID, _UPPER, "let product : 16, n h w c = mul rise part", "upper : 16, n h w c = add product base"),
    _one("table_ends_at_its_last_word", "from 8 on the sigmoid keeps the table's last word", "A10",
         f"{_TABLE}base", "return _ONE if", "return table(bits)[-1] if"),
    _one("sigmoid_not_mirrored", "the sigmoid of a negative x is that of its magnitude", "A10",
         f"{_TABLE}rising", "_complement(upper) if x", "upper if x"),
    _one("table_drops_nan", "the sigmoid of NaN is 1", "A10",
         f"{_TABLE}base", "return FP16.nan_bits", "return _ONE"),
    _one("silu_slope_of_the_sigmoid_alone", "the derivative of SiLU leaves out its bent part", "A11",
         _SILU, "factor : 16, n h w c = mul sigmoid steep", "factor : 16, n h w c = copy sigmoid"),
    _one("silu_steep_fused", "the derivative of SiLU fuses a product and its sum", "A11",
         _SILU, "steep : 16, n h w c = add bent 1", "steep : 16, n h w c = fma x rest 1"),
    _one("upsample_gradient_backwards", "the words of a window are added from the last to the first", "A12",
         f"{_PLACES}_repeats", "np.stack(terms)", "np.stack(terms[::-1])"),
    _one("upsample_by_turns", "upsampling repeats the map and not its rows", "A12",
         f"{_PLACES}_repeat", "place[n, i // config.rows]", "place[n, i % (len(place) // (n + 1))]"),
    _one("depth_orders_swapped", "the two orders of channels change their places", "A13",
         f"{_PLACES}_apart", "order is DepthOrder.DCR", "order is DepthOrder.CRD"),
    _one("depth_gradient_orders_swapped", "the two orders of a gradient's channels change their places", "A13",
         f"{_PLACES}_channels", "order is DepthOrder.CRD", "order is DepthOrder.DCR"),
)  # fmt: skip
