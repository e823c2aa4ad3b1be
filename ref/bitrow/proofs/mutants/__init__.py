"""Deliberate faults of the datapath, and what finds each of them: vector sets, and properties apart from them."""
