"""Music models of Magenta and OpenAI for Keras 3 and TensorFlow.

Importing this package imports no TensorFlow: reading a configuration or asking for help stays
fast. The models live in `magenta_lite.families`, the command line in `magenta_lite.train`,
`generate`, `evaluate`, `export`, `inspect_data` and `import_checkpoint`.
"""

__version__ = "0.1.0"
