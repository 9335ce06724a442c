"""Load a policy and let it predict from Python, without ROS.

python examples/call_policy.py CHECKPOINT EPISODE [--instruction "go to the kitchen"]

The images and states of a recorded episode stand in for a robot. On a robot, do the same once per control period.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from mobile_vla_data.action import displacement
from mobile_vla_data.episode.reader import Episode
from mobile_vla_policy.load_policy import load_policy


def main() -> None:
    """Print predicted and recorded actions side by side."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", help="folder made by mobile-vla-policy train, or hf:USER/NAME")
    parser.add_argument("episode", type=Path, help="an episode file")
    parser.add_argument("--instruction", help="what to do; by default the episode's own instruction")
    parser.add_argument("--steps", type=int, help="stop after this many steps")
    arguments = parser.parse_args()

    policy = load_policy(arguments.checkpoint, device="auto")
    memory = policy.initial_memory()  # start again with a new memory when the instruction changes
    errors_m = []
    with Episode.open(arguments.episode) as episode:
        instruction = arguments.instruction or episode.metadata.language
        print(f"'{instruction}', {policy.horizon} actions per prediction, cameras {', '.join(policy.cameras)}")
        for step in range(len(episode.actions))[: arguments.steps]:
            images = {camera: episode.image(camera, step) for camera in policy.cameras}  # RGB uint8 [h, w, 3]
            chunk, memory = policy.predict(images, episode.states[step], instruction, memory)
            # The first action of a chunk is meant for this control period. Velocity = metres / period.
            predicted, recorded = displacement(chunk.actions)[0], displacement(episode.actions)[step]
            errors_m.append(float(np.linalg.norm(predicted - recorded)))
            if step % 10 == 0:
                ours, theirs = (" ".join(f"{metres:+.3f}" for metres in delta) for delta in (predicted, recorded))
                gripper = f"gripper {chunk.gripper[0]:.2f}"
                print(f"step {step:3d}: predicted {ours} m, {gripper}; recorded {theirs} m")
    print(f"mean error {1e3 * np.mean(errors_m):.1f} mm over {len(errors_m)} steps")


if __name__ == "__main__":
    main()
