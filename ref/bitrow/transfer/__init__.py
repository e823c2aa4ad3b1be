"""Transfer learning on the accelerator's arithmetic: data, training, freeze policies, and what they cost."""
