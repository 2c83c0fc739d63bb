"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const rows = data.rows;
  const isMax = data.mode === "max";
  let visible = new Set(rows.keys());

  // ---- theme

  const root = document.documentElement;
  const prefersDark = window.matchMedia("(prefers-color-scheme: dark)");
  const isDark = () =>
    root.dataset.theme ? root.dataset.theme === "dark" : prefersDark.matches;
  const colour = (name) => getComputedStyle(root).getPropertyValue(`--${name}`).trim();
  document.getElementById("theme").addEventListener("click", () => {
    root.dataset.theme = isDark() ? "light" : "dark";
    redraw();
  });
  prefersDark.addEventListener("change", () => redraw());

  // ---- leaderboard: sort and filter

  const table = document.getElementById("board");
  const body = table.tBodies[0];
  const heads = [...table.tHead.rows[0].cells];
  const sortKey = (row, column) => {
    const cell = row.cells[column];
    const key = cell.dataset.sort;
    if (key === undefined) return cell.textContent;
    const number = key === "inf" ? Infinity : Number(key);
    return Number.isNaN(number) ? null : number;
  };
  const compare = (a, b) => {
    if (typeof a === "number" && typeof b === "number") return a - b;
    if (typeof a === "number") return -1;
    if (typeof b === "number") return 1;
    return a < b ? -1 : a > b ? 1 : 0;
  };
  const sort = (column) => {
    const wasUp = heads[column].getAttribute("aria-sort") === "ascending";
    heads.forEach((head) => head.removeAttribute("aria-sort"));
    heads[column].setAttribute("aria-sort", wasUp ? "descending" : "ascending");
    const sign = wasUp ? -1 : 1;
    const keyed = [...body.rows].map((row) => [sortKey(row, column), row]);
    keyed.sort(([a, first], [b, second]) => {
      if ((a === null) !== (b === null)) return a === null ? 1 : -1; // NaN is last
      const order = a === null ? 0 : sign * compare(a, b);
      return order || first.dataset.row - second.dataset.row;
    });
    body.append(...keyed.map(([, row]) => row));
  };
  heads.forEach((head, column) =>
    head.firstElementChild.addEventListener("click", () => sort(column))
  );

  const condition = /^(.+?)(<=|>=|!=|=|<|>)(.+)$/;
  const columnOf = (name) => {
    const names = heads.map((head) => head.textContent.toLowerCase());
    const exact = names.indexOf(name);
    return exact >= 0 ? exact : names.findIndex((known) => known.includes(name));
  };
  const holds = (row, word) => {
    const parts = condition.exec(word);
    const column = parts ? columnOf(parts[1]) : -1;
    if (column < 0) return row.textContent.toLowerCase().includes(word);
    const key = sortKey(row, column);
    const wanted = typeof key === "number" ? Number(parts[3]) : parts[3];
    const found = typeof key === "string" ? key.toLowerCase() : key;
    if (found === null || Number.isNaN(wanted)) return false;
    return {
      "<": found < wanted, ">": found > wanted, "<=": found <= wanted,
      ">=": found >= wanted, "=": found === wanted, "!=": found !== wanted,
    }[parts[2]];
  };
  const shown = document.getElementById("shown");
  const input = document.getElementById("filter");
  const filter = () => {
    const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
    visible = new Set();
    for (const row of body.rows) {
      row.hidden = !words.every((word) => holds(row, word));
      if (!row.hidden) visible.add(Number(row.dataset.row));
    }
    shown.textContent = `${visible.size} of ${rows.length}`;
  };
  let pending = 0;
  input.addEventListener("input", () => {
    filter();
    clearTimeout(pending);
    pending = setTimeout(redraw, 250);
  });

  const openTarget = () => {
    const target = document.getElementById(location.hash.slice(1));
    if (target instanceof HTMLDetailsElement) {
      target.open = true;
      target.scrollIntoView();
    }
  };
  window.addEventListener("hashchange", openTarget);

  // ---- charts

  // plotly reads a little HTML in its texts; what users wrote is text.
  const text = (value) =>
    String(value).replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
  const kept = () => [...visible].filter((i) => rows[i].value !== null).sort((a, b) => a - b);
  const scale = () => (isMax ? "Viridis" : "Viridis_r");
  const palette = ["#0b62c4", "#d9822b", "#2f9e5b", "#b8407f", "#7a5cd6",
    "#009aa6", "#c23b3b", "#8a7a1f"];
  const named = (i) => `#${rows[i].rank} ${rows[i].name}`;
  const short = (value) => (value === null ? "-" : value.toPrecision(4));
  const hover = (i) => [
    named(i),
    ...data.params.map((p) => `${text(p.label)}: ${text(p.values[i])}`),
    `${text(data.metric)}: ${short(rows[i].value)}`,
    ...data.others.map((metric, k) => `${text(metric)}: ${short(rows[i].others[k])}`),
  ].join("<br>");
  const axis = (title, extra = {}) => ({
    title: { text: text(title) }, gridcolor: colour("grid"), linecolor: colour("line"),
    zeroline: false, automargin: true, ...extra,
  });
  const clipped = (value) => {
    const words = String(value);
    return text(words.length > 18 ? `${words.slice(0, 16)}..` : words);
  };
  const paramAxis = (param) => {
    if (param.isLog) return axis(param.label, { type: "log", dtick: 1, exponentformat: "e" });
    if (param.isNumber) return axis(param.label, { exponentformat: "e" });
    const names = [...new Set(param.values)];
    return axis(param.label, {
      type: "category", tickmode: "array", tickvals: names.map(text), ticktext: names.map(clipped),
    });
  };
  const paramValues = (param, picked) =>
    picked.map((i) => (param.isNumber ? param.values[i] : text(param.values[i])));
  const bounds = (numbers) => {
    const finite = numbers.filter(Number.isFinite);
    return finite.length ? [Math.min(...finite), Math.max(...finite)] : [0, 1];
  };
  // Robust colours: the worst tenth must not wash out the differences on top.
  const colourRange = (values) => {
    const sorted = [...values].sort((a, b) => a - b);
    const tenth = Math.floor(sorted.length / 10);
    return isMax
      ? [sorted[tenth], sorted[sorted.length - 1]]
      : [sorted[0], sorted[sorted.length - 1 - tenth]];
  };
  const coloured = (picked, extra = {}) => {
    const values = picked.map((i) => rows[i].value);
    const [cmin, cmax] = colourRange(values);
    return {
      size: 8, color: values, colorscale: scale(), cmin, cmax,
      line: { width: 0.5, color: colour("back") }, ...extra,
    };
  };

  const charts = {
    curves() {
      const picked = new Set(kept());
      const own = data.curves.filter((curve) => picked.has(curve.row));
      const top = new Set([...picked].slice(0, palette.length));
      const rest = own.filter((curve) => !top.has(curve.row));
      const joined = (list, key) => list.flatMap((curve) => [...curve[key], null]);
      const line = (curve, order, isFirst) => ({
        type: "scatter", mode: curve.epochs.length > 1 ? "lines+markers" : "markers",
        x: curve.epochs, y: curve.values, name: named(curve.row),
        legendgroup: `${curve.row}`, showlegend: isFirst,
        line: { color: palette[order], width: 2 }, marker: { size: 4 },
        text: curve.epochs.map(() => `${hover(curve.row)}<br>seed ${curve.seed}`),
        hovertemplate: "%{text}<br>epoch %{x}: %{y}<extra></extra>",
      });
      const order = [...top];
      const seen = new Set();
      const lines = own.filter((curve) => top.has(curve.row)).map((curve) => {
        const isFirst = !seen.has(curve.row);
        seen.add(curve.row);
        return line(curve, order.indexOf(curve.row), isFirst);
      });
      const grey = {
        type: "scatter", mode: "lines", x: joined(rest, "epochs"), y: joined(rest, "values"),
        name: `${new Set(rest.map((curve) => curve.row)).size} others`, hoverinfo: "skip",
        line: { color: colour("dim"), width: 1 }, opacity: rest.length > 60 ? 0.25 : 0.5,
      };
      return [rest.length ? [grey, ...lines] : lines,
        { xaxis: axis("epoch", { tickformat: "d" }), yaxis: axis(data.metric), hovermode: "closest" }];
    },

    pareto() {
      const picked = kept().filter((i) => rows[i].others[0] !== null);
      const front = picked.filter((i) => rows[i].isFront)
        .sort((a, b) => rows[a].value - rows[b].value || rows[a].others[0] - rows[b].others[0]);
      const rest = picked.filter((i) => !rows[i].isFront);
      const some = (list, extra) => ({
        type: "scatter", x: list.map((i) => rows[i].value), y: list.map((i) => rows[i].others[0]),
        text: list.map(hover), hovertemplate: "%{text}<extra></extra>", ...extra,
      });
      return [[
        some(rest, { mode: "markers", name: "dominated", marker: { size: 7, color: colour("dim") } }),
        some(front, {
          mode: data.others.length === 1 ? "lines+markers" : "markers", name: "Pareto front",
          marker: { size: 11, color: colour("accent") },
          line: { color: colour("accent"), width: 1, dash: "dot" },
        }),
      ], { xaxis: axis(data.metric), yaxis: axis(data.others[0]), hovermode: "closest" }];
    },

    parallel() {
      const picked = kept();
      const values = picked.map((i) => rows[i].value);
      const dims = [
        ...data.params.map((p) => ({ ...p, values: picked.map((i) => p.values[i]) })),
        { label: data.metric, isNumber: true, isLog: false, values },
        ...data.others.map((label, k) => ({
          label, isNumber: true, isLog: false, values: picked.map((i) => rows[i].others[k] ?? 0),
        })),
      ];
      const scaled = dims.map(unit);
      const [low, high] = colourRange(values);
      const bins = 12;
      const bin = (v) =>
        Math.max(0, Math.min(bins - 1, Math.floor(((v - low) / (high - low || 1)) * bins)));
      const traces = [];
      for (let step = 0; step < bins; step += 1) {
        const number = isMax ? step : bins - 1 - step;
        const own = [...picked.keys()].filter((k) => bin(values[k]) === number);
        if (!own.length) continue;
        traces.push({
          type: "scatter", mode: "lines+markers", marker: { size: 4 }, showlegend: false,
          x: own.flatMap(() => [...dims.keys(), null]),
          y: own.flatMap((k) => [...scaled.map((s) => s.at[k]), null]),
          text: own.flatMap((k) => [...dims.map(() => hover(picked[k])), ""]),
          hovertemplate: "%{text}<extra></extra>",
          line: { color: shade((step + 0.5) / bins), width: picked.length > 200 ? 1 : 1.8 },
          opacity: 0.35 + (0.6 * (step + 1)) / bins,
        });
      }
      const shapes = [...dims.keys()].map((x) => ({
        type: "line", x0: x, x1: x, y0: 0, y1: 1, layer: "below",
        line: { color: colour("line"), width: 1 },
      }));
      const annotations = scaled.flatMap((s, x) => s.ticks.map(([y, label]) => ({
        x, y, text: clipped(label), showarrow: false, xanchor: "left", xshift: 6,
        font: { size: 11, color: colour("dim") }, bgcolor: colour("back"), opacity: 0.85,
      })));
      return [traces, {
        shapes, annotations, hovermode: "closest",
        xaxis: { tickvals: [...dims.keys()], ticktext: dims.map((d) => text(d.label)),
          showgrid: false, zeroline: false, side: "top", automargin: true,
          range: [-0.15, dims.length - 0.55] },
        yaxis: { visible: false, range: [-0.06, 1.06] },
      }];
    },

    importance() {
      const known = data.importance.filter((p) => p.share !== null)
        .sort((a, b) => a.share - b.share);
      return [[{
        type: "bar", orientation: "h", x: known.map((p) => p.share),
        y: known.map((p) => text(p.label)), marker: { color: colour("accent") },
        text: known.map((p) => `${(100 * p.share).toFixed(0)} %`), textposition: "outside",
        cliponaxis: false, hoverinfo: "skip",
      }], {
        xaxis: axis("importance", { range: [0, 1], tickformat: ".0%" }),
        yaxis: { type: "category", automargin: true },
        annotations: known.length ? [] : [note("too few trials to say")],
      }];
    },

    slices() {
      const picked = kept();
      const count = data.params.length;
      const layout = { grid: { rows: Math.ceil(count / 4), columns: Math.min(4, count),
        pattern: "independent", ygap: 0.35 }, showlegend: false, hovermode: "closest" };
      const traces = data.params.map((param, index) => {
        const end = index ? `${index + 1}` : "";
        layout[`xaxis${end}`] = paramAxis(param);
        layout[`yaxis${end}`] = axis(index % 4 ? "" : data.metric);
        return {
          type: "scatter", mode: "markers", x: paramValues(param, picked),
          y: picked.map((i) => rows[i].value), marker: coloured(picked, { size: 6 }),
          xaxis: `x${end}`, yaxis: `y${end}`,
          text: picked.map(hover), hovertemplate: "%{text}<extra></extra>",
        };
      });
      return [traces, layout];
    },

    contour() {
      const picked = kept();
      const [x, y] = ["x", "y"].map(
        (side) => data.params[Number(document.getElementById(`contour-${side}`).value)]
      );
      const points = {
        type: "scatter", mode: "markers", x: paramValues(x, picked), y: paramValues(y, picked),
        marker: coloured(picked, { size: 10, showscale: true, colorbar: {
          title: { text: text(data.metric), side: "right" }, outlinewidth: 0, thickness: 14 } }),
        text: picked.map(hover), hovertemplate: "%{text}<extra></extra>",
      };
      const surface = x.isNumber && y.isNumber && picked.length >= 6 ? [ground(x, y, picked)] : [];
      return [[...surface, points],
        { xaxis: paramAxis(x), yaxis: paramAxis(y), hovermode: "closest", showlegend: false }];
    },

    front() {
      const picked = kept();
      const order = [...picked].sort((a, b) => rows[a].cost - rows[b].cost);
      const best = [];
      for (const i of order) {
        const top = best.length ? rows[best[best.length - 1]].value : null;
        if (top === null || (isMax ? rows[i].value > top : rows[i].value < top)) best.push(i);
      }
      return [[
        { type: "scatter", mode: "markers", name: "suggestions", x: picked.map((i) => rows[i].cost),
          y: picked.map((i) => rows[i].value), marker: coloured(picked, {}),
          text: picked.map(hover), hovertemplate: "%{text}<br>%{x:.1f} s<extra></extra>" },
        { type: "scatter", mode: "lines", name: "front", x: best.map((i) => rows[i].cost),
          y: best.map((i) => rows[i].value), line: { shape: "hv", color: colour("accent") },
          hoverinfo: "skip" },
      ], { xaxis: axis("seconds of training"), yaxis: axis(data.metric), hovermode: "closest" }];
    },

    timeline() {
      const states = { complete: "#2f9e5b", pruned: "#d9a62b", failed: "#c23b3b",
        running: "#0b62c4", waiting: "#8a94a0", cut: "#8a94a0" };
      const own = data.timeline.filter((bar) => visible.has(bar.row));
      const bars = Object.keys(states).map((state) => {
        const some = own.filter((bar) => bar.end_state === state);
        return {
          type: "scatter", mode: "lines", name: state,
          x: some.flatMap((b) => [b.start, b.end, null]),
          y: some.flatMap((b) => [b.lane, b.lane, null]),
          line: { color: states[state], width: 12 },
          text: some.flatMap((b) => [
            ...Array(2).fill(`${hover(b.row)}<br>${b.id} attempt ${b.attempt}: ${b.end_state}`), ""]),
          hovertemplate: "%{text}<extra></extra>", size: some.length,
        };
      }).filter((trace) => trace.size).map(({ size, ...trace }) => trace);
      const marks = (name, some, side, symbol) => ({
        type: "scatter", mode: "markers", name, x: some.map((b) => b[side]),
        y: some.map((b) => b.lane), hoverinfo: "skip",
        marker: { symbol, size: 9, color: colour("text"), line: { width: 1, color: colour("back") } },
      });
      const cut = own.filter((b) => b.end_state === "cut");
      const again = own.filter((b) => b.attempt > 1);
      const extra = [...(cut.length ? [marks("cut", cut, "end", "x")] : []),
        ...(again.length ? [marks("resumed", again, "start", "triangle-right")] : [])];
      return [[...bars, ...extra], {
        xaxis: axis("", { type: "date" }),
        yaxis: axis("slot", { tickformat: "d", dtick: 1, autorange: "reversed" }), hovermode: "closest",
      }];
    },

    confusion() {
      const { classes, counts, id } = data.confusion;
      const names = classes.map(text);
      const shares = counts.map((line) => {
        const sum = line.reduce((a, b) => a + b, 0) || 1;
        return line.map((cell) => cell / sum);
      });
      return [[{
        type: "heatmap", x: names, y: names, z: shares, customdata: counts, zmin: 0, zmax: 1,
        colorscale: isDark()
          ? [[0, "#14181d"], [0.02, "#22405f"], [1, "#8cc4ff"]]
          : [[0, "#ffffff"], [0.02, "#d7e6f7"], [1, "#08306b"]],
        hovertemplate: "true %{y}, predicted %{x}: %{customdata} (%{z:.1%})<extra></extra>",
        colorbar: { tickformat: ".0%", outlinewidth: 0, thickness: 14 },
      }], {
        title: { text: text(id), font: { size: 13 } },
        xaxis: axis("predicted", { type: "category", side: "bottom", showgrid: false, tickangle: 0 }),
        yaxis: axis("true", { type: "category", autorange: "reversed", showgrid: false,
          scaleanchor: "x", constrain: "domain" }),
      }];
    },
  };

  const note = (words) => ({
    text: words, showarrow: false, xref: "paper", yref: "paper", x: 0.5, y: 0.5,
  });

  // A dimension on 0 to 1, with the ticks that it is read by.
  const unit = (dim) => {
    if (!dim.isNumber) {
      const names = [...new Set(dim.values)].sort();
      const at = (v) => (names.length > 1 ? names.indexOf(v) / (names.length - 1) : 0.5);
      const every = Math.ceil(names.length / 12);
      return { at: dim.values.map(at),
        ticks: names.filter((_, i) => i % every === 0).map((v) => [at(v), v]) };
    }
    const move = dim.isLog ? Math.log10 : (v) => v;
    const [low, high] = bounds(dim.values.map(move));
    const at = (v) => (high > low ? (move(v) - low) / (high - low) : 0.5);
    const distinct = [...new Set(dim.values)].sort((a, b) => a - b);
    const back = dim.isLog ? (v) => 10 ** v : (v) => v;
    const shownValues = distinct.length <= 6
      ? distinct : [0, 0.25, 0.5, 0.75, 1].map((f) => back(low + f * (high - low)));
    return { at: dim.values.map(at), ticks: shownValues.map((v) => [at(v), Number(v.toPrecision(3))]) };
  };

  // Viridis, the same as plotly's.
  const stops = [[68, 1, 84], [72, 40, 120], [62, 74, 137], [49, 104, 142], [38, 130, 142],
    [31, 158, 137], [53, 183, 121], [110, 206, 88], [181, 222, 43], [253, 231, 37]];
  const shade = (f) => {
    const place = Math.min(Math.max(f, 0), 1) * (stops.length - 1);
    const k = Math.min(Math.floor(place), stops.length - 2);
    const mix = stops[k].map((c, n) => Math.round(c + (stops[k + 1][n] - c) * (place - k)));
    return `rgb(${mix.join(",")})`;
  };

  // A surface by inverse distances, on the axes as they are drawn.
  const ground = (x, y, picked) => {
    const side = (param) => {
      const move = param.isLog ? Math.log10 : (v) => v;
      const [low, high] = bounds(picked.map((i) => move(param.values[i])));
      const steps = [...Array(28).keys()].map((k) => k / 27);
      return {
        at: picked.map((i) => (high > low ? (move(param.values[i]) - low) / (high - low) : 0.5)),
        steps, ticks: steps.map((f) => {
          const v = low + f * (high - low);
          return param.isLog ? 10 ** v : v;
        }),
      };
    };
    const [across, up] = [side(x), side(y)];
    const values = picked.map((i) => rows[i].value);
    const [cmin, cmax] = colourRange(values);
    const z = up.steps.map((v) => across.steps.map((u) => {
      let sum = 0;
      let weight = 0;
      picked.forEach((_, k) => {
        const w = 1 / ((across.at[k] - u) ** 2 + (up.at[k] - v) ** 2 + 1e-4) ** 1.5;
        sum += w * values[k];
        weight += w;
      });
      return sum / weight;
    }));
    return {
      type: "contour", x: across.ticks, y: up.ticks, z, zmin: cmin, zmax: cmax,
      colorscale: scale(), showscale: false, opacity: 0.65, hoverinfo: "skip",
      contours: { coloring: "fill" }, line: { width: 0.5 },
    };
  };

  const drawn = new Set();
  const draw = (element) => {
    const [traces, layout] = charts[element.dataset.chart]();
    const isNarrow = element.clientWidth < 560;
    const base = {
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
      font: { color: colour("text"), family: "system-ui, sans-serif", size: isNarrow ? 11 : 13 },
      margin: { l: 50, r: 20, t: 30, b: 45 },
      legend: { orientation: "h", y: isNarrow ? -0.4 : -0.2, yanchor: "top" },
      hoverlabel: { align: "left" },
      modebar: { bgcolor: "rgba(0,0,0,0)", color: colour("dim"), activecolor: colour("accent") },
    };
    if (element.dataset.chart === "slices") {
      if (isNarrow) layout.grid = { ...layout.grid, rows: data.params.length, columns: 1 };
      element.style.height = `${Math.max(320, layout.grid.rows * 240)}px`;
    }
    if (element.dataset.chart === "timeline") {
      const lanes = Math.max(1, ...data.timeline.map((bar) => bar.lane));
      element.style.height = `${Math.min(900, 160 + 26 * lanes)}px`;
    }
    drawn.add(element);
    return window.Plotly.react(element, traces, { ...base, ...layout },
      { responsive: true, displaylogo: false, displayModeBar: !isNarrow })
      .then(() => { element.dataset.drawn = `${visible.size}`; });
  };
  const redraw = () => drawn.forEach(draw);

  const unpack = async () => {
    const packed = document.getElementById("plotly").textContent;
    const bytes = Uint8Array.from(atob(packed), (c) => c.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    const script = document.createElement("script");
    script.textContent = await new Response(stream).text();
    document.head.append(script);
  };

  const start = async () => {
    filter();
    openTarget();
    data.params.forEach((param, index) => {
      for (const side of ["x", "y"]) {
        const select = document.getElementById(`contour-${side}`);
        if (!select) continue;
        const option = new Option(param.label, index);
        select.append(option);
        if ((side === "x" && index === 0) || (side === "y" && index === 1)) option.selected = true;
        select.onchange = () => draw(document.querySelector('[data-chart="contour"]'));
      }
    });
    await unpack();
    const watcher = new IntersectionObserver((entries) => {
      for (const entry of entries) {
        if (entry.isIntersecting) {
          watcher.unobserve(entry.target);
          draw(entry.target);
        }
      }
    }, { rootMargin: "300px" });
    document.querySelectorAll(".chart").forEach((element) => watcher.observe(element));
    root.dataset.ready = "true";
  };
  start();
})();
