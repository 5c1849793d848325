// Segment's client for Node, with a thousand mixed calls: half of them, then a line on standard output, and when a line
// comes back the rest. Arguments: where the client is installed, the host to send to, the write key.
const [modules, host, writeKey] = process.argv.slice(2);
const { Analytics } = require(require.resolve("@segment/analytics-node", { paths: [modules] }));
const analytics = new Analytics({ host, writeKey, flushAt: 20, httpRequestTimeout: 60000 });
const refused = [];
analytics.on("error", (error) => refused.push(String(error.reason ?? error.code)));

function call(n) {
  const userId = `user-${n % 50}`;
  const calls = [
    () => analytics.track({ userId, event: "Report Exported", properties: { n } }),
    () => analytics.identify({ userId, traits: { plan: "pro", n } }),
    () => analytics.page({ anonymousId: `anonymous-${n}`, name: "Docs", properties: { n } }),
    () => analytics.screen({ userId, name: "Main", properties: { n } }),
    () => analytics.group({ userId, groupId: "acme", traits: { n } }),
    () => analytics.alias({ userId, previousId: `anonymous-${n}` }),
  ];
  calls[n % calls.length]();
}

for (let n = 0; n < 500; n++) call(n);
analytics.flush().then(() => console.log("half"));
process.stdin.once("data", async () => {
  for (let n = 500; n < 1000; n++) call(n);
  await analytics.closeAndFlush({ timeout: 60000 });
  console.log(JSON.stringify(refused));
  process.exit(0);
});
