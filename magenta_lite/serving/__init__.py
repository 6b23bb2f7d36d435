"""Export of models to formats that load without this package."""
