/**
 * The stub: optional, inline in the page's head, before anything else. It takes `footfall(...)` calls and clicks that
 * come before the snippet has arrived, and hands them over when it does.
 *
 * The surprising thing is the page that is left before that. The stub then writes down the call to action that was
 * clicked, and the stub of the next page hands it to the snippet there. It cannot ask anybody by then, so it writes
 * nothing where the snippet might not have: when the page requires consent, when it has said anything about consent or
 * opting out, and when the visitor has opted out.
 *
 * Its sha256 for `script-src` is `stubIntegrity` in dist/manifest.json.
 *
 * @license Apache-2.0
 */
{
  /** @type {any} */
  const stub = (/** @type {any[]} */ ...call) => stub.q.push(call);
  window.footfall = stub;
  stub.q = []; // the snippet empties it and makes its push do nothing

  addEventListener('pagehide', () => {
    try {
      const { app, consent } = /** @type {any} */ (document.querySelector('[data-app]')).dataset;
      // Only a click has a path: a call says that the page wants to decide for itself.
      if (!consent && !document.cookie.includes('optout') && stub.q.every((/** @type {any[]} */ [, , path]) => path)) {
        for (const [, , path, moment] of stub.q) {
          const cta = path.find((/** @type {any} */ node) => node.dataset?.footfallCta);
          if (cta) localStorage.footfall = JSON.stringify([{ url: location.href, target: cta.href, app, name: 'cta_click', label: cta.dataset.footfallCta }, moment]);
        }
      }
    } catch {}
  });

  // The path is copied at once: it is empty when the event is over.
  addEventListener('click', (event) => stub('click', event, event.composedPath(), Date.now()), true);

  try {
    stub('record', ...JSON.parse(localStorage.footfall));
    delete localStorage.footfall;
  } catch {}
}
