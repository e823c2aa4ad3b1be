"""Deliberate faults of the datapath and of the row pipeline: records of edits, and how they are put in for a while."""
