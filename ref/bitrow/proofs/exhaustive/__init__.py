"""Claims about the jitted kernels, checked on every point of a stated domain by judges that share no code with them."""

from __future__ import annotations

from bitrow.proofs.claim import Claim
from bitrow.proofs.exhaustive import dequantize, fixed, fma, pairs, words

CLAIMS: tuple[Claim, ...] = (*pairs.CLAIMS, *fma.CLAIMS, *words.CLAIMS, *fixed.CLAIMS, *dequantize.CLAIMS)
