#!/usr/bin/env node
// Opens report pages in headless Chromium. No package is needed but, for `check`, a copy of axe-core.
//
//   scripts/page.mjs check AXE.JS PAGE…      every page, narrow in light and wide in dark colours: ends 1 on what axe-core
//                                            finds, on what is wider than the window, and on what the page logs
//   scripts/page.mjs picture PAGE OUT.png [WIDTH [HEIGHT]] [dark]      HEIGHT 0: all of the page
//
// CHROMIUM names the browser, else the first that is found.
import { spawn, spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { pathToFileURL } from "node:url";

const WAYS = [
  { width: 390, dark: false },
  { width: 1280, dark: true },
];

function browser() {
  const there = (name) => !spawnSync(name, ["--version"]).error;
  return process.env.CHROMIUM ?? ["chromium", "chromium-browser", "google-chrome"].find(there);
}

/** A browser that obeys: `send` a method of the DevTools protocol, `on` an event of it. */
function start(program) {
  const profile = mkdtempSync(join(tmpdir(), "page-"));
  const flags = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--hide-scrollbars"];
  const quiet = ["--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage"];
  const child = spawn(program, [...flags, ...quiet, "--remote-debugging-pipe", `--user-data-dir=${profile}`, "about:blank"], {
    stdio: ["ignore", "ignore", "ignore", "pipe", "pipe"],
  });
  const waiting = new Map();
  const listeners = [];
  let last = 0;
  let rest = "";
  child.stdio[4].setEncoding("utf8").on("data", (data) => {
    const messages = (rest + data).split("\0");
    rest = messages.pop();
    for (const message of messages.map((text) => JSON.parse(text))) {
      const { id, error, result } = message;
      if (!id) listeners.forEach((listener) => listener(message));
      else if (error) waiting.get(id).reject(new Error(error.message));
      else waiting.get(id).resolve(result);
    }
  });
  const send = (method, params = {}, sessionId = undefined) => {
    last += 1;
    child.stdio[3].write(`${JSON.stringify({ id: last, method, params, sessionId })}\0`);
    return new Promise((resolve, reject) => waiting.set(last, { resolve, reject }));
  };
  const end = async () => {
    const gone = new Promise((resolve) => child.on("exit", resolve));
    await send("Browser.close").catch(() => child.kill());
    await gone;
    rmSync(profile, { recursive: true, force: true, maxRetries: 5 });
  };
  return { send, end, on: (listener) => listeners.push(listener) };
}

/** A tab in which a page is open, as it is on a screen of this width. */
async function tab(chromium) {
  const { targetId } = await chromium.send("Target.createTarget", { url: "about:blank" });
  const { sessionId } = await chromium.send("Target.attachToTarget", { targetId, flatten: true });
  const send = (method, params) => chromium.send(method, params, sessionId);
  const said = [];
  let loaded = () => {};
  chromium.on(({ method, params, sessionId: of }) => {
    if (of !== sessionId) return;
    if (method === "Page.loadEventFired") loaded();
    if (method === "Runtime.exceptionThrown") said.push(params.exceptionDetails.text);
    if (method === "Log.entryAdded") said.push(params.entry.text);
  });
  for (const domain of ["Page", "Runtime", "Log"]) await send(`${domain}.enable`);
  return {
    send,
    said,
    async open(page, width, height, dark) {
      await send("Emulation.setDeviceMetricsOverride", { width, height, deviceScaleFactor: 1, mobile: false });
      const features = [{ name: "prefers-color-scheme", value: dark ? "dark" : "light" }];
      await send("Emulation.setEmulatedMedia", { features });
      const load = new Promise((resolve) => (loaded = resolve));
      await send("Page.navigate", { url: pathToFileURL(resolve(page)).href });
      await load;
    },
    async ask(script) {
      const { result, exceptionDetails } = await send("Runtime.evaluate", { expression: script, awaitPromise: true, returnByValue: true });
      if (exceptionDetails) throw new Error(exceptionDetails.exception?.description ?? exceptionDetails.text);
      return result.value;
    },
  };
}

/** What is wrong with the page that is open. */
async function faults(opened, axe, width) {
  // Every part that can be opened is open, so that nothing escapes.
  await opened.ask("document.querySelectorAll('details').forEach((part) => { part.open = true; });");
  await opened.ask(axe);
  const found = await opened.ask(`axe.run(document, { resultTypes: ["violations"] }).then(({ violations }) =>
    violations.flatMap(({ id, help, nodes }) => nodes.map((node) => \`\${id}: \${help}: \${node.html.slice(0, 160)}\`)))`);
  const wide = await opened.ask("document.documentElement.scrollWidth");
  return [...found, ...(wide > width ? [`the page is ${wide} px wide`] : []), ...opened.said.splice(0)];
}

async function check(chromium, [axe, ...pages]) {
  const source = readFileSync(axe, "utf8");
  const opened = await tab(chromium);
  let wrong = 0;
  for (const page of pages) {
    for (const { width, dark } of WAYS) {
      await opened.open(page, width, 900, dark);
      for (const fault of await faults(opened, source, width)) {
        console.log(`${page}, ${width} px, ${dark ? "dark" : "light"}: ${fault}`);
        wrong += 1;
      }
    }
  }
  console.log(`axe-core: ${pages.length} pages, each at 390 px (light) and 1280 px (dark): ${wrong} violations`);
  return wrong === 0 ? 0 : 1;
}

async function picture(chromium, [page, out, ...how]) {
  const [width = 1280, height = 900] = how.filter((word) => word !== "dark").map(Number);
  const opened = await tab(chromium);
  await opened.open(page, width, height || 900, how.includes("dark"));
  const whole = height || (await opened.ask("document.documentElement.scrollHeight"));
  // Only what is in view is laid out.
  await opened.send("Emulation.setDeviceMetricsOverride", { width, height: whole, deviceScaleFactor: 1, mobile: false });
  const clip = { x: 0, y: 0, width, height: whole, scale: 1 };
  const { data } = await opened.send("Page.captureScreenshot", { clip, captureBeyondViewport: true });
  writeFileSync(out, Buffer.from(data, "base64"));
  return 0;
}

const [what, ...words] = process.argv.slice(2);
const work = { check, picture }[what];
const program = browser();
if (!work || words.length < 2) {
  console.error("usage: page.mjs check AXE.JS PAGE… | page.mjs picture PAGE OUT.png [WIDTH [HEIGHT]] [dark]");
  process.exit(2);
}
if (!program) {
  console.error("no Chromium is installed (set CHROMIUM)");
  process.exit(2);
}
// A browser that does not start, or ends by itself, says nothing about the page.
process.on("uncaughtException", (error) => {
  console.error(`the browser failed: ${error.message}`);
  process.exit(3);
});
const chromium = start(program);
try {
  process.exitCode = await work(chromium, words);
} finally {
  await chromium.end();
}
