// Menus and questions that open over the page are plain <details>. With this, Escape closes the one that is open and gives
// its button the focus back, and so does a press anywhere else, without the focus.

const OVER = 'details.menu[open], details.sure[open]';

document.addEventListener('keydown', (event) => {
  if (event.key !== 'Escape') return;
  for (const one of document.querySelectorAll(OVER)) {
    if (one.contains(document.activeElement)) one.querySelector('summary')?.focus();
    one.removeAttribute('open');
  }
});

document.addEventListener('pointerdown', (event) => {
  for (const one of document.querySelectorAll(OVER)) {
    if (event.target instanceof Node && !one.contains(event.target)) one.removeAttribute('open');
  }
});

// A row of links that is wider than the window begins where one is.
for (const one of document.querySelectorAll('.tabs [aria-current], .views [aria-current]')) {
  const row = one.parentElement;
  const last = one.getBoundingClientRect().right;
  if (row && last > row.getBoundingClientRect().right) row.scrollLeft += last - row.getBoundingClientRect().right + 24;
}
