"""Compute the steps a second of full-size Kosmos-2 on Jetsons, and print the tables of docs/explanation/roofline.md."""

from __future__ import annotations

from dataclasses import dataclass

from model_cost import measure

#: Operations a cycle of a multiprocessor's four tensor cores, dense, at 16 bits. At 8 bits they do twice as many.
_PER_CYCLE = 2048
#: Share of the peak that a step is taken to reach, and of the bandwidth; docs/explanation/roofline.md says why.
_REACHED, _BANDWIDTH_REACHED = 0.5, 0.7


@dataclass(frozen=True)
class Mode:
    """A board in one of its power modes."""

    name: str
    multiprocessors: int
    gpu_mhz: float
    gb_s: float

    @property
    def tflops(self) -> float:
        """Dense peak at 16 bits."""
        return self.multiprocessors * _PER_CYCLE * self.gpu_mhz / 1e6


_MODES = (
    Mode("Orin NX 16 GB, 15 W", 8, 612, 102.4),
    Mode("Orin NX 16 GB, MAXN", 8, 918, 102.4),
    Mode("AGX Orin 32 GB, 15 W", 6, 420.75, 136.5),
    Mode("AGX Orin 32 GB, 30 W", 8, 624.75, 204.8),
    Mode("AGX Orin 32 GB, MAXN", 14, 930.75, 204.8),
    Mode("AGX Orin 64 GB, 15 W", 6, 420.75, 136.5),
    Mode("AGX Orin 64 GB, 30 W", 8, 624.75, 204.8),
    Mode("AGX Orin 64 GB, 50 W", 16, 828.75, 204.8),
    Mode("AGX Orin 64 GB, MAXN", 16, 1301, 204.8),
)


def main() -> None:
    """Print both tables as Markdown."""
    one, one_moved, two, two_moved, weights = (figure.value for figure in measure())
    print("| one step | products | weights, 16 bits / int8 | activations, 16 bits |\n|---|---|---|---|")
    for name, operations, moved in (("one camera", one, one_moved), ("two cameras", two, two_moved)):
        print(f"| {name} | {operations:.0f} GFLOP | {weights:.2f} / {weights / 2:.2f} GB | {moved:.2f} GB |")
    print(
        "\n| board, mode | peak 16 bits / int8 | bandwidth | two cameras: 16 bits | int8 | one camera: 16 bits | int8 |"
    )
    print("|---|---|---|---|---|---|---|")
    for mode in _MODES:
        steps = [
            1 / _step_s(mode, operations, read, moved, faster)
            for operations, moved in ((two, two_moved), (one, one_moved))
            for read, faster in ((weights, 1), (weights / 2, 2))
        ]
        peaks = f"{mode.tflops:.1f} TFLOP/s / {2 * mode.tflops:.0f} TOP/s"
        print(
            f"| {mode.name} | {peaks} | {mode.gb_s:.1f} GB/s | " + " | ".join(f"{step:.1f}/s" for step in steps) + " |"
        )


def _step_s(mode: Mode, gflop: float, read_gb: float, moved_gb: float, faster: int) -> float:
    products_s = gflop / 1e3 / (mode.tflops * faster * _REACHED)
    return max(products_s, (read_gb + moved_gb) / (mode.gb_s * _BANDWIDTH_REACHED))


if __name__ == "__main__":
    main()
