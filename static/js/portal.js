// The portal's pages work without this. With it, a page of live events grows by itself, and a link is built while one types.
// Nothing is asked while nobody looks: following rests while the page is hidden or paused.

/** @typedef {{ newest: number, more: boolean, rows: Element[], rejections: Element[] }} News */

const EVERY = 2000; // milliseconds
const MOST_ROWS = 300;

/** @param {string} selector @param {ParentNode} within @returns {HTMLElement} */
const part = (selector, within = document) => {
  const found = within.querySelector(selector);
  if (!(found instanceof HTMLElement)) throw new Error(`there is no ${selector}`);
  return found;
};

// --- live events

/** What came since. @param {string} address @param {number} after @returns {Promise<News>} */
const ask = async (address, after) => {
  const answer = await fetch(`${address}&after=${after}`, { headers: { Accept: 'text/html' }, redirect: 'error' });
  if (!answer.ok) throw new Error(`the answer was ${answer.status}`);
  const news = new DOMParser().parseFromString(await answer.text(), 'text/html');
  const told = part('[data-newest]', news);
  return {
    newest: Number(told.dataset.newest),
    more: told.dataset.more !== undefined,
    rows: [...part('[data-live-events]', told).children],
    rejections: [...part('[data-live-rejections]', told).children],
  };
};

/** @param {News} news */
const put = (news) => {
  const rows = part('[data-live-events]');
  for (const row of news.rows) row.classList.add('is-new');
  rows.prepend(...news.rows.map((row) => document.importNode(row, true)));
  while (rows.children.length > MOST_ROWS) rows.lastElementChild?.remove();
  if (news.rows.length > 0) document.querySelector('[data-live-empty]')?.remove();
  const list = part('[data-live-rejections]');
  if (list.querySelector('details[open]') === null) list.replaceChildren(...news.rejections.map((item) => document.importNode(item, true)));
  document.querySelector('[data-none]')?.toggleAttribute('hidden', news.rejections.length > 0);
};

/** @param {HTMLElement} bar */
const follow = (bar) => {
  const state = part('[data-follow-state]', bar);
  const button = part('[data-follow-pause]', bar);
  let newest = Number(bar.dataset.newest);
  let isPaused = false;

  /** @param {string} text @param {string} mood */
  const say = (text, mood) => {
    if (state.textContent !== text) state.textContent = text;
    bar.dataset.mood = mood;
  };

  const look = async () => {
    try {
      const news = await ask(String(bar.dataset.news), newest);
      if (news.more) location.reload(); // more came than is shown at once
      newest = news.newest;
      put(news);
      if (!isPaused) say('Following', 'following');
    } catch {
      say('No answer. Trying again.', 'trouble');
    }
  };

  const tick = async () => {
    if (!isPaused && document.visibilityState === 'visible') await look();
    setTimeout(tick, EVERY);
  };

  button.hidden = false;
  button.addEventListener('click', () => {
    isPaused = !isPaused;
    button.textContent = isPaused ? 'Go on' : 'Pause';
    say(isPaused ? 'Paused' : 'Following', isPaused ? 'paused' : 'following');
  });
  say('Following', 'following');
  setTimeout(tick, EVERY);
};

const bar = document.querySelector('[data-follow]');
if (bar instanceof HTMLElement) {
  if (bar.dataset.still === undefined) follow(bar);
  else part('[data-follow-state]', bar).textContent = 'Older events';
}

// --- links for ads, as collector/portal/ad_links.py builds them

/** Braces stay: they are placeholders. @param {string} text */
const encoded = (text) => encodeURIComponent(text).replaceAll('%7B', '{').replaceAll('%7D', '}');

/** @param {string} pair */
const nameOf = (pair) => {
  try {
    return decodeURIComponent(pair.split('=', 1)[0].replaceAll('+', ' '));
  } catch {
    return pair;
  }
};

/** @param {string} page @param {[string, string][]} values */
const link = (page, values) => {
  if (!/^https?:\/\/[^/?#]/i.test(page)) return '';
  const [whole, ...fragment] = page.split('#');
  const [path, ...query] = whole.split('?');
  const names = values.map(([name]) => name);
  const given = query.join('?').split('&').filter((pair) => pair && !names.includes(nameOf(pair)));
  const ours = values.filter(([, value]) => value.trim()).map(([name, value]) => `${name}=${encoded(value.trim())}`);
  const all = [...given, ...ours].join('&');
  const after = fragment.join('#');
  return path + (all ? `?${all}` : '') + (after ? `#${after}` : '');
};

const builder = document.querySelector('[data-link-builder]');
if (builder instanceof HTMLFormElement) {
  const out = part('[data-link]');
  builder.addEventListener('input', () => {
    const fields = /** @type {[string, string][]} */ ([...new FormData(builder)].map(([name, value]) => [name, String(value)]));
    const to = fields.find(([name]) => name === 'to')?.[1].trim() ?? '';
    out.textContent = link(to, fields.filter(([name]) => name !== 'to')) || 'Enter the address of a page first.';
  });
}
