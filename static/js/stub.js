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
  /** @type {any[]} */
  const calls = []; // the snippet empties it and makes its push do nothing
  /** @type {any} */
  const stub = (/** @type {any[]} */ ...call) => calls.push(call);
  stub.q = calls;
  window.footfall = stub;

  // The path is copied at once: it is empty when the event is over.
  addEventListener('click', (event) => stub('click', event, event.composedPath(), Date.now()), true);

  addEventListener('pagehide', () => {
    try {
      const { app, consent } = /** @type {any} */ (document.querySelector('[data-app]')).dataset;
      if (consent || /optout/.test(document.cookie)) return;
      // Only a click has a path: a call, or nothing at all, ends it here.
      const [cta, moment] = /** @type {any[]} */ (
        calls.map(([, , path, moment]) => [path.find((/** @type {any} */ node) => node.dataset?.footfallCta), moment]).pop()
      );
      const click = { name: 'cta_click', app, url: location.href, label: cta.dataset.footfallCta, target: cta.href };
      localStorage.footfall = JSON.stringify([click, moment]);
    } catch {}
  });

  try {
    stub('record', ...JSON.parse(localStorage.footfall));
    delete localStorage.footfall;
  } catch {}
}
