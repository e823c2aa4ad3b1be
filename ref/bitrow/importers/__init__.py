"""Networks from files of other programs: read, rewritten into the accelerator's layers, calibrated, checked.

`command.import_network` does what `bitrow import` does. A reader turns a file into a graph of float operators
(`operators`), free of the file's layout; `rewrite` and `quantizers` bring it to what the accelerator has; `layers` is
the table of operators and layers. Nothing of a file is executed.
"""
