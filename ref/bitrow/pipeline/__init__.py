"""The row pipeline: stages, schedule, rings, banks, cost, and the emulator that runs its rows."""
