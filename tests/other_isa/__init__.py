"""`make other-isa`: the fixed problems of `bitrow.vectors.judge.identity` on an ARM processor that QEMU emulates."""
