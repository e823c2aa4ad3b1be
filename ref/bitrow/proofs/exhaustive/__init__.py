"""Claims about the jitted kernels, checked on every point of a stated domain by judges that share no code with them."""

from __future__ import annotations

from bitrow.proofs.claim import Claim
from bitrow.proofs.exhaustive import pairs, words

CLAIMS: tuple[Claim, ...] = (*pairs.CLAIMS, *words.CLAIMS)
