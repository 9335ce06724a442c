"""out/bench/sim/…/report.html: tables, curves and images of the benchmark on one page."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from common import OUT, ROOT, say
from jinja2 import ChoiceLoader, FileSystemLoader
from parts import read_parts
from sim_stages import Run
from sim_trials import SEED

from mobile_vla_data.contract import Contract
from mobile_vla_data.trials.page import as_data
from mobile_vla_sim.headless.page import environment, film


def write(run: Run) -> None:
    """Write the page from whatever has been measured so far."""
    templates = environment()
    templates.loader = ChoiceLoader([FileSystemLoader(Path(__file__).parent), templates.loader])
    trials, others, wordings = (run.read(name) or {} for name in ("trials", "conditions", "wordings"))
    loss = run.output / "loss.png"
    page = templates.get_template("sim_report.html.j2").render(
        parts=read_parts(OUT / "sim.json"),
        plain=trials.get("conditions", {}).get("plain"),
        conditions={**wordings.get("conditions", {}), **others.get("conditions", {})},
        warnings=others.get("warnings", []),
        loss=as_data(loss.read_bytes(), "png") if loss.exists() else "",
        video=as_data(_video(run), "webp") if trials else "",
    )
    path = run.folder / "report.html"
    path.write_text(page)
    say(f"report: {path}")


def _video(run: Run) -> bytes:
    kept = run.folder / "rollouts.webp"
    if not kept.exists():
        from mobile_vla_policy.load_policy import load_policy
        from mobile_vla_sim.headless.evaluate import EvaluateConfig
        from mobile_vla_sim.tasks.catalogue import TASKS, load_plan
        from mobile_vla_sim.world.world import World

        contract = Contract.load(ROOT / "config" / "robot.yaml")
        config = EvaluateConfig(contract, load_plan(ROOT / "config" / "collection_plan.yaml"), SEED, tuple(TASKS))
        with closing(World(contract)) as world:
            film(world, load_policy(run.checkpoint, contract=contract), config, kept)
    return kept.read_bytes()
