"""Made-up music and bad files, for tests of your own pipelines too."""
