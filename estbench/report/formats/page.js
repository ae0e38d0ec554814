"use strict";
(() => {
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];
  const byId = (id) => document.getElementById(id);

  // Sorting: a column's better end first, then the other way round; what has no figure stays last.
  const sort = (header) => {
    const table = header.closest("table");
    const column = [...header.parentNode.children].indexOf(header);
    const first = header.dataset.better === "higher" ? "descending" : "ascending";
    const other = first === "ascending" ? "descending" : "ascending";
    const direction = header.getAttribute("aria-sort") === first ? other : first;
    all("th[aria-sort]", table).forEach((th) => th.removeAttribute("aria-sort"));
    header.setAttribute("aria-sort", direction);
    const sign = direction === "ascending" ? 1 : -1;
    const order = (row) => Number.parseFloat(row.children[column].dataset.order);
    const compare = (a, b) => {
      if (column === 0) return sign * a.dataset.label.localeCompare(b.dataset.label);
      const [x, y] = [order(a), order(b)];
      if (Number.isNaN(x) || Number.isNaN(y)) return Number.isNaN(x) - Number.isNaN(y);
      return sign * (x - y);
    };
    const body = table.tBodies[0];
    body.append(...[...body.rows].sort(compare));
  };
  all(".task thead button").forEach((button) => button.addEventListener("click", () => {
    sort(button.parentNode);
    remember();
  }));

  const filter = () => {
    const wanted = byId("filter").value.trim().toLowerCase();
    const family = byId("family")?.value ?? "";
    const task = byId("task")?.value ?? "";
    all(".task").forEach((section) => {
      section.hidden = task !== "" && section.id !== task;
    });
    all(".task tbody tr[data-label]").forEach((row) => {
      const named = row.dataset.label.toLowerCase().includes(wanted);
      row.hidden = !named || (family !== "" && row.dataset.family !== family);
    });
  };
  const columns = () => {
    const shown = new Set(all("#controls input[type=checkbox]:checked").map((box) => box.value));
    all(".task [data-key]").forEach((cell) => {
      cell.hidden = !shown.has(cell.dataset.key);
    });
  };
  byId("controls").addEventListener("input", () => { filter(); columns(); remember(); });
  byId("controls").addEventListener("submit", (event) => event.preventDefault());

  // The state of the page stands in its address, so that a link restores it: the filter, the columns, and the sorting.
  const boxes = all("#controls input[type=checkbox]");
  const changed = () => boxes.filter((box) => box.checked !== box.defaultChecked).map((box) => box.value);
  const remember = () => {
    const state = new URLSearchParams();
    ["filter", "family", "task"].forEach((id) => { if (byId(id)?.value) state.set(id, byId(id).value); });
    changed().forEach((key) => state.append("column", key));
    all(".task th[aria-sort]").forEach((header) => {
      const place = [header.closest(".task").id, header.getAttribute("aria-sort"), header.dataset.key ?? ""];
      state.append("sort", place.join(" "));
    });
    history.replaceState(null, "", `#${state}`);
  };
  const restore = () => {
    if (!location.hash.includes("=")) return;
    const state = new URLSearchParams(location.hash.slice(1));
    ["filter", "family", "task"].forEach((id) => { if (byId(id)) byId(id).value = state.get(id) ?? ""; });
    boxes.forEach((box) => { box.checked = box.defaultChecked !== state.getAll("column").includes(box.value); });
    filter();
    columns();
    state.getAll("sort").forEach((place) => {
      const [task, direction, ...key] = place.split(" ");
      const headers = all(".task thead th").filter((th) => th.closest(".task").id === task);
      const header = headers.find((th) => (th.dataset.key ?? "") === key.join(" "));
      for (let i = 0; header && i < 2 && header.getAttribute("aria-sort") !== direction; i += 1) sort(header);
    });
  };
  // Rows come ordered by the last column of the highest rank; a wide screen shows it beside the names.
  all(".task > .scroll").forEach((box) => {
    const headers = all("thead th[data-rank]:not([hidden])", box);
    const best = Math.max(0, ...headers.map((th) => Number(th.dataset.rank)));
    const leading = best && headers.findLast((th) => Number(th.dataset.rank) === best);
    if (!leading) return;
    leading.setAttribute("aria-sort", leading.dataset.better === "higher" ? "descending" : "ascending");
    const hidden = leading.getBoundingClientRect().right - box.getBoundingClientRect().left - box.clientWidth;
    if (window.innerWidth >= 900 && hidden > 0) box.scrollLeft += Math.ceil(hidden);
  });
  restore();
  window.addEventListener("hashchange", restore);

  // The numbers of a table as CSV: the value in the unit of the results, and in words with its interval.
  const field = (text) => `"${text.replace(/^(?=[=+@\t\r])/, "'").replaceAll('"', '""')}"`;
  const numbers = (table) => {
    const keys = all("thead th[data-key]", table).map((th) => th.dataset.key);
    const head = ["estimator", ...keys.flatMap((key) => [key, `${key} (in words)`])];
    const rows = all("tbody tr", table).map((row) => [
      row.dataset.label,
      ...all("td", row).flatMap((cell) => [cell.dataset.order, cell.dataset.hover]),
    ]);
    return [head, ...rows].map((row) => row.map(field).join(",")).join("\r\n");
  };
  const offer = (button, text, name) => button.addEventListener("click", () => {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([text(), "\r\n"], { type: "text/csv" }));
    link.download = `${name}.csv`;
    link.click();
    URL.revokeObjectURL(link.href);
  });
  all(".task > p > .download").forEach((button) => {
    const section = button.closest(".task");
    offer(button, () => numbers(section.querySelector("table")), section.id);
  });
  // Of a figure, the numbers of its points; a figure without points has none here.
  all("figure .download").forEach((button, i) => {
    const points = all("svg .point", button.closest("figure"));
    button.hidden = points.length === 0;
    const lines = () => ["value", ...points.map((point) => point.dataset.hover)].map(field).join("\r\n");
    offer(button, lines, `figure-${i + 1}`);
  });

  // On paper nothing can be opened; the papers' BibTeX has a file of its own.
  let closed = [];
  window.addEventListener("beforeprint", () => {
    closed = all(".task details:not([open])");
    closed.forEach((details) => { details.open = true; });
  });
  window.addEventListener("afterprint", () => closed.forEach((details) => { details.open = false; }));

  // Tooltips, for mice and for fingers; those of figures replace the browser's own.
  all("svg .point > title").forEach((title) => {
    title.parentNode.dataset.hover = title.textContent;
    title.remove();
  });
  const tip = byId("tip");
  const hide = () => { tip.hidden = true; };
  const show = (event) => {
    const target = event.target.closest?.("[data-hover]");
    if (!target) return hide();
    tip.textContent = target.dataset.hover;
    tip.hidden = false;
    const { width, height } = tip.getBoundingClientRect();
    const left = Math.min(event.clientX + 12, document.documentElement.clientWidth - width - 8);
    const below = event.clientY + 16;
    tip.style.left = `${Math.max(8, left)}px`;
    tip.style.top = `${below + height < window.innerHeight ? below : event.clientY - height - 10}px`;
  };
  document.addEventListener("mousemove", show);
  document.addEventListener("click", show);
  document.addEventListener("scroll", hide, { passive: true });
  document.addEventListener("keydown", (event) => { if (event.key === "Escape") hide(); });
})();
