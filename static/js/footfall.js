/**
 * Footfall's snippet: tells the collector which listing was looked at, which tab was opened and which call to action
 * was followed. A classic script without dependencies and with one global, `footfall`; on a page it is
 * `<script async src="https://HOST/js/footfall.js" data-app="com.example.app"></script>`.
 *
 * The surprising thing: a click goes to three places, synchronously, in the handler that saw it. localStorage survives
 * a navigation; IndexedDB survives a killed browser, which localStorage does not in its first seconds; and fetch with
 * keepalive usually makes both needless. What remains is sent again by the next page under the same message id, which
 * the collector answers as a success.
 *
 * It is small because the collector does what it can do as well: it decodes and judges a partner's id, cuts secrets out
 * of addresses, completes links, names tabs, and sets the cookies again. The order of what follows is one that
 * compresses well; a test holds the size.
 *
 * @license Apache-2.0
 */
{
  /**
   * Errors end here: the page must never notice us.
   * @type {<T>(act: () => T) => T | undefined}
   */
  const quietly = (act) => {
    try {
      return act();
    } catch {}
  };

  quietly(() => {
    // ---- What the page says. ---------------------------------------------------------------------------------------

    const { src, dataset } = /** @type {HTMLScriptElement} */ (document.currentScript);

    const { app } = dataset;

    let { consent, user } = /** @type {Record<string, any>} */ (dataset); // 'required' until something is said

    const { fetch } = window; // as it is now: the page may replace it later

    const { stringify } = JSON;

    const stub = /** @type {any} */ (window.footfall); // or an element with that id, or an earlier copy of this script
    if (!app || stub?.version) return;

    const endpoint = new URL(dataset.endpoint || '../e', src);

    const partner = 'footfall_p_' + (dataset.partner || app);

    // ---- Activations of tabs and calls to action. ------------------------------------------------------------------

    /** @type {Element | null | undefined} */
    let last; // by this press of a key

    /** @type {(event: any, path?: any[], moment?: number) => void} */
    const notice = (event, path = event.composedPath(), moment) => {
      const find = (/** @type {string} */ selector) => path.find((node) => node.matches?.(selector));
      if (event.key ? !event.repeat : event.detail) last = null; // pressed anew, or a pointer
      if (event.key) {
        // A tab that follows the arrow keys is opened without any click.
        const list = find('[role=tablist]');
        const selected = () => list.querySelector('[aria-selected=true]');
        const before = selected();
        setTimeout(quietly, 0, () => before !== selected() && activate(selected()));
      } else {
        const element = event.button < 2 && event.isTrusted && find('[role=tab],[data-footfall-cta],[data-footfall-tab]');
        if (element) activate(element, moment);
        else look(event);
      }
    };

    /** @type {(element: HTMLElement, moment?: number) => void} */
    const activate = (element, moment) => {
      if (element === last) return;
      last = element;
      const { footfallCta, footfallTab } = element.dataset;
      record(
        {
          name: footfallCta === undefined ? 'tab_click' : 'cta_click',
          label: cut(footfallCta || element.ariaLabel || element.innerText),
          target: footfallTab || element.closest('[href]')?.getAttribute('href') || element.id,
        },
        moment,
      );
    };

    // ---- Views. ----------------------------------------------------------------------------------------------------

    let cameFrom = document.referrer;

    let page = ''; // that was seen last: its URL without the fragment

    /**
     * Counts a page once, when somebody sees it. Sends what waits.
     * @type {(event?: any) => void}
     */
    const look = (event) => {
      if (event?.persisted) {
        page = ''; // back from the back-forward cache: a new view, and the answers to the old one never came
        inFlight.clear();
      }
      const url = location.href;
      const seen = url.split('#')[0];
      if (!document.hidden && seen !== page) {
        cameFrom = page || cameFrom;
        page = seen;
        // routers set the title after the address
        setTimeout(quietly, 0, () => record({ name: 'page_view', title: cut(document.title), url }));
      }
      release();
    };

    // ---- Cookies: `<seconds of the first visit or arrival, base 36>.<value>`. --------------------------------------

    /** @type {Record<string, any>} */
    const known = {}; // where the browser keeps no cookies, an id lives as long as the page

    /** For 395 days; without a value, it is forgotten. */
    const remember = (/** @type {string} */ name, value = '') => {
      known[name] = value && `${Math.floor(Date.now() / 1000).toString(36)}.${value}`;
      quietly(() => {
        document.cookie = `${name}=${known[name]};max-age=${value ? 34128000 : 0};path=/;samesite=lax;domain=${dataset.cookieDomain || ''}${location.protocol > 'https' ? ';secure' : ''}`;
      });
    };

    const recall = (/** @type {string} */ name) =>
      (known[name] ??= quietly(() => `; ${document.cookie}`.split(`; ${name}=`)[1].split(';')[0]));

    /** Decimal digits, which are hexadecimal ones too. */
    const randomDigits = () =>
      crypto
        .getRandomValues(new Uint8Array(40))
        .map((byte) => byte % 10)
        .join('');

    // ---- Sending. --------------------------------------------------------------------------------------------------

    let delay = 400;

    let notBefore = 0;

    /** @type {Record<string, any>[]} */
    const held = []; // what happened and may not yet be stored; in memory only

    const send = async (/** @type {string[]} */ batch) => {
      batch.forEach((key) => inFlight.add(key));
      let wait = (delay = Math.min(delay * (1.5 + Math.random()), 60000));
      // joined by hand: a page may give its arrays a toJSON
      const body = `{"sentAt":${Date.now()},"events":[${batch.map((key) => outbox[key])}]}`;
      try {
        const { status, headers } = await fetch(endpoint, { keepalive: true, credentials: 'include', body, method: 'POST' });
        if (!/5..|408|429/.test(/** @type {any} */ (status))) {
          delay = 400;
          batch.forEach(remove);
          return quietly(release);
        }
        wait = 1000 * /** @type {any} */ (headers.get('retry-after')) || wait;
        notBefore = Date.now() + wait;
      } catch {
        // A beacon says no more than "queued", so the outbox keeps the events.
        quietly(() => navigator.sendBeacon(endpoint, body));
      }
      batch.forEach((key) => inFlight.delete(key));
      setTimeout(quietly, wait + 9, release);
    };

    /** Stores and sends what waits, if it may; before it returns, so that a click is gone before its page is. */
    const release = () => {
      if (recall('footfall_optout') || consent?.measurement === false) {
        // Withdrawn, or opted out: nothing of ours stays on the device.
        held.splice(0);
        waiting().forEach(remove);
        quietly(() => document.cookie.match(/footfall_[ip][^=;]+/g)?.forEach((name) => remember(name)));
        return indexedDB.deleteDatabase('footfall');
      }
      if (consent === 'required') return;
      if (!opening) quietly(open);
      for (const event of held.splice(0)) {
        if (!/\.[\da-f]{40}$/.test(recall('footfall_id'))) remember('footfall_id', randomDigits());
        const id = event.url.match(/[?&]partner_anonymous_id=([^&#;]{1,700})/)?.[1];
        if (id) remember(partner, app + ':' + id);
        const key = 'footfall.' + event.messageId;
        const text = stringify({
          anonymousId: recall('footfall_id').split('.')[1],
          gpc: /** @type {any} */ (navigator).globalPrivacyControl,
          partner: recall(partner),
          consent,
          user,
          ...event,
        });
        try {
          outbox[key] = text;
        } catch {
          outbox = { [key]: text };
        }
        log((store) => store.put([key, text], key));
        waiting().slice(0, -200).forEach(remove);
      }
      const batch = waiting()
        .filter((key) => !inFlight.has(key))
        .slice(-7);
      if (batch[0] && Date.now() >= notBefore) send(batch);
    };

    // ---- The outbox: localStorage, a key per event because tabs share it without a lock; and a log in IndexedDB. ---

    /** @type {any} */
    let opening;

    /** @type {Record<string, string>} */
    let outbox = quietly(() => localStorage) ?? {};

    const inFlight = new Set(); // keys, not a lock: a slow answer holds up nobody

    const open = () => {
      opening = indexedDB.open('footfall');
      opening.onupgradeneeded = () => opening.result.createObjectStore('footfall');
      opening.onsuccess = () => {
        opening.result.onversionchange = () => opening.result.close();
        log((store) => {
          store.getAll().onsuccess = (/** @type {any} */ { target }) =>
            quietly(() => {
              for (const [key, text] of target.result) if (!inFlight.has(key)) outbox[key] = text;
              release();
            });
        });
      };
    };

    const remove = (/** @type {string} */ key) => {
      log((store) => store.delete(key));
      delete outbox[key];
    };

    const log = (/** @type {(store: IDBObjectStore) => unknown} */ act) =>
      quietly(() => act(opening.result.transaction('footfall', 'readwrite').objectStore('footfall')));

    const waiting = () =>
      Object.keys(outbox)
        .filter((key) => key.startsWith('footfall.0'))
        .sort();

    // ---- Events. ---------------------------------------------------------------------------------------------------

    const record = (/** @type {object} */ details, moment = Date.now(), random = randomDigits()) => {
      held.push({
        // UUIDv7 (RFC 9562) without hyphens; the milliseconds have eleven digits until the year 2527
        messageId: `0${moment.toString(16)}7${random.slice(37)}8${random.slice(0, 15)}`,
        referrer: cameFrom,
        url: location.href,
        occurredAt: moment,
        version: api.version,
        app,
        ...details,
      });
      release();
    };

    /** By code point: half a surrogate pair is nothing that a collector can decode. */
    const cut = (/** @type {string | undefined} */ text) => text?.match(/\S.{0,199}/su)?.[0];

    // ---- What the page may call. -----------------------------------------------------------------------------------

    /** @type {Record<string, (...args: any[]) => unknown>} */
    const commands = {
      click: notice, // only the stub: it happened before we came
      record, // only the stub: it happened on a page that was left before we came
      user: (token) => (user = token),
      optout: () => remember('footfall_optout', '1'),
      consent: (said) => (consent = said),
      optin: () => remember('footfall_optout'),
    };

    /** @type {any} */
    const api = (/** @type {string} */ command, /** @type {any[]} */ ...args) =>
      quietly(() => {
        commands[command](...args);
        release();
      });

    api.version = '__VERSION__';
    window.footfall = api;

    // ---- From here on it listens: on the window, in the capture phase, before a page can stop an event. -------------

    const listen = (/** @type {Event} */ event) => quietly(() => notice(event));

    for (const type of ['auxclick', 'visibilitychange', 'click', 'keydown', 'pageshow', 'online']) {
      addEventListener(type, listen, true);
    }

    const { navigation } = /** @type {any} */ (window); // before 2026 not in all browsers, or an element with that id
    if (navigation?.currentEntry) navigation.addEventListener('currententrychange', listen);
    else setInterval(quietly, 400, look);

    quietly(() => {
      for (const call of stub.q.splice(0)) api(...call);
      stub.q.push = quietly; // the stub goes on listening, for nobody
    });
    look();
  });
}
