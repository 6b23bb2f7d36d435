"""Writing models that load without this package."""
