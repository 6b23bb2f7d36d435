"""One family, one room: each sub-package holds a family's config, model and inference."""
