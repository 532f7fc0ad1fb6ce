"""`oakctl image`: images without a registry."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from oakctl.cli import diagnostics, output, session
from oakctl.cli.grammar import Output, examples, noun
from oakctl.cli.output import Column, Format, listing
from oakctl.model.views import ImageProgress, ImageView
from oakctl.tui.viewmodels import words

if TYPE_CHECKING:
    from oakctl.client.image_push import Pushed
    from oakctl.client.root import RootClient

app = noun("image", "Images without a registry: from this machine to the workers that need them.")

TELL_EVERY = 10  # percent
Given = Annotated[
    str, typer.Argument(metavar="IMAGE|FILE.tar", help="What Docker here has, or an archive.")
]
Name = Annotated[str, typer.Argument(help="The image: NAME:TAG.")]
Cluster = Annotated[
    list[str] | None,
    typer.Option("--cluster", help="Bring it there now, not when a service needs it; repeatable."),
]
As = Annotated[str, typer.Option("--as", help="Its name; of several in an archive, the one.")]


def _size(view: ImageView) -> str:
    return words.file_size(sum(image.size for image in view.images))


COLUMNS = (
    Column[ImageView]("Name", lambda view, now: view.name),
    Column[ImageView](
        "Platforms", lambda view, now: ", ".join(image.platform for image in view.images)
    ),
    Column[ImageView]("Size", lambda view, now: _size(view)),
    Column[ImageView]("Pushed", lambda view, now: words.age(view.pushed_at, now)),
    Column[ImageView]("Services", lambda view, now: ", ".join(view.services) or "-"),
    Column[ImageView](
        "Id", lambda view, now: ", ".join(image.config[:12] for image in view.images), wide=True
    ),
)


@app.command(
    epilog=examples(
        "oakctl image push ar:1",
        "oakctl image push ar:1 --cluster edge",
        "oakctl image push ./ar.tar --as local/ar:1",
    )
)
def push(given: Given, cluster: Cluster = None, name: As = "", form: Output = Format.TABLE) -> None:
    """Give an image to the root; only layers that it does not have yet are sent.

    A service whose `code` is that name runs this image, whatever a registry has under it (except
    with `pull: always`). Clusters get it when a service needs it there, workers likewise.
    """

    async def main() -> tuple[Pushed, dict[str, int]]:
        from oakctl.client import image_archive, image_attention, image_push, image_source

        async with session.root() as client:
            async with (
                image_attention.attended(client),
                image_source.archive(given, _saving) as path,
            ):
                with image_archive.Archive(path) as archive:
                    wanted = name if image_source.is_file(given) else name or given
                    chosen = image_archive.choose(archive.contents(), wanted)
                    pushed = await image_push.push(client, archive, chosen, diagnostics.say)
            there = {one: await _sent(client, pushed.image.name, one) for one in cluster or ()}
            return pushed, there

    pushed, there = session.run(main())
    _tell(pushed, there, form)


@app.command("ls", epilog=examples("oakctl image ls", "oakctl image ls -o wide"))
def ls(form: Output = Format.TABLE) -> None:
    """List the images that were pushed."""

    async def main() -> Sequence[ImageView]:
        async with session.root() as client:
            return await client.images.all()

    listing(session.run(main()), form, COLUMNS, lambda view: view.name)


@app.command(epilog=examples("oakctl image remove ar:1"))
def remove(name: Name) -> None:
    """Forget an image that no service uses, and layers that no other image has."""

    async def main() -> ImageView:
        async with session.root() as client:
            return await client.images.remove(name)

    diagnostics.say(f"image {session.run(main()).name} is forgotten")


def _saving(written: int) -> None:
    diagnostics.say(f"docker save: {words.file_size(written)}")


async def _sent(client: RootClient, name: str, cluster: str) -> int:
    """Have it in a cluster; returns how many bytes that took."""
    told, last = 0, ImageProgress(0, 0, 0)
    async for last in client.images.send(name, cluster):
        share = 100 * last.there // last.size if last.size else 0
        if share >= told + TELL_EVERY:
            told = share
            diagnostics.say(f"{cluster}: {share} % of {words.file_size(last.size)}")
    diagnostics.say(f"{cluster}: {name} is there, {last.sent} bytes were sent")
    return last.sent


def _tell(pushed: Pushed, there: dict[str, int], form: Format) -> None:
    view = pushed.image
    if form in (Format.JSON, Format.YAML):
        output.record(
            {
                "name": view.name,
                "platforms": [image.platform for image in view.images],
                "layers": pushed.layers,
                "sent_layers": pushed.sent_layers,
                "sent_bytes": pushed.sent_bytes,
                "clusters": there,
            },
            form,
            (),
            view.name,
        )
    elif form is Format.NAME:
        output.line(view.name)
    else:
        platforms = ", ".join(image.platform for image in view.images)
        diagnostics.say(
            f"{view.name} for {platforms} is here: {pushed.sent_layers} of "
            f"{words.count(pushed.layers, 'layer')} sent, {pushed.sent_bytes} bytes"
        )
