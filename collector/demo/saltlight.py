"""The two listings of Saltlight Studio, whose Segment sources want the richer `segment` payload profile.

On the live page their events carry an anonymous id at the top level, page and campaign, where the others do not.
"""

from __future__ import annotations

from collector.demo.listing import App, Fact, Highlight, Partner, Plan, Review, Scene, Version

SALTLIGHT = Partner(
    key="saltlight",
    partner_id="1211870",
    name="Saltlight Studio",
    about="Designers first. Six of them, and two engineers who keep up.",
    home="Halifax, Canada",
    site="saltlight.example",
)

_SUPPORT = (
    Fact("Hours", "Monday to Thursday, 9:00 to 17:00 Atlantic Time"),
    Fact("First answer", "Within one working day"),
    Fact("Ways to ask", "E-mail, a community forum with the designers in it"),
    Fact("Languages", "English, French"),
)
_SECURITY = (
    Fact("Data stored outside your site", "Drawings and templates, because that is where they live"),
    Fact("Where", "Montréal, with a copy in Toronto"),
    Fact("Encryption", "TLS 1.3 in transit, AES-256 at rest"),
    Fact("Deletion", "Immediately when you delete a drawing; backups expire after 21 days"),
    Fact("Permissions", "Read and write pages, read people"),
)

SKETCH_TIDE = App(
    key="io.saltlight.sketch-tide",
    plugin_id="1221540",
    name="Sketch Tide",
    slug="sketch-tide",
    partner=SALTLIGHT,
    tagline="Diagrams that stay editable inside the page they explain",
    description=(
        "Draw in the page, not beside it. A Sketch Tide diagram is part of the document: it is searched, versioned and "
        "commented on like the paragraph above it.",
        "Boxes stick to the words they stand for. Rename a service in the text and the diagram follows.",
    ),
    category="Diagrams",
    pricing="paid",
    hosting=("cloud", "server"),
    glyph="tide",
    hue="indigo",
    teams="8,800",
    stars=(344, 120, 41, 12, 9),
    highlights=(
        Highlight("Part of the page", "Search, history and comments work inside a drawing."),
        Highlight("Words and boxes stay together", "Rename once; the text and the diagram agree."),
        Highlight("Draws with the keyboard", "Every shape and line can be made without a mouse."),
    ),
    scenes=(
        Scene("page", "A diagram between two paragraphs, where it belongs"),
        Scene("board", "Shapes that line up by themselves"),
        Scene("timeline", "The history of one drawing"),
    ),
    reviews=(
        Review(
            "Noor F.",
            "Harrow Telescope Group",
            5,
            "13 November 2026",
            "Our diagrams are true again",
            "They were two years behind the text. Now they are the same thing.",
        ),
        Review(
            "Felix G.",
            "Tramway Nine",
            5,
            "25 October 2026",
            "Keyboard drawing",
            "I did not know that I wanted it. I am never going back.",
        ),
        Review(
            "Ruth N.",
            "Copperfield Maps",
            2,
            "4 October 2026",
            "Slow with a thousand shapes",
            "Our city plan takes four seconds to open.",
            "We found it with your file, Ruth: 5.8 opens it in 0.6 seconds. Thank you for sending it.",
        ),
    ),
    plans=(
        Plan("Up to 10 people", "Free", "for ever", ("Unlimited drawings", "All shapes")),
        Plan("Team", "$1.90", "a person a month", ("Shared shape sets", "Words and boxes together")),
        Plan("Organisation", "$1.20", "a person a month, over 500", ("House style", "Named contact")),
    ),
    versions=(
        Version("5.8.0", "16 November 2026", "Big drawings", ("Drawings with 5,000 shapes open in under a second",)),
        Version("5.7.0", "11 September 2026", "Shape sets", ("Share a shape set with one link",)),
        Version("5.6.1", "2 July 2026", "Quiet fixes", ("Arrow heads point the right way on narrow screens",)),
    ),
    security=_SECURITY,
    support=_SUPPORT,
    steps=("Choose a site you administer", "Open a page and type /sketch", "Draw the first box"),
    profile="segment",
)

PAGE_ORCHARD = App(
    key="io.saltlight.page-orchard",
    plugin_id="1221577",
    name="Page Orchard",
    slug="page-orchard",
    partner=SALTLIGHT,
    tagline="A small orchard of page templates, tended by designers",
    description=(
        "Forty templates for the pages every team writes: a decision, a retrospective, a plan, a farewell. "
        "Each was designed once, carefully, and then tested with people who had never seen it.",
        "Pick one, write, and it already looks like somebody cared.",
    ),
    category="Templates",
    pricing="free",
    hosting=("cloud",),
    glyph="orchard",
    hue="leaf",
    teams="19,200",
    stars=(512, 143, 38, 10, 7),
    highlights=(
        Highlight("Forty, not four hundred", "Few enough to know, enough to cover the year."),
        Highlight("Hints that vanish", "Each section tells you what belongs in it, then gets out of the way."),
        Highlight("Yours to change", "Copy a template and it becomes your team's own."),
    ),
    scenes=(
        Scene("page", "A decision, written in twenty minutes"),
        Scene("board", "The orchard: forty templates in five rows"),
    ),
    reviews=(
        Review(
            "Bram W.",
            "City of Oakhaven",
            5,
            "1 November 2026",
            "Even our minutes look good",
            "Nobody asked for nice minutes. Everybody noticed.",
        ),
        Review(
            "Leila H.",
            "Foxglove Press",
            4,
            "18 September 2026",
            "One missing",
            "A template for a style guide, please.",
            "Planted. It is number 40.",
        ),
    ),
    plans=(Plan("Everyone", "Free", "no limits", ("All forty templates", "Copies of your own")),),
    versions=(
        Version("1.40", "24 October 2026", "Number forty", ("A template for style guides",)),
        Version("1.39", "5 September 2026", "Farewells", ("A template for the last day of a project",)),
    ),
    security=_SECURITY,
    support=_SUPPORT,
    steps=("Choose a site you administer", "Create a page", "Pick a tree from the orchard"),
    profile="segment",
)

LISTINGS = (SKETCH_TIDE, PAGE_ORCHARD)
