"use strict";
(async () => {
  const root = document.documentElement;
  const table = document.getElementById("board");
  const body = table.tBodies[0];
  const heads = [...table.tHead.rows[0].cells];
  const input = document.getElementById("filter");
  const elements = [...document.querySelectorAll(".chart")];
  let visible = new Set();
  let data = null; // {texts, charts}, unpacked below

  // ---- theme

  const prefersDark = matchMedia("(prefers-color-scheme: dark)");
  const isDark = () =>
    root.dataset.theme ? root.dataset.theme === "dark" : prefersDark.matches;
  const colour = (name) => getComputedStyle(root).getPropertyValue(`--${name}`).trim();
  document.getElementById("theme").addEventListener("click", () => {
    root.dataset.theme = isDark() ? "light" : "dark";
    redraw();
  });
  prefersDark.addEventListener("change", () => redraw());

  // ---- leaderboard: sort and filter

  const sortKey = (row, column) => {
    const cell = row.cells[column];
    if (cell.dataset.sort === undefined) return cell.textContent.toLowerCase();
    const number = cell.dataset.sort === "inf" ? Infinity : Number(cell.dataset.sort);
    return Number.isNaN(number) ? null : number;
  };
  const compare = (a, b) => {
    if (typeof a !== typeof b) return typeof a === "number" ? -1 : 1;
    return a < b ? -1 : a > b ? 1 : 0;
  };
  heads.forEach((head, column) => head.firstElementChild.addEventListener("click", () => {
    const wasUp = head.getAttribute("aria-sort") === "ascending";
    heads.forEach((other) => other.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", wasUp ? "descending" : "ascending");
    const keyed = [...body.rows].map((row) => [sortKey(row, column), row]);
    keyed.sort(([a, first], [b, second]) => {
      if ((a === null) !== (b === null)) return a === null ? 1 : -1; // NaN is last
      const order = a === null ? 0 : (wasUp ? -1 : 1) * compare(a, b);
      return order || first.dataset.row - second.dataset.row;
    });
    body.append(...keyed.map(([, row]) => row));
  }));

  const names = heads.map((head) => head.textContent.toLowerCase());
  const columnOf = (name) =>
    names.includes(name) ? names.indexOf(name) : names.findIndex((n) => n.includes(name));
  const holds = (row, word) => {
    const [, name, sign, limit] = /^(.+?)(<=|>=|!=|=|<|>)(.+)$/.exec(word) ?? [];
    const column = name ? columnOf(name) : -1;
    if (column < 0) return row.textContent.toLowerCase().includes(word);
    const key = sortKey(row, column);
    const wanted = typeof key === "number" ? Number(limit) : limit;
    if (key === null || Number.isNaN(wanted)) return false;
    return {
      "<": key < wanted, ">": key > wanted, "<=": key <= wanted,
      ">=": key >= wanted, "=": key === wanted, "!=": key !== wanted,
    }[sign];
  };
  const filter = () => {
    const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
    for (const row of body.rows) row.hidden = !words.every((word) => holds(row, word));
    const shown = [...body.rows].filter((row) => !row.hidden);
    visible = new Set(shown.map((row) => Number(row.dataset.row)));
    document.getElementById("shown").textContent = `${visible.size} of ${body.rows.length}`;
  };
  let pending = 0;
  const soon = (action) => {
    clearTimeout(pending);
    pending = setTimeout(action, 250);
  };
  input.addEventListener("input", () => {
    filter();
    soon(() => redraw());
  });
  const openTarget = () => {
    const target = document.getElementById(location.hash.slice(1));
    if (!(target instanceof HTMLDetailsElement)) return;
    target.open = true;
    target.scrollIntoView();
  };
  addEventListener("hashchange", openTarget);

  // ---- charts

  const shownOf = (trace) => {
    const { rows, ...rest } = trace;
    if (rows === undefined) return rest;
    if (!Array.isArray(rows)) return { ...rest, visible: visible.has(rows), meta: data.texts[rows] };
    const keep = (list) => Array.isArray(list) ? list.filter((_, k) => visible.has(rows[k])) : list;
    const marker = { ...rest.marker, color: keep(rest.marker?.color) };
    const text = keep(rows).map((row) => data.texts[row]);
    return { ...rest, x: keep(rest.x), y: keep(rest.y), base: keep(rest.base), marker, text };
  };
  const axis = (given) => ({
    automargin: true, gridcolor: colour("grid"), linecolor: colour("line"), zeroline: false,
    ...given, ...(given.type === "log" ? { dtick: 1, exponentformat: "power" } : {}),
  });
  const layoutOf = (layout, element) => {
    const isNarrow = element.clientWidth < 560;
    const axes = Object.entries({ xaxis: {}, yaxis: {}, ...layout })
      .filter(([key]) => /^[xy]axis/.test(key)).map(([key, value]) => [key, axis(value)]);
    const font = { color: colour("text"), family: "system-ui, sans-serif", size: isNarrow ? 11 : 13 };
    return {
      hovermode: "closest", margin: { l: 50, r: 20, t: 30, b: 45 }, hoverlabel: { align: "left" },
      ...layout, ...Object.fromEntries(axes), font, width: element.clientWidth,
      height: layout.height ?? element.clientHeight,
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
      legend: { ...layout.legend, orientation: "h", y: isNarrow ? -0.4 : -0.2, yanchor: "top" },
      annotations: (layout.annotations ?? []).map((note) => ({
        ...note, font: { size: 11, color: colour("dim") }, bgcolor: colour("back"), opacity: 0.85,
      })),
      modebar: { bgcolor: "rgba(0,0,0,0)", color: colour("dim"), activecolor: colour("accent") },
    };
  };
  const draw = async (element) => {
    const figure = data.charts[element.dataset.chart][element.dataset.figure];
    if (figure.layout.height) element.style.height = `${figure.layout.height}px`;
    const layout = layoutOf(figure.layout, element);
    const options = { displaylogo: false, displayModeBar: element.clientWidth >= 560 };
    await window.Plotly.react(element, figure.data.map(shownOf), layout, options);
    element.dataset.drawn = `${visible.size}`;
  };
  const redraw = () => {
    if (window.Plotly) elements.forEach(draw);
  };
  document.querySelectorAll("[data-picks]").forEach((select) => select.addEventListener("change", () => {
    const element = document.querySelector(`[data-chart=${select.dataset.picks}]`);
    element.dataset.figure = select.value;
    draw(element);
  }));
  let width = innerWidth;
  addEventListener("resize", () => {
    if (innerWidth !== width) soon(() => redraw());
    width = innerWidth;
  });
  for (const [event, isPrint] of [["beforeprint", true], ["afterprint", false]]) {
    addEventListener(event, () => {
      root.classList.toggle("print", isPrint);
      redraw();
    });
  }

  const unpacked = async (id) => {
    const bytes = Uint8Array.from(atob(document.getElementById(id).textContent), (c) => c.charCodeAt(0));
    return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"))).text();
  };
  filter();
  openTarget();
  data = JSON.parse(await unpacked("data"));
  const library = document.createElement("script");
  library.textContent = await unpacked("plotly");
  document.head.append(library);
  root.dataset.ready = "true";
  for (const element of elements) {
    await draw(element);
    await new Promise((resolve) => setTimeout(resolve)); // the page stays alive
  }
})();
