"""The command line: one table of commands, nothing else. Each command imports what it needs when it runs."""

from __future__ import annotations

import gc
import sys
from typing import Any

import click

from commands import apps, attribution, deliveries, people, processes, upkeep
from store.errors import Busy, ConfigError, FootfallError, StoreUnavailable, Unavailable

EXIT_CODES: dict[type[FootfallError], int] = {StoreUnavailable: 69, Unavailable: 75, Busy: 75, ConfigError: 78}


class Footfall(click.Group):
    """The program: failures are one line on standard error, with the exit code that says what to do about them."""

    def invoke(self, ctx: click.Context) -> Any:
        gc.set_threshold(50_000, 20, 50)  # what is loaded stays, and requests and events make no cycles
        try:
            return super().invoke(ctx)
        except FootfallError as error:
            click.echo(f"footfall: {error}", err=True)
            code = next((code for kind, code in EXIT_CODES.items() if isinstance(error, kind)), 1)
            raise SystemExit(code) from None
        except BrokenPipeError:
            raise  # click ends quietly when nobody reads on
        except OSError as error:
            click.echo(f"footfall: {error.strerror or error}", err=True)
            raise SystemExit(1) from None


@click.group(cls=Footfall, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="footfall")
def main() -> None:
    """Shows app partners the journeys on their marketplace listings, in their own Segment workspace.

    Settings are environment variables that begin with FOOTFALL_.
    """


for command in (
    processes.demo,
    processes.serve,
    processes.export,
    processes.fake_segment,
    upkeep.migrate,
    upkeep.doctor,
    upkeep.backup,
    upkeep.copy,
    upkeep.purge,
    upkeep.rollups,
    upkeep.selftest,
    apps.partner,
    apps.app_group,
    attribution.attribution,
    deliveries.replay,
    deliveries.event,
    deliveries.park,
    deliveries.receipt,
    people.user,
    people.token,
    upkeep.secret,
    apps.visitor,
):
    main.add_command(command)

if __name__ == "__main__":
    main(prog_name="footfall" if sys.argv[0].endswith("footfall.py") else None)
