"""The processes: the collector, one run of the exporter, the demo, and a Segment to try against."""

from __future__ import annotations

from pathlib import Path

import click

from commands.printing import as_json, print_json


@click.command()
@click.option("--port", default=8000, show_default=True, help="The collector's port; the fake Segment takes the next.")
@click.option("--data", type=click.Path(path_type=Path), help="Where the demo keeps its data.")
def demo(port: int, data: Path | None) -> None:
    """Run a made-up marketplace with everything behind it.

    Example: footfall demo --port 8000
    """
    from collector.demo.launch import launch
    from store.settings import load

    raise SystemExit(launch(load(data_dir=data), port))


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option("--port", default=8000, show_default=True, help="The port to listen on.")
def serve(host: str, port: int) -> None:
    """Run the collector until it is told to stop.

    Example: footfall serve --host 127.0.0.1 --port 8000
    """
    import journal
    from collector.server import serve as run
    from store.settings import load

    came_up = run(load(), host, port, announce=lambda where: journal.note("collector began", on=where))
    raise SystemExit(0 if came_up else 1)


@click.command()
@click.option("--app", "app_key", metavar="KEY", help="Only this app.")
@click.option("--dry-run", is_flag=True, help="Say what would go, and send nothing.")
@click.option("--every", type=click.FloatRange(min=0.1), metavar="SECONDS", help="Run again and again, until stopped.")
@as_json
def export(app_key: str | None, dry_run: bool, every: float | None, as_json: bool) -> None:
    """Ship what is pending to the partners' Segment sources, then exit.

    Exit codes: 0 all sent, 75 something is left for a later run, 69 a database is not available, 78 a setting is wrong.

    Example: footfall export --dry-run
    """
    import uvloop

    from exporter.report import Voice
    from exporter.run import run
    from store.settings import load

    voice = Voice(quiet=as_json)
    report = uvloop.run(run(load(), voice, only=app_key, dry_run=dry_run, every=every))
    if as_json:
        print_json(report)
    else:
        click.echo(report.summary())
    raise SystemExit(report.exit_code)


@click.command("fake-segment")
@click.option("--port", default=8001, show_default=True, help="The port to listen on.")
def fake_segment(port: int) -> None:
    """Run a Segment that keeps what would land, for tests and for looking.

    Example: footfall fake-segment --port 8001
    """
    from exporter.fake_segment.app import serve as run

    run(port, announce=lambda url: click.echo(f"fake Segment at {url}; what landed: {url}/_/received"))
