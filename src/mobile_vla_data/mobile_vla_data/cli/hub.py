"""Commands that exchange datasets with a hub or with object storage."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mobile_vla_data.checks.validate import validate_dataset
from mobile_vla_data.cli.output import DatasetArgument, JsonOption, print_json, print_line, progress_bar
from mobile_vla_data.dataset.folder import Dataset
from mobile_vla_data.hub import storage, transfer
from mobile_vla_data.hub.names import HubError


def push(
    context: typer.Context,
    dataset: DatasetArgument,
    repo: Annotated[
        str,
        typer.Argument(
            metavar="USER/NAME|URL",
            help="Hub repository, created if it is missing; or an address such as s3://bucket/flat.",
            show_default=False,
        ),
    ],
    licence: Annotated[str, typer.Option("--license", help="Licence for the card, as the hub names it.")] = "other",
    private: Annotated[bool, typer.Option(help="Create the repository as a private one.")] = False,
    message: Annotated[str, typer.Option(help="Commit message.")] = "Dataset recorded with Mobile VLA",
    replace: Annotated[bool, typer.Option("--replace", help="Overwrite episodes that differ there.")] = False,
    json: JsonOption = False,
) -> None:
    """Validate a dataset and upload it with a card to the Hugging Face hub; interrupted, repeat it.

    If the repository has another file under an episode's name, nothing is sent without --replace. To object storage a
    dataset goes as it is, without a card: --license, --private and --message are for the hub only. There, an episode
    of which only labels changed needs no --replace.
    """
    Dataset.open(dataset)
    if storage.is_url(repo):
        _refuse_hub_options(context, repo)
        with progress_bar("sending", quiet=json) as progress:
            sent = storage.push(dataset, repo, progress, replace=replace)
        if json:
            print_json({"dataset": str(dataset), "url": repo, "sent": sent})
        else:
            print_line(f"{repo}: {sent} files sent")
        return
    with progress_bar("validating", quiet=json) as progress:
        validation = validate_dataset(dataset, progress=progress)
    address = transfer.push(
        dataset, repo, validation, licence=licence, private=private, message=message, replace=replace
    )
    if json:
        print_json({"dataset": str(dataset), "repo": repo, "commit": address, "findings": len(validation.findings)})
    else:
        print_line(f"{repo}: {address} ({len(validation.findings)} findings are on its card)")


def _refuse_hub_options(context: typer.Context, url: str) -> None:
    """Raise :class:`HubError` if an option was given that object storage has no place for."""
    names = {"licence": "--license", "private": "--private", "message": "--message"}
    sources = {option: context.get_parameter_source(name) for name, option in names.items()}
    given = [option for option, source in sources.items() if source is not None and source.name == "COMMANDLINE"]
    if given:
        raise HubError(f"{url}: object storage has no {', '.join(given)}, only the hub has; leave it out")


def pull(
    repo: Annotated[
        str,
        typer.Argument(
            metavar="USER/NAME[@REVISION]|URL",
            help="Hub repository, or an address such as s3://bucket/flat.",
            show_default=False,
        ),
    ],
    target: Annotated[Path, typer.Argument(help="Folder to create; it must not exist.", show_default=False)],
    json: JsonOption = False,
) -> None:
    """Download a dataset from the Hugging Face hub or object storage; interrupted, the same command continues."""
    if storage.is_url(repo):
        with progress_bar("receiving", quiet=json) as progress:
            folder = Dataset(storage.pull(repo, target, progress))
    else:
        folder = Dataset(transfer.pull(repo, target))
    if json:
        print_json({"repo": repo, "dataset": str(folder.path), "episodes": len(folder.episode_ids)})
    else:
        print_line(f"{folder.path}: {len(folder.episode_ids)} episodes")
