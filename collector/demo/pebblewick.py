"""The three listings of Pebblewick, a partner in the European Union.

Their Segment sources are in the EU region, so the exporter sends their events to another host than everybody else's.
"""

from __future__ import annotations

from collector.demo.listing import App, Fact, Highlight, Partner, Plan, Review, Scene, Version

PEBBLEWICK = Partner(
    key="pebblewick",
    partner_id="1209142",
    name="Pebblewick",
    about="A co-operative of fourteen that builds calm tools for hours, holidays and audits.",
    home="Ghent, Belgium",
    site="pebblewick.example",
)

_SUPPORT = (
    Fact("Hours", "Monday to Friday, 9:00 to 17:30 in Ghent"),
    Fact("First answer", "The same working day"),
    Fact("Ways to ask", "Support desk, e-mail, telephone for organisations"),
    Fact("Languages", "English, Dutch, French"),
)
_SECURITY = (
    Fact("Data stored outside your site", "Hours, absences and audit notes that people enter in our apps"),
    Fact("Where", "Belgium and the Netherlands only"),
    Fact("Encryption", "TLS 1.3 in transit, AES-256 at rest, a key of your own on request"),
    Fact("Deletion", "Removed 14 days after you uninstall, with a signed confirmation"),
    Fact("Permissions", "Read people and cards, write work logs"),
    Fact("Agreement", "A data processing agreement is part of the terms; nothing to sign separately"),
)

TIME_POCKETS = App(
    key="eu.pebblewick.time-pockets",
    plugin_id="1220118",
    name="Time Pockets",
    slug="time-pockets",
    partner=PEBBLEWICK,
    tagline="Time tracking for people who dislike time tracking",
    description=(
        "Put hours into pockets, not into cards. A pocket is a customer, a project or simply Thursday. "
        "At the end of the week Time Pockets proposes where the hours went, and you correct the two that are wrong.",
        "Finance gets a tidy sheet. Everybody else gets their Friday afternoon back.",
    ),
    category="Time tracking",
    pricing="paid",
    hosting=("cloud", "server"),
    glyph="pockets",
    hue="amber",
    teams="6,050",
    stars=(231, 88, 27, 11, 6),
    highlights=(
        Highlight("Proposed, not demanded", "The week fills itself from what you worked on. You only correct."),
        Highlight("Pockets travel", "One pocket can span boards, teams and sites."),
        Highlight("A sheet finance likes", "Rounding, rates and approvals the way your books need them."),
    ),
    scenes=(
        Scene("calendar", "A proposed week, waiting for two corrections"),
        Scene("bars", "Hours by pocket, this month and last"),
        Scene("form", "Approval in one screen"),
    ),
    reviews=(
        Review(
            "Lotte B.",
            "Dunes & Daughters",
            5,
            "6 November 2026",
            "Correct two, done",
            "I used to lose an hour every Friday. It proposes, I fix two lines, I go home.",
        ),
        Review(
            "Per H.",
            "Northbank Surveyors",
            4,
            "30 September 2026",
            "Rates took a while",
            "Setting up rates for three countries needed a call. They were kind about it.",
            "Thank you, Per. There is now a page for exactly that, with your case as the example.",
        ),
        Review(
            "Dilan K.",
            "Cobalt Kitchens",
            5,
            "2 September 2026",
            "Finance stopped asking",
            "The monthly sheet arrives before they remember to ask.",
        ),
    ),
    plans=(
        Plan("Up to 5 people", "Free", "for ever", ("Unlimited pockets", "Weekly proposal")),
        Plan("Team", "€2.20", "a person a month", ("Approvals", "Rates and rounding", "Monthly sheet")),
        Plan("Organisation", "€1.60", "a person a month, over 200", ("Several sites", "Your own encryption key")),
    ),
    versions=(
        Version(
            "7.1.0", "9 November 2026", "Pockets across sites", ("Share a pocket between sites", "Faster monthly sheet")
        ),
        Version("7.0.2", "20 August 2026", "Rounding", ("Rounding rules can differ by customer",)),
    ),
    security=_SECURITY,
    support=_SUPPORT,
    steps=("Choose a site you administer", "Name your first three pockets", "Wait for Friday"),
    region="eu",
)

LEAVE_ALMANAC = App(
    key="eu.pebblewick.leave-almanac",
    plugin_id="1220164",
    name="Leave Almanac",
    slug="leave-almanac",
    partner=PEBBLEWICK,
    tagline="Who is away, at a glance, where the planning happens",
    description=(
        "Leave Almanac shows absences in the places where people plan: on the board, on the roadmap, in the release. "
        "It knows public holidays in 60 countries and the half-days nobody remembers.",
        "Because it touches people's data, your administrator approves it before the first install.",
    ),
    category="People",
    pricing="request",
    hosting=("cloud",),
    glyph="almanac",
    hue="leaf",
    teams="2,400",
    stars=(96, 31, 8, 3, 1),
    highlights=(
        Highlight("Where planning happens", "Absences appear beside the work they affect."),
        Highlight("Sixty countries", "Public holidays and regional half-days are kept for you."),
        Highlight("Reasons stay private", "The team sees that you are away, never why."),
    ),
    scenes=(
        Scene("calendar", "The month with everybody's days in it"),
        Scene("board", "A gentle mark on cards whose owner is away"),
    ),
    reviews=(
        Review(
            "Ewa M.",
            "Halyard Insurance",
            5,
            "27 October 2026",
            "Planned around it, for once",
            "We saw that half the team was away in week 32 before we promised anything.",
        ),
        Review(
            "Chris T.",
            "Lantern Theatre",
            4,
            "15 August 2026",
            "Approval was quick",
            "Our administrator wanted to read the privacy page. She approved it the same day.",
        ),
    ),
    plans=(
        Plan("Team", "€0.80", "a person a month", ("Absences on boards", "Public holidays")),
        Plan("Organisation", "On request", "over 200 people", ("Import from your personnel system", "Named contact")),
    ),
    versions=(
        Version("3.4.0", "21 October 2026", "Half-days", ("Regional half-days for Spain, Switzerland and Brazil",)),
        Version("3.3.0", "8 July 2026", "Roadmap marks", ("Absences on the roadmap",)),
    ),
    security=_SECURITY,
    support=_SUPPORT,
    steps=("Send a request to your administrator", "They approve it for a site", "Import this year's absences"),
    region="eu",
)

AUDIT_LANTERN = App(
    key="eu.pebblewick.audit-lantern",
    plugin_id="1220309",
    name="Audit Lantern",
    slug="audit-lantern",
    partner=PEBBLEWICK,
    tagline="Evidence for auditors, gathered while you work",
    description=(
        "Audit Lantern watches for the moments an auditor will ask about: who approved, who changed, who could see. "
        "It files each as evidence under the control it belongs to.",
        "When the audit comes, you hand over a binder and not a fortnight of searching.",
    ),
    category="Compliance",
    pricing="request",
    hosting=("cloud", "server"),
    glyph="lantern",
    hue="rust",
    teams="640",
    stars=(38, 11, 2, 1, 0),
    highlights=(
        Highlight("Evidence as it happens", "Approvals and changes are filed the moment they occur."),
        Highlight("Your controls", "Start from a common catalogue or bring your own."),
        Highlight("A binder, not a search", "One export with an index and a checksum for each page."),
    ),
    scenes=(
        Scene("form", "One control with its evidence"),
        Scene("page", "The binder's index"),
    ),
    reviews=(
        Review(
            "Ingrid S.",
            "Fjordbank Leasing",
            5,
            "12 October 2026",
            "The auditor thanked us",
            "That has not happened before. The binder answered every question on the first day.",
        ),
    ),
    plans=(Plan("Organisation", "On request", "by number of controls", ("All controls", "Quarterly review with us")),),
    versions=(
        Version("2.2.0", "2 October 2026", "Checksums", ("Each binder page carries its checksum",)),
        Version("2.1.0", "30 May 2026", "Bring your own controls", ("Import a control catalogue from a sheet",)),
    ),
    security=_SECURITY,
    support=_SUPPORT,
    steps=(
        "Send a request to your administrator",
        "Choose the controls you report on",
        "Check the first week's evidence",
    ),
    region="eu",
)

LISTINGS = (TIME_POCKETS, LEAVE_ALMANAC, AUDIT_LANTERN)
