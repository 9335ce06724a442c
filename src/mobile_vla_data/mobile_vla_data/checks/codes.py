"""Every code that a finding can have, with its severity and meaning; the reference page is made from this table."""

from __future__ import annotations

from typing import NamedTuple


class Code(NamedTuple):
    """One kind of finding."""

    severity: str
    """``error`` (do not train on it) or ``warning``, with the exception if there is one."""
    meaning: str


CODES: dict[str, Code] = {
    # One file.
    "unreadable": Code("error", "the file is truncated, damaged, or not an episode"),
    "inaccessible": Code("error", "the file cannot be read now: permissions, another process, or the disk prevents it"),
    "dataset-missing": Code("error", "an HDF5 dataset of the schema is missing"),
    "attribute-missing": Code("error", "an attribute of the schema is missing or has the wrong type"),
    "attribute-invalid": Code("error", "an attribute has a value that the schema does not allow"),
    "language-empty": Code("error", "the instruction is empty"),
    "task-empty": Code("error", "the task is empty"),
    "id-mismatch": Code("error", "the file's name and its `episode_id` differ"),
    "contract-invalid": Code("error", "the embedded contract cannot be read"),
    "shape": Code("error", "a dataset or an image has the wrong shape"),
    "dtype": Code("error", "a dataset has the wrong type"),
    "length-mismatch": Code("error", "the datasets of an episode have different lengths"),
    "empty": Code("error", "the episode has no steps"),
    "camera-unknown": Code("error", "the file holds images of a camera that its contract does not name"),
    "not-finite": Code("error", "an action or state is NaN or infinite"),
    "too-short": Code("error", "the episode has fewer than 5 steps"),
    # Time.
    "ticks-not-rising": Code("error", "the stamps of the control ticks do not rise"),
    "stamp-backwards": Code("error", "a capture time is earlier than the one before"),
    "stamp-ahead": Code("error", "a capture time is later than its control tick: two clocks differ"),
    "stamps-computed": Code("error", "capture times were computed from an index, not measured"),
    "rate": Code("error", "the median rate differs by more than 5 % from the contract's"),
    "dropped-ticks": Code("error", "more than 10 % of the ticks are missing"),
    "stale-input": Code("error (warning for an optional camera)", "an input was older than the contract allows"),
    # Images.
    "camera-slow": Code("error", "more than 25 % of the steps repeat the image before"),
    "camera-frozen": Code("error", "the same image for over a second in which the robot moved"),
    "camera-blank": Code("error", "more than 10 % of the images show a single shade"),
    "image-damaged": Code("error", "a JPEG is cut off or does not decode"),
    "target-outside": Code("error", "an annotated target is outside the first camera's image"),
    "encoding-differs": Code(
        "warning (error when red and blue look swapped)", "a camera's messages have another encoding than usual"
    ),
    # Actions and state.
    "actions-zero": Code("error", "no step commands anything"),
    "action-limit": Code("error", "an action exceeds the contract's speed or turning limit"),
    "turning-lost": Code("error", "more than 20 degrees of commanded turning are in no action"),
    "action-gripper": Code("error", "a gripper action is neither 0 nor 1"),
    "state-gripper": Code("error", "a gripper state is outside 0 .. 1"),
    "gripper-still": Code(
        "error (warning for a failure)", "the gripper never moves in a manipulation or combined episode"
    ),
    "state-jump": Code("error", "the position moved more than twice as far as the limits allow"),
    "odometry-disagrees": Code("error", "commanded and travelled distance differ by more than a factor of two"),
    "misaligned": Code("error", "odometry moves more than 0.4 s later than the actions, or earlier"),
    # The folder.
    "no-episodes": Code("error", "the folder holds no episode"),
    "unfinished": Code("error", "a recording was interrupted; `mobile-vla-data recover` restores it"),
    "duplicate": Code("error", "two episodes hold the same steps"),
    "contract-differs": Code("error", "an episode was recorded under another contract than the others"),
    "one-instruction": Code("error (warning with one task)", "all episodes have the same instruction"),
    "splits-invalid": Code("error", "splits.json cannot be read"),
    "splits-unknown": Code("error", "splits.json names an episode that does not exist"),
    "splits-twice": Code("error", "an episode is in two splits"),
    "splits-untrained": Code("warning", "a task has episodes in validation or test, and none in training"),
    "splits-incomplete": Code("warning", "an episode is in no split"),
    "plan-invalid": Code("error", "plan.yaml cannot be read"),
    "plan-category": Code("error", "an episode has another category than its task in the plan"),
    "plan-task": Code("warning", "an episode's task is not in the plan"),
    "plan-wording": Code("warning", "an instruction is not one of its task's wordings"),
    "plan-environment": Code("warning", "an environment value is not in the plan"),
    "plan-steps": Code("warning", "an episode is shorter or longer than the plan asks for"),
}
