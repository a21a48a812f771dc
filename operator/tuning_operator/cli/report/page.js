"use strict";
(() => {
  const figures = JSON.parse(document.getElementById("figures").textContent);
  const root = document.documentElement;
  const small = matchMedia("(max-width: 560px)").matches;
  const touch = matchMedia("(pointer: coarse)").matches;
  const colour = (name) => getComputedStyle(root).getPropertyValue("--" + name).trim();

  const dress = (figure) => {
    const copy = structuredClone(figure);
    const words = { best: colour("text"), axis: colour("quiet"), background: colour("card") };
    const named = (thing, key) => { if (thing && words[thing[key]]) thing[key] = words[thing[key]]; };
    copy.data.forEach((trace) => named(trace.line, "color"));
    const layout = copy.layout;
    (layout.shapes || []).forEach((shape) => named(shape.line, "color"));
    (layout.annotations || []).forEach((note) => named(note, "bgcolor"));
    layout.paper_bgcolor = layout.plot_bgcolor = "rgba(0,0,0,0)";
    layout.font = { color: colour("text"), family: getComputedStyle(document.body).fontFamily, size: small ? 11 : 12 };
    layout.hoverlabel = { bgcolor: colour("card"), bordercolor: colour("line"), font: { color: colour("text") } };
    for (const axis of ["xaxis", "yaxis"]) {
      layout[axis] = Object.assign({ gridcolor: colour("grid"), zeroline: false, linecolor: colour("line") }, layout[axis]);
    }
    layout.yaxis.automargin = true;
    if (small) {
      const longest = Math.max(...copy.data.map((trace) => (trace.name || "").length));
      if (longest <= 22) layout.legend = Object.assign({}, layout.legend, { entrywidth: 0.5, entrywidthmode: "fraction" });
      else layout.height += 18 * (copy.data.length - 2);
    }
    if (touch) layout.dragmode = false;
    if (small) layout.margin = Object.assign({}, layout.margin, { l: Math.min(layout.margin.l, 52), r: Math.min(layout.margin.r, 24) });
    return copy;
  };

  const draw = () => Promise.all(Object.entries(figures).map(([name, figure]) => {
    const dressed = dress(figure);
    document.getElementById(name).style.height = `${dressed.layout.height}px`;
    return Plotly.react(name, dressed.data, dressed.layout, { displaylogo: false, responsive: true, displayModeBar: false });
  }));

  document.getElementById("theme").addEventListener("click", () => {
    const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = dark ? "light" : "dark";
    draw();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);

  document.querySelectorAll("[data-table]").forEach((place) => {
    const body = place.querySelector("tbody");
    const rows = Array.from(body.rows);
    const heads = Array.from(place.querySelectorAll("th"));
    const filter = place.querySelector("input");
    const count = place.querySelector(".count");
    filter.addEventListener("input", () => {
      const wanted = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
      let shown = 0;
      rows.forEach((row) => {
        const text = row.textContent.toLowerCase();
        row.hidden = !wanted.every((word) => text.includes(word));
        shown += row.hidden ? 0 : 1;
      });
      count.textContent = `${shown} of ${rows.length}`;
    });
    heads.forEach((head, column) => head.querySelector("button").addEventListener("click", () => {
      const down = head.getAttribute("aria-sort") === "ascending";
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      const keyed = rows.map((row) => [row.cells[column].dataset.key, row]);
      const numeric = keyed.every(([key]) => key === "" || !Number.isNaN(Number(key)));
      keyed.sort(([a], [b]) => {
        if (a === "" || b === "") return (a === "") - (b === "");
        const order = numeric ? Number(a) - Number(b) : a.localeCompare(b);
        return down ? -order : order;
      });
      body.append(...keyed.map(([, row]) => row));
    }));
  });

  draw().then(() => { root.dataset.drawn = String(document.querySelectorAll(".plot .main-svg").length > 0 ? Object.keys(figures).length : 0); });
})();
