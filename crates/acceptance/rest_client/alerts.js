// Lists and fetches alerts with the official client for Node, unmodified except for its base URL. alerts.py writes the
// expected SIDs and codes to the standard input. Prints the number of checks.
"use strict";

const assert = require("node:assert");
const fs = require("node:fs");
const twilio = require("twilio");

let checks = 0;

function same(got, wanted) {
  assert.deepStrictEqual(got, wanted);
  checks += 1;
}

async function refused(call, status, code) {
  await assert.rejects(call, { status, code });
  checks += 1;
}

async function main() {
  const { base, sid, token, sids, codes, unknown } = JSON.parse(fs.readFileSync(0, "utf8"));
  const client = twilio(sid, token);
  client.monitor.baseUrl = base;
  const alerts = client.monitor.v1.alerts;
  const day = 24 * 60 * 60 * 1000;
  const found = async (options) => (await alerts.list(options)).map((row) => row.sid);

  const rows = await alerts.list();
  same(rows.map((row) => row.errorCode), codes);
  same(rows.map((row) => row.sid), sids);
  same(await found({ pageSize: 1 }), sids);
  same(await found({ limit: 2 }), sids.slice(0, 2));
  same(await found({ startDate: new Date(Date.now() - day), endDate: new Date(Date.now() + day) }), sids);
  same(await found({ startDate: new Date(Date.now() + day) }), []);
  same(await found({ logLevel: "error" }), sids);
  same(await found({ logLevel: "notice" }), []);

  for (const row of rows) {
    const one = await alerts(row.sid).fetch();
    same([one.sid, one.accountSid, one.errorCode], [row.sid, sid, row.errorCode]);
    same([one.url, one.logLevel, one.requestMethod], [`${base}/v1/Alerts/${row.sid}`, "error", null]);
  }
  const { dateCreated, alertText } = rows[2];
  same([dateCreated instanceof Date, Date.now() - dateCreated < day], [true, true]);
  assert.match(alertText, /wrong-credentials \(wrong-password\)/);

  const page = await alerts.page({ pageSize: 3 });
  const last = await page.nextPage();
  same(last.instances.map((row) => row.sid), sids.slice(3));
  await refused(() => alerts(unknown).fetch(), 404, 20404);

  const stranger = twilio(sid, "x".repeat(32));
  stranger.monitor.baseUrl = base;
  await refused(() => stranger.monitor.v1.alerts.list(), 401, 20003);
  console.log(`${checks} checks`);
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
