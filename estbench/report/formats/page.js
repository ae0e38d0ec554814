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
  all(".task thead button").forEach((button) => button.addEventListener("click", () => sort(button.parentNode)));

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
  byId("controls").addEventListener("input", () => { filter(); columns(); });
  byId("controls").addEventListener("submit", (event) => event.preventDefault());

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
