"""The two listings of Tallow & Finch, a partner that has connected only one of its apps.

Deskbell has no Segment write key on purpose: its events are collected and stay pending, which is what a partner sees
before the key is entered.
"""

from __future__ import annotations

from collector.demo.listing import App, Fact, Highlight, Partner, Plan, Review, Scene, Version

TALLOWFINCH = Partner(
    key="tallowfinch",
    partner_id="1213925",
    name="Tallow & Finch",
    about="Two sisters and a very patient build server.",
    home="Hobart, Australia",
    site="tallowfinch.example",
)

_SUPPORT = (
    Fact("Hours", "Monday to Friday, 9:00 to 17:00 in Hobart"),
    Fact("First answer", "Usually overnight for Europe and the Americas"),
    Fact("Ways to ask", "E-mail. Both sisters read it."),
    Fact("Languages", "English"),
)
_SECURITY = (
    Fact("Data stored outside your site", "None. Both apps run inside your site and keep their data there."),
    Fact("Where", "Wherever your site is"),
    Fact("Encryption", "As your site provides"),
    Fact("Deletion", "With the app: uninstalling removes everything"),
    Fact("Permissions", "Create cards, read people"),
)

QUIET_FORMS = App(
    key="com.tallowfinch.quiet-forms",
    plugin_id="1222816",
    name="Quiet Forms",
    slug="quiet-forms",
    partner=TALLOWFINCH,
    tagline="Short forms that turn requests into well-formed cards",
    description=(
        "A form should ask five questions, not fifteen. Quiet Forms asks the next question only when the last answer "
        "makes it necessary, and files the result as a card with everything in its place.",
        "It runs entirely inside your site. No answer ever leaves it.",
    ),
    category="Intake",
    pricing="paid",
    hosting=("cloud", "server"),
    glyph="forms",
    hue="rose",
    teams="3,120",
    stars=(140, 39, 10, 5, 2),
    highlights=(
        Highlight("Asks less", "Questions appear only when they matter."),
        Highlight("Cards in good shape", "Fields, owner and due date are filled from the answers."),
        Highlight("Nothing leaves", "Runs inside your site; there is no server of ours."),
    ),
    scenes=(
        Scene("form", "Five questions, one after the other"),
        Scene("board", "Requests arrive as cards, in order"),
    ),
    reviews=(
        Review(
            "Priya C.",
            "Wren Hospital Trust",
            5,
            "9 November 2026",
            "Half the questions, twice the answers",
            "People finish our forms now. The cards need no rework.",
        ),
        Review(
            "Olaf E.",
            "Stonebridge Dairy",
            4,
            "22 September 2026",
            "Good, plain, fast",
            "I would like more than one language in the same form.",
        ),
    ),
    plans=(
        Plan("Up to 3 forms", "Free", "for ever", ("All question kinds",)),
        Plan("Team", "$18", "a month, everybody", ("Unlimited forms", "Conditional questions")),
    ),
    versions=(
        Version("3.0.4", "31 October 2026", "Drafts", ("A half-finished answer is kept for a week",)),
        Version("3.0.0", "10 August 2026", "Calmer layout", ("One question at a time on phones",)),
    ),
    security=_SECURITY,
    support=_SUPPORT,
    steps=("Choose a site you administer", "Start from one of six forms", "Share the link"),
)

DESKBELL = App(
    key="com.tallowfinch.deskbell",
    plugin_id="1222853",
    name="Deskbell",
    slug="deskbell",
    partner=TALLOWFINCH,
    tagline="One small bell instead of forty notifications",
    description=(
        "Deskbell gathers everything that wants your attention and rings twice a day. Between rings it is silent, "
        "unless a person, not a rule, asks for you by name.",
        "The bell shows what happened, what needs you, and what has already been dealt with.",
    ),
    category="Focus",
    pricing="free",
    hosting=("cloud",),
    glyph="bell",
    hue="slate",
    teams="910",
    stars=(44, 9, 4, 1, 0),
    highlights=(
        Highlight("Twice a day", "At the times you choose, and not otherwise."),
        Highlight("People get through", "A colleague who asks for you by name still reaches you."),
        Highlight("Already handled", "What others have dealt with is folded away."),
    ),
    scenes=(
        Scene("page", "The morning bell"),
        Scene("calendar", "Quiet hours over a month"),
    ),
    reviews=(
        Review(
            "Tuva J.",
            "Sandbar Logistics",
            5,
            "17 October 2026",
            "I read everything now",
            "Because there are nine things and not ninety.",
        ),
    ),
    plans=(Plan("Everyone", "Free", "no limits", ("Two rings a day", "Quiet hours")),),
    versions=(Version("0.9.2", "26 September 2026", "Folded threads", ("Handled threads fold into one line",)),),
    security=_SECURITY,
    support=_SUPPORT,
    steps=("Choose a site you administer", "Pick two times", "Enjoy the quiet"),
    has_segment_key=False,
)

LISTINGS = (QUIET_FORMS, DESKBELL)
