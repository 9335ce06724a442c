"""The subset of the launch API behind the stand-in packages ``launch`` and ``launch_ros``."""
