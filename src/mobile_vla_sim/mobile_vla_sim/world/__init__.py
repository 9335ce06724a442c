"""The simulated flat: floor plans, furniture, objects, robot, physics and cameras."""
