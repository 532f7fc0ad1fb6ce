"""`oakctl app`: descriptors, and the applications they describe."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from oakctl.cli import diagnostics, output, session, source, waiting
from oakctl.cli.grammar import DEFAULT_TIMEOUT, Output, Timeout, Wait, Yes, examples, noun
from oakctl.cli.output import Column, Format, listing, record
from oakctl.errors import OakError
from oakctl.model.requests import ApplyRequest
from oakctl.model.views import ApplicationView, ApplyResult, Finding, Preview, ServiceView
from oakctl.tui.viewmodels import preview, words

if TYPE_CHECKING:
    from oakctl.client.root import RootClient

app = noun("app", "Applications, and the descriptors they come from.")

Name = Annotated[str, typer.Argument(help="The application: NAME.NAMESPACE.")]
File = Annotated[
    Path, typer.Option("-f", "--file", help="The descriptor, JSON or YAML; - reads stdin.")
]


def _ready(view: ApplicationView, now: float) -> str:
    ready = sum(service.ready for service in view.services)
    return f"{ready}/{sum(service.wanted for service in view.services)}"


COLUMNS = (
    Column[ApplicationView]("Name", lambda view, now: view.name),
    Column[ApplicationView]("State", lambda view, now: view.state),
    Column[ApplicationView]("Services", lambda view, now: str(len(view.services))),
    Column[ApplicationView]("Ready", _ready),
    Column[ApplicationView]("Age", lambda view, now: words.age(view.created_at, now)),
    Column[ApplicationView]("Description", lambda view, now: view.description, wide=True),
)


@app.command(
    epilog=examples("oakctl app validate -f ar.yaml", "oakctl app validate -f - < ar.yaml")
)
def validate(file: File) -> None:
    """Check a descriptor without a root: every fault and every warning at once."""
    from oakctl import sla

    checked = sla.parse(_read(file))
    _tell(checked.findings)
    faults = [finding for finding in checked.findings if finding.severity == "error"]
    if not checked.ok:
        raise OakError(f"{source.named(file)} is refused: {words.count(len(faults), 'fault')}")
    diagnostics.say(f"{source.named(file)} is accepted")


@app.command(epilog=examples("oakctl app convert -f old.json > new.json"))
def convert(file: File) -> None:
    """Wrap a file of the shape before SLA v2.0; the new one is written to stdout."""
    from oakctl import sla

    output.line(sla.wrap_old_shape(_read(file)).rstrip("\n"))


@app.command(
    "apply",
    epilog=examples(
        "oakctl app apply -f examples/ar/ar.yaml",
        "oakctl app apply -f ar.yaml --no-wait",
        "oakctl app apply -f ar.yaml --timeout 5m",
    ),
)
def apply_(file: File, wait: Wait = True, timeout: Timeout = DEFAULT_TIMEOUT) -> None:
    """Run what a descriptor describes: checked here, accepted whole or refused whole."""
    from oakctl import sla

    text = _read(file)
    checked = sla.parse(text)
    checked.require(source.named(file))
    base = Path.cwd() if file == source.STDIN else file.resolve().parent

    async def main() -> None:
        from oakctl.client import deploying

        async with session.root() as client:
            artifacts = await deploying.uploaded(client, checked, base, diagnostics.say)
            result = await client.apply(ApplyRequest(text, artifacts))
            _tell_applied(result)
            if wait:
                await waiting.until_settled(
                    client, lambda: _services(client, result.applications), timeout
                )

    session.run(main())
    if wait:
        diagnostics.say("everything is ready")


@app.command(epilog=examples("oakctl app plan -f ar.yaml", "oakctl app plan -f ar.yaml -o json"))
def plan(file: File, form: Output = Format.TABLE) -> None:
    """Say where each service would go, and why, without applying anything."""
    from oakctl import sla

    text = _read(file)
    sla.parse(text).require(source.named(file))

    async def main() -> Preview:
        async with session.root() as client:
            return await client.preview(ApplyRequest(text))

    found = session.run(main())
    for warning in found.warnings:
        diagnostics.warn(str(warning))
    if form in (Format.JSON, Format.YAML):
        record(found, form, [], "")
        return
    for line in preview.lines(found):
        output.line(words.clean(line))


@app.command("ls", epilog=examples("oakctl app ls", "oakctl app ls -o name"))
def ls(form: Output = Format.TABLE) -> None:
    """List the applications."""

    async def main() -> tuple[ApplicationView, ...]:
        async with session.root() as client:
            return await client.applications()

    listing(session.run(main()), form, COLUMNS, lambda view: view.name)


@app.command(epilog=examples("oakctl app show ar.default", "oakctl app show ar.default -o yaml"))
def show(name: Name, form: Output = Format.TABLE) -> None:
    """Show one application and its services."""

    async def main() -> ApplicationView:
        async with session.root() as client:
            return await client.application(name)

    view = session.run(main())
    fields = [("name", view.name), ("state", view.state), ("description", view.description or "-")]
    fields += [("service", waiting.service_line(service)) for service in view.services]
    record(view, form, fields, view.name)


@app.command(epilog=examples("oakctl app delete ar.default --yes"))
def delete(
    name: Name, yes: Yes = False, wait: Wait = True, timeout: Timeout = DEFAULT_TIMEOUT
) -> None:
    """Stop every instance of an application and forget it."""
    diagnostics.confirm(f"Delete application {name} and stop all of its instances?", yes=yes)

    async def main() -> None:
        async with session.root() as client:
            view = await client.delete_application(name)
            if wait:
                await waiting.until_gone(client, view.name, timeout)

    session.run(main())
    diagnostics.say(f"application {name} is {'gone' if wait else 'being deleted'}")


def _read(file: Path) -> str:
    try:
        return source.content(file).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise OakError(f"{source.named(file)} is not UTF-8 text (byte {error.start})") from error


def _tell(findings: Sequence[Finding]) -> None:
    for finding in findings:
        diagnostics.say(f"{finding.severity}: {finding}")


def _tell_applied(result: ApplyResult) -> None:
    for finding in result.warnings:
        diagnostics.warn(str(finding))
    for name in result.applications:
        diagnostics.say(f"{name} {'accepted' if name in result.created else 'is unchanged'}")


async def _services(client: RootClient, applications: Sequence[str]) -> list[ServiceView]:
    views = [await client.application(name) for name in applications]
    return [service for view in views for service in view.services]
