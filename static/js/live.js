// The live page: asks once a second what landed since the last answer, and puts it on top of its partner's column.
// Cards are clones of the page's own template, filled in as text. Nobody looks, nothing is asked: polling rests while the
// page is hidden or paused.

const EVERY = 1000; // milliseconds
const MOST_CARDS = 100; // per column

const page = document.querySelector('[data-live]');
const template = document.getElementById('landed-template');
const kinds = JSON.parse(template.dataset.kinds);
const state = page.querySelector('[data-live-state]');
const pauseButton = page.querySelector('[data-live-pause]');
const pipeline = document.querySelector('[data-pipeline]');

let following = Number(page.dataset.following);
let isPaused = false;

/** One landed event as a card. */
const card = (item) => {
  const made = template.content.firstElementChild.cloneNode(true);
  made.className = `event kind-${item.kind} is-new`;
  made.dataset.number = item.number;
  const lag = item.lag === null ? '' : `${item.lag} s later`;
  const shown = { ...item, kind: kinds[item.kind], lag };
  made.querySelector('use').setAttribute('href', `#kind-${item.kind}`);
  for (const slot of made.querySelectorAll('[data-slot]')) {
    slot.textContent = shown[slot.dataset.slot];
    if (slot.localName === 'time') slot.dateTime = item.landed_at;
    const row = slot.closest('.ids li');
    if (row) row.hidden = !slot.textContent;
  }
  return made;
};

const put = (item) => {
  const column = page.querySelector(`ol[data-partner="${CSS.escape(item.partner)}"]`) ?? page.querySelector('ol[data-partner="other"]');
  const source = column.closest('.source');
  const count = source.querySelector('[data-count]');
  column.prepend(card(item));
  if (column.children.length > MOST_CARDS) column.lastElementChild.remove();
  count.textContent = Number(count.textContent) + 1;
  source.hidden = false;
  source.querySelector('.source-empty')?.setAttribute('hidden', '');
};

const beat = () => {
  pipeline.classList.remove('is-flowing');
  requestAnimationFrame(() => pipeline.classList.add('is-flowing'));
};

const say = (text, mood) => {
  if (state.textContent !== text) state.textContent = text;
  page.dataset.mood = mood;
};

const ask = async () => {
  const answer = await fetch(`/demo/live.json?since=${following}`);
  if (!answer.ok) throw new Error(`the answer was ${answer.status}`);
  const { next, landed } = await answer.json();
  if (next < following) location.reload(); // the fake Segment was emptied
  following = next;
  for (const item of landed) put(item);
  if (landed.length > 0) beat();
};

const tick = async () => {
  if (!isPaused && document.visibilityState === 'visible') {
    try {
      await ask();
      say('Listening', 'listening');
    } catch {
      say('Segment is not answering. Trying again.', 'trouble');
    }
  }
  setTimeout(tick, EVERY);
};

pauseButton.hidden = false;
pauseButton.addEventListener('click', () => {
  isPaused = !isPaused;
  pauseButton.textContent = isPaused ? 'Go on' : 'Pause';
  say(isPaused ? 'Paused' : 'Listening', isPaused ? 'paused' : 'listening');
});
tick();
