"""`make other-isa`: the fixed problems of `bitrow.vectors.identity` on an ARM processor that QEMU emulates."""
