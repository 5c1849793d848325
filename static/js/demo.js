// A listing of the demo marketplace: tabs that switch in place, and the bar that asks for consent.
// Every tab is a real link, so nothing here is needed to read the page. Arrow keys only move the focus; Enter, Space or a
// click opens a tab. That way one opened tab is one entry in the history and one click for the snippet to see.

const list = document.querySelector('[role="tablist"]');
const tabs = [...(list?.querySelectorAll('[role="tab"]') ?? [])];
const tabOf = (url) => new URL(url, location.href).searchParams.get('tab') ?? 'overview';

/** @param {string} id the tab to show; an unknown one shows the first */
const show = (id) => {
  const chosen = tabs.find((tab) => tab.dataset.footfallTab === id) ?? tabs[0];
  for (const tab of tabs) {
    const isChosen = tab === chosen;
    tab.setAttribute('aria-selected', String(isChosen));
    tab.tabIndex = isChosen ? 0 : -1;
    document.getElementById(tab.getAttribute('aria-controls')).hidden = !isChosen;
  }
  const title = chosen === tabs[0] ? '' : `: ${chosen.textContent}`;
  document.title = `${list.dataset.name}${title}`;
  bring(chosen);
};

/** Scrolls the row of tabs, never the page. */
const bring = (tab) => {
  const middle = tab.offsetLeft - (list.clientWidth - tab.offsetWidth) / 2;
  list.scrollTo({ left: middle, behavior: calm() ? 'auto' : 'smooth' });
};
const calm = () => matchMedia('(prefers-reduced-motion: reduce)').matches;

const isPlain = (event) => event.button === 0 && !(event.ctrlKey || event.metaKey || event.shiftKey || event.altKey);

/** @param {string} href a tab's address, wherever on the page its link is */
const open = (href) => {
  if (href !== location.href) history.pushState(null, '', href);
  show(tabOf(href));
};

document.addEventListener('click', (event) => {
  const link = event.target.closest?.('[role="tab"], a.rating');
  if (!link || !list || !isPlain(event)) return;
  event.preventDefault();
  open(link.href);
});

const STEPS = { ArrowLeft: -1, ArrowRight: 1 };
list?.addEventListener('keydown', (event) => {
  const here = tabs.indexOf(document.activeElement);
  if (here < 0) return;
  if (event.key === ' ') document.activeElement.click();
  else if (event.key === 'Home') tabs[0].focus();
  else if (event.key === 'End') tabs.at(-1).focus();
  else if (event.key in STEPS) tabs.at((here + STEPS[event.key]) % tabs.length).focus();
  else return;
  event.preventDefault();
});

addEventListener('popstate', () => list && show(tabOf(location.href)));
if (list) bring(list.querySelector('[aria-selected="true"]'));

// ---- consent --------------------------------------------------------------------------------------------------------

const CHOICES = {
  all: { measurement: true, sharing: true },
  measurement: { measurement: true, sharing: false },
  none: { measurement: false, sharing: false },
};
const COOKIE = 'footfall_demo_consent';
const bar = document.querySelector('[data-consent-bar]');

// The queue: what is said before the snippet has loaded is kept for it.
window.footfall ??= Object.assign((...call) => window.footfall.q.push(call), { q: [] });

const choose = (choice) => {
  window.footfall('consent', CHOICES[choice]);
  bar.hidden = true;
};

if (bar) {
  const [, remembered] = document.cookie.match(new RegExp(`(?:^|; )${COOKIE}=(\\w+)`)) ?? [];
  if (remembered in CHOICES) choose(remembered);
  else bar.hidden = false;
  bar.addEventListener('click', ({ target }) => {
    const choice = target.closest('[data-consent-choice]')?.dataset.consentChoice;
    if (!choice) return;
    document.cookie = `${COOKIE}=${choice}; Path=/demo; SameSite=Lax`;
    choose(choice);
  });
}
