"""The HTTP server of `python -m magenta_lite.serve`; needs the extra `serve`."""
