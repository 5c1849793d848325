"""What the pages of numbers are called, by their names in addresses, in the order of the navigation."""

TITLES = {
    "overview": "Overview",
    "funnel": "Funnel",
    "sources": "Sources",
    "clicks": "Clicks",
    "journeys": "Journeys",
    "attribution": "Attribution",
    "visitors": "Visitors",
    "audiences": "Audiences",
}
