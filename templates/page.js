"use strict";
// Search, sort and pages of the table of entries. Without this script the whole table stands there, and nothing is lost
// but these. Only one page of rows is in the document at a time, so that a keystroke costs the same at any size.
(() => {
  const ROWS_OF_A_PAGE = 100;
  const place = (id) => document.getElementById(id);
  const table = place("table");
  if (!table) return;
  const body = table.tBodies[0];
  const entries = Array.from(body.rows, (row, at) => ({ row, at, text: null, keys: [] }));
  const numbers = new Intl.NumberFormat("en");
  const order = new Intl.Collator("en", { numeric: true });
  const sorted = { column: -1, descending: false };
  let shown = entries;
  let first = 0;

  const textOf = (entry) => entry.text ??= entry.row.textContent.toLowerCase();
  const word = (entry, column) => entry.row.children[column].firstChild.textContent;
  const keyOf = (entry, column) => entry.keys[column] ??= entry.row.children[column].textContent.trim();

  const show = () => {
    const last = Math.min(first + ROWS_OF_A_PAGE, shown.length);
    body.replaceChildren(...shown.slice(first, last).map((entry) => entry.row));
    const all = `${numbers.format(entries.length)} ${entries.length === 1 ? "entry" : "entries"}`;
    const found = shown.length === entries.length ? all : `${numbers.format(shown.length)} of ${all}`;
    const several = shown.length > ROWS_OF_A_PAGE;
    const rows = `rows ${numbers.format(first + 1)} to ${numbers.format(last)}`;
    place("found").textContent = several ? `${found}, ${rows}` : found;
    place("pages").hidden = !several;
    place("page").textContent = `${rows} of ${numbers.format(shown.length)}`;
    place("back").disabled = first === 0;
    place("on").disabled = last === shown.length;
  };

  const sort = () => {
    const { column, descending } = sorted;
    const way = descending ? -1 : 1;
    if (column < 0) return;
    shown = shown.slice().sort((a, b) => way * order.compare(keyOf(a, column), keyOf(b, column)) || a.at - b.at);
  };

  const search = () => {
    const words = place("words").value.toLowerCase().split(/\s+/).filter(Boolean);
    const status = place("status").value;
    const action = place("action").value;
    shown = entries.filter((entry) =>
      (!status || word(entry, 3) === status) &&
      (!action || word(entry, 2) === action) &&
      words.every((part) => textOf(entry).includes(part)));
    sort();
    first = 0;
    show();
  };

  const turn = (rows) => {
    first += rows;
    show();
    place("entries").scrollIntoView();
  };

  Array.from(table.tHead.rows[0].cells, (head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = head.textContent;
    button.addEventListener("click", () => {
      sorted.descending = sorted.column === column && !sorted.descending;
      sorted.column = column;
      for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", sorted.descending ? "descending" : "ascending");
      sort();
      first = 0;
      show();
    });
    head.replaceChildren(button);
  });
  for (const id of ["words", "status", "action"]) place(id).addEventListener("input", search);
  place("search").addEventListener("submit", (event) => event.preventDefault());
  place("search").addEventListener("reset", () => setTimeout(search));
  place("back").addEventListener("click", () => turn(-ROWS_OF_A_PAGE));
  place("on").addEventListener("click", () => turn(ROWS_OF_A_PAGE));
  for (const link of document.querySelectorAll("a[data-action]")) {
    link.addEventListener("click", () => {
      place("search").reset();
      place("action").value = link.dataset.action;
      search();
    });
  }
  place("search").hidden = false;
  show();

  // The first keystroke shall not wait for ten thousand rows to be read: that is done while nothing else is.
  const read = (from) => {
    const to = Math.min(from + 500, entries.length);
    for (let at = from; at < to; at += 1) textOf(entries[at]);
    if (to < entries.length) setTimeout(read, 0, to);
  };
  setTimeout(read, 0, 0);
})();
