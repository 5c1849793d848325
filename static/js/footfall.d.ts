/**
 * Types for `window.footfall(...)`, the one global of Footfall's snippet. Copy this file next to your own types, or
 * refer to it with `/// <reference path="footfall.d.ts" />`.
 *
 * The surprising thing: it can be missing. Where the script is blocked and there is no stub, `footfall` is undefined.
 */

interface FootfallConsent {
  /** May page views and clicks be kept and sent at all? `false` empties cookies and storage. */
  measurement: boolean;
  /** May they be passed on to the partner whose listing it is? @defaultValue false */
  sharing?: boolean;
}

interface Footfall {
  /** Says what the visitor agreed to. Call it on every page: Footfall does not remember it. */
  (command: 'consent', consent: FootfallConsent): void;
  /** Stops everything, empties cookies and storage, and remembers that in a cookie. */
  (command: 'optout'): void;
  /** Takes an `optout` back. */
  (command: 'optin'): void;
  /** The signed token of the person who has signed in, or `null` after signing out. */
  (command: 'user', token: string | null): void;
  /** Of the script. Absent as long as only a stub is there. */
  readonly version?: string;
  /** Calls made before the script arrived; only a stub has them. */
  q?: Iterable<any>[];
}

interface Window {
  footfall?: Footfall;
}
