"""The words and the colours of a journey's steps, told from their keys. Pure."""

from __future__ import annotations

from collector.portal.words import EVENTS, KINDS
from store.rollups.facets import CTA, REST, TAB

START = ""  # before the first step
FURTHER, END = ":further", ":end"  # all steps that are not shown apart; no step follows
SAID = {
    FURTHER: "Other steps",
    START: "Begins here",
    END: "Ends here",
}


def said(step: str) -> str:
    """A step as people read it."""
    if step in SAID:
        return SAID[step]
    name, labelled, label = step.partition(":")
    words = EVENTS.get(name, name)
    if not labelled:
        return words
    if label == REST:
        return f"{words}: others"
    short = "Pressed" if name == "cta_click" else words  # there is little room beside a band
    return f"{short} “{label}”" if label else f"{words} without words"


def kind(step: str) -> str:
    """Its colour: see static/css/tokens.css."""
    if step in SAID:
        return "end" if step == END else "start" if step == START else "other"
    return KINDS.get(step.partition(":")[0], "other")


def filter_of(step: str) -> tuple[str, str] | None:
    """The facet and the value that visitors who took this step came under; None where there is no such filter."""
    name, labelled, label = step.partition(":")
    facet = {"tab_click": TAB, "cta_click": CTA}.get(name)
    return (facet, label) if facet and labelled and label != REST and label.isprintable() else None
