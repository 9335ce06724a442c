"""The robot without ROS and faster than real time: collection, closed-loop evaluation, ablations."""
