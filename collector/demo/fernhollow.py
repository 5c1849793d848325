"""The three listings of Fernhollow, a partner whose apps report on work.

Release Ribbon and its siblings go to the United States region with the default payload profile: the plain case. Board
Charts sends everything that there is, the past too; all other apps begin with the demo.
"""

from __future__ import annotations

from collector.demo.listing import App, Fact, Highlight, Partner, Plan, Review, Scene, Version

FERNHOLLOW = Partner(
    key="fernhollow",
    partner_id="1207311",
    name="Fernhollow",
    about="Nine people who think a report should answer a question before the meeting starts.",
    home="Trondheim, Norway",
    site="fernhollow.example",
)

_SUPPORT = (
    Fact("Hours", "Monday to Friday, 8:00 to 18:00 Central European Time"),
    Fact("First answer", "Within four working hours, from someone who writes the code"),
    Fact("Ways to ask", "Support desk, e-mail, a public question board"),
    Fact("Languages", "English, Norwegian, German"),
)
_SECURITY = (
    Fact("Data stored outside your site", "Chart definitions and user preferences. Never the content of a card."),
    Fact("Where", "Your choice of Ireland or Oregon, pinned when you install"),
    Fact("Encryption", "TLS 1.3 in transit, AES-256 at rest, keys rotated every 90 days"),
    Fact("Deletion", "Everything is removed 30 days after you uninstall; sooner on request"),
    Fact("Permissions", "Read boards and cards. No write access."),
    Fact("Reviewed", "Outside penetration test every spring; the letter is on our site"),
)

BOARD_CHARTS = App(
    key="com.fernhollow.board-charts",
    plugin_id="1218401",
    name="Board Charts",
    slug="board-charts",
    partner=FERNHOLLOW,
    tagline="Flow, burn-up and ageing charts that read straight from your boards",
    description=(
        "Board Charts turns the columns you already have into the four charts a team really looks at: flow, burn-up, "
        "cycle time and ageing. There is nothing to configure first. Pick a board and the chart is there.",
        "Each point opens into the cards behind it, so a chart is where the conversation starts instead of where it "
        "ends.",
    ),
    category="Reporting",
    pricing="paid",
    hosting=("cloud", "server"),
    glyph="charts",
    hue="teal",
    teams="4,300",
    stars=(188, 46, 12, 4, 3),
    highlights=(
        Highlight("Nothing to set up", "Columns, swimlanes and estimates are read as they are."),
        Highlight("Charts open into cards", "Click a point and see exactly which work made it."),
        Highlight("A page for the wall", "A full-screen view that refreshes by itself and survives the night."),
    ),
    scenes=(
        Scene("bars", "Finished work per week, with the four-week range behind it"),
        Scene("board", "Ageing: the longer a card waits, the warmer it gets"),
        Scene("timeline", "Burn-up with three honest forecasts"),
    ),
    reviews=(
        Review(
            "Hanne V.",
            "Kestrel Rail Works",
            5,
            "2 November 2026",
            "Our stand-up is ten minutes now",
            "We open the ageing chart, talk about the three warm cards and go back to work. That is all we wanted.",
        ),
        Review(
            "Tobias R.",
            "Mill Street Clinics",
            5,
            "19 October 2026",
            "The forecast is not embarrassing",
            "It shows a range and it has been right for two quarters. Our director has started to trust it.",
        ),
        Review(
            "Ana P.",
            "Greywater Games",
            3,
            "6 October 2026",
            "Good charts, few colours",
            "Does what it says. I would like to choose the colours for our own columns.",
            "Fair point, Ana. Column colours arrive with 4.3; you can try them in the preview channel.",
        ),
    ),
    plans=(
        Plan("Up to 10 people", "Free", "for ever", ("All four charts", "One wall page")),
        Plan("Team", "$1.40", "a person a month", ("Forecasts", "Unlimited wall pages", "Export to CSV")),
        Plan(
            "Organisation",
            "$0.90",
            "each, over 250 people",
            ("Everything in Team", "Shared definitions", "Named contact"),
        ),
    ),
    versions=(
        Version(
            "4.2.1",
            "28 October 2026",
            "Faster on very large boards",
            ("Boards with more than 20,000 cards open in under two seconds", "Wall pages keep their zoom"),
        ),
        Version(
            "4.2.0",
            "3 September 2026",
            "Ageing by swimlane",
            ("Ageing can be split by swimlane", "Keyboard navigation in every chart"),
        ),
        Version("4.1.0", "12 June 2026", "Data tables", ("Every chart has its table one key away",)),
    ),
    security=_SECURITY,
    support=_SUPPORT,
    steps=("Choose a site you administer", "Confirm read access to boards", "Open any board and choose Charts"),
    gets_history=True,
)

STANDUP_WEATHER = App(
    key="com.fernhollow.standup-weather",
    plugin_id="1218457",
    name="Standup Weather",
    slug="standup-weather",
    partner=FERNHOLLOW,
    tagline="A ten-second check-in that shows how the team feels, week by week",
    description=(
        "Everyone picks a sky in the morning: clear, mixed, rain. Over weeks the skies become a climate, and a team "
        "can see its own seasons without anybody being singled out.",
        "Answers are never tied to a name, and a team of fewer than five shows no chart at all.",
    ),
    category="Team health",
    pricing="free",
    hosting=("cloud",),
    glyph="weather",
    hue="sky",
    teams="11,900",
    stars=(402, 97, 21, 6, 5),
    highlights=(
        Highlight("Ten seconds", "One tap in the board's header, then it gets out of the way."),
        Highlight("Nobody singled out", "No names are kept and small teams are never charted."),
        Highlight("Seasons, not scores", "Shown as weather, so no one is tempted to set a target."),
    ),
    scenes=(
        Scene("calendar", "A quarter of weather at one glance"),
        Scene("bars", "How often the sky changed, by week"),
    ),
    reviews=(
        Review(
            "Imke D.",
            "Lowland Radio",
            5,
            "11 November 2026",
            "The gentlest tool we have",
            "We noticed the grey weeks and moved a deadline. Nobody had to make a speech.",
        ),
        Review(
            "Sam O.",
            "Orchard Lane School",
            4,
            "29 September 2026",
            "Lovely, would like reminders",
            "People forget on Fridays. A small nudge at noon would do.",
            "Nudges are in since 2.6: they are off until a team switches them on.",
        ),
    ),
    plans=(Plan("Everyone", "Free", "no limits", ("All teams", "Twelve months of weather", "Nudges")),),
    versions=(
        Version("2.6.0", "14 October 2026", "Nudges", ("A quiet reminder at a time the team chooses",)),
        Version("2.5.2", "1 August 2026", "Small fixes", ("Right-to-left languages no longer mirror the clouds",)),
    ),
    security=_SECURITY,
    support=_SUPPORT,
    steps=("Choose a site you administer", "Pick the teams that want weather", "The sky appears in their board header"),
)

RELEASE_RIBBON = App(
    key="com.fernhollow.release-ribbon",
    plugin_id="1219033",
    name="Release Ribbon",
    slug="release-ribbon",
    partner=FERNHOLLOW,
    tagline="One ribbon across the top that shows what ships when, and what is in the way",
    description=(
        "Release Ribbon puts the next six releases on one line above every board. Work slides along it as it moves; "
        "whatever threatens a date shows up as a knot in the ribbon.",
        "It needs no second plan to maintain. The ribbon is made of the cards themselves.",
    ),
    category="Planning",
    pricing="paid",
    hosting=("cloud",),
    glyph="ribbon",
    hue="plum",
    teams="1,750",
    stars=(71, 22, 9, 2, 1),
    highlights=(
        Highlight("One line for everyone", "The same ribbon above each team's board."),
        Highlight("Knots, not red lights", "A knot names the card and the reason, and opens it."),
        Highlight("Notes write themselves", "Release notes are drafted from what was really finished."),
    ),
    scenes=(
        Scene("timeline", "Six releases on one ribbon"),
        Scene("page", "Draft release notes, ready to edit"),
    ),
    reviews=(
        Review(
            "Marek L.",
            "Pinegate Ferries",
            5,
            "23 October 2026",
            "No more release spreadsheet",
            "Four teams, one line. The knots are what we talk about in the weekly.",
        ),
        Review(
            "Joy A.",
            "Bluebell Savings",
            4,
            "8 September 2026",
            "Very good with one wish",
            "I would like to print the ribbon for our quarterly wall.",
        ),
    ),
    plans=(
        Plan("Team", "$2.10", "a person a month", ("Six releases ahead", "Drafted notes")),
        Plan("Organisation", "$1.50", "a person a month, over 250", ("Ribbons across sites", "Named contact")),
    ),
    versions=(
        Version("1.9.0", "5 November 2026", "Ribbons across sites", ("A ribbon can span up to eight sites",)),
        Version("1.8.3", "17 August 2026", "Calmer knots", ("A knot appears only after a day of waiting",)),
    ),
    security=_SECURITY,
    support=_SUPPORT,
    steps=("Choose a site you administer", "Tell the ribbon which field holds the release", "Invite a second team"),
)

LISTINGS = (BOARD_CHARTS, STANDUP_WEATHER, RELEASE_RIBBON)
