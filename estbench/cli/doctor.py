"""``estbench doctor``: what works on this machine."""

import typer
from rich.markup import escape

from estbench.cli.compare import STORE, StoreFolder
from estbench.cli.screen import console

MARKS = {"ok": "[green]ok[/]     ", "absent": "[yellow]absent[/] ", "broken": "[red]broken[/] "}


def doctor(
    store: StoreFolder = STORE,
) -> None:
    """Says what works on this machine and what to do about what does not; exits with 1 if something is broken."""
    from estbench.workflows.doctor import diagnose  # noqa: PLC0415  (imports torch)

    broken = False
    for each in diagnose(store):
        remedy = f" [dim]({escape(each.remedy)})[/]" if each.remedy else ""
        console().print(f"{each.part:<10} {MARKS[each.state]} {escape(each.finding)}{remedy}", soft_wrap=True)
        broken |= each.state == "broken"
    raise typer.Exit(int(broken))
