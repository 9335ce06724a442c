"""The subset of the launch API that this project's launch files use."""
