"""Which user agents are bots.

A bot is an agent that says so itself. Headless browsers and HTTP libraries are no bots by that rule: partners check
their own listings with them, and a scraper that hides is not found by a list anyway (docs/decisions/0006).
"""

from __future__ import annotations

import re
from functools import lru_cache

_BOT = re.compile(
    r"(?<!cu)bots?\b|crawl|spider|slurp|archiver|facebookexternalhit|mediapartners-google|feedfetcher"
    r"|google-(?:inspectiontool|read-aloud|safety)|lighthouse|pagespeed|pingdom|uptime|statuscake|monitoring"
    r"|linkpreview|bingpreview|embedly|whatsapp/|skypeuripreview|chatgpt-user|perplexity-user|claude-user",
    re.IGNORECASE,
)


@lru_cache(maxsize=2048)
def is_bot(user_agent: str) -> bool:
    """Whether the agent names itself a crawler, monitor or preview. (A Cubot is a phone.)"""
    return _BOT.search(user_agent[:512]) is not None
