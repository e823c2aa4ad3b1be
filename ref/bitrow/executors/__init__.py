"""Work that splits into pieces, on whichever executor: this process, processes of this machine, a dask cluster."""
